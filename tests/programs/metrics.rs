//! The admin port: what Prometheus scrapes and what a load balancer asks. From 0, and never on the
//! public port.

use std::sync::Arc;

use reqwest::Method;

use crate::support::deployment::Builder;
use crate::support::{Answer, Deployment, Node, SOON, Value, eventually, json};

both_forms_alone!(
    metrics_are_there_from_zero_and_count,
    the_admin_port_alone_tells_health_and_metrics,
    no_label_names_a_user_a_chat_or_a_token,
);

/// The metrics that a program with an api tells.
const API: &[&str] = &[
    "messenger_build_info",
    "messenger_ready",
    "messenger_serving",
    "messenger_places",
    "messenger_places_taken",
    "messenger_http_places",
    "messenger_http_places_taken",
    "messenger_connections_refused_total",
    "messenger_http_requests_total",
    "messenger_http_request_duration_seconds",
    "messenger_backplane_published_total",
    "messenger_outbox_pending",
    "messenger_db_pool_size",
    "messenger_db_pool_connections",
    "messenger_db_replica_up",
    "messenger_db_replica_lag_bytes",
    "messenger_messages_stored_total",
    "messenger_word_merge_failures_total",
    "messenger_auth_attempts_total",
    "messenger_rate_limited_total",
    "messenger_trace_spans_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
];

/// The metrics that a program with a gateway tells.
const GATEWAY: &[&str] = &[
    "messenger_build_info",
    "messenger_ready",
    "messenger_serving",
    "messenger_places",
    "messenger_places_taken",
    "messenger_http_places",
    "messenger_http_places_taken",
    "messenger_connections_refused_total",
    "messenger_http_requests_total",
    "messenger_ws_connections",
    "messenger_ws_subscriptions",
    "messenger_ws_queued_bytes",
    "messenger_ws_commands_total",
    "messenger_ws_deliveries_total",
    "messenger_ws_disconnects_total",
    "messenger_delivery_latency_seconds",
    "messenger_backplane_received_total",
    "messenger_backplane_up",
    "messenger_backplane_reconnects_total",
    "messenger_gap_fills_total",
    "messenger_presence_online_users",
    "messenger_presence_pending",
    "messenger_trace_spans_total",
    "messenger_db_pool_size",
    "messenger_db_pool_connections",
    "messenger_db_replica_up",
    "messenger_db_replica_lag_bytes",
    "messenger_messages_stored_total",
    "messenger_word_merge_failures_total",
    "process_cpu_seconds_total",
];

/// The samples that the node gives Prometheus now.
pub async fn scrape(node: &Arc<Node>) -> Vec<(String, f64)> {
    let url = format!("{}/metrics", node.admin_url());
    let answer = Answer::of(reqwest::Client::new().get(url)).await;
    let kind = answer.header("content-type").unwrap_or_default().to_owned();
    assert!(kind.starts_with("text/plain"), "{kind}");
    assert_eq!(answer.status, 200);
    answer
        .body
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// The sum over the nodes of all series of this name that have all of these labels
/// (`type="ping"`).
pub async fn total(nodes: &[Arc<Node>], name: &str, labels: &[&str]) -> f64 {
    let mut sum = 0.0;
    for node in nodes {
        for (series, value) in scrape(node).await {
            let (series_name, series_labels) = series.split_once('{').unwrap_or((&series, ""));
            if series_name == name && labels.iter().all(|label| series_labels.contains(label)) {
                sum += value;
            }
        }
    }
    sum
}

async fn metrics_are_there_from_zero_and_count(builder: Builder) {
    let d = builder.start().await;
    let nodes = d.nodes();
    for (of, names) in [(d.apis(), API), (d.gateways(), GATEWAY)] {
        for node in of {
            let told = scrape(node).await;
            for name in names {
                // a histogram is told as _bucket, _sum and _count
                let series = |series: &str| series.split('{').next().unwrap().starts_with(name);
                let found = told.iter().any(|(one, _)| series(one));
                // counters whose labels are not known beforehand begin with the first request
                let late = ["messenger_http_requests_total", "messenger_http_request_duration_seconds"];
                assert!(found || late.contains(name), "{} does not tell {name}", node.name());
            }
        }
    }
    for (of, zero) in [
        (d.apis(), "messenger_messages_stored_total"),
        (d.apis(), "messenger_auth_attempts_total"),
        (d.apis(), "messenger_outbox_pending"),
        (d.gateways(), "messenger_ws_connections"),
        (d.gateways(), "messenger_ws_subscriptions"),
        (d.gateways(), "messenger_ws_deliveries_total"),
        (d.gateways(), "messenger_gap_fills_total"),
    ] {
        assert!(total(of, zero, &[]).await.abs() < 0.5, "{zero} is not 0 at the start");
    }

    let (ann, bob) = (d.user().await, d.user().await);
    let chat_id = ann.group_id(&[&bob]).await;
    let mut ws = bob.connect().await;
    ws.subscribe(chat_id).await;
    for _ in 0..3 {
        ann.say(chat_id, "counted").await;
        ws.expect("new_message").await;
    }
    let body = json!({"username": ann.username, "password": "not the password"});
    d.rest().post("/auth/login", body).await.problem(401, "bad_credentials");
    let counts = async |name: &str, labels: &[&str], wanted: f64| {
        let what = format!("{name} {labels:?} = {wanted}");
        eventually(&what, SOON, || async { ((total(&nodes, name, labels).await - wanted).abs() < 0.5).then_some(()) })
            .await;
    };
    counts("messenger_messages_stored_total", &[], 3.0).await;
    counts("messenger_ws_connections", &[], 1.0).await;
    counts("messenger_ws_subscriptions", &[], 1.0).await;
    counts("messenger_ws_deliveries_total", &["type=\"new_message\""], 3.0).await;
    counts("messenger_outbox_pending", &[], 0.0).await;
    let send = ["method=\"POST\"", "route=\"/messages/send\"", "status=\"201\""];
    counts("messenger_http_requests_total", &send, 3.0).await;
    assert!(total(&nodes, "messenger_auth_attempts_total", &[]).await >= 3.0);
    assert!(total(&nodes, "messenger_delivery_latency_seconds_count", &[]).await >= 3.0);
    // told now and then, for counting all of them has its price
    eventually("messenger_presence_online_users", SOON, || async {
        (total(&nodes, "messenger_presence_online_users", &[]).await > 0.5).then_some(())
    })
    .await;
    ws.round_trip().await;
    counts("messenger_ws_commands_total", &["type=\"ping\""], 1.0).await;
    ws.close().await;
    counts("messenger_ws_connections", &[], 0.0).await;
    counts("messenger_ws_subscriptions", &[], 0.0).await;
}

async fn the_admin_port_alone_tells_health_and_metrics(builder: Builder) {
    let d = builder.start().await;
    for node in d.nodes() {
        let get = async |base: String, path: &str| {
            let client = reqwest::Client::new();
            Answer::of(client.request(Method::GET, format!("{base}{path}"))).await
        };
        for path in ["/healthz", "/servez", "/readyz", "/metrics"] {
            let answer = get(node.admin_url(), path).await;
            assert_eq!(answer.status, 200, "{} {path}", node.name());
            for header in ["x-request-id", "x-content-type-options", "referrer-policy", "content-security-policy"] {
                assert!(answer.header(header).is_some(), "{path} without {header}");
            }
            get(node.url(), path).await.problem(404, "not_found");
        }
        // No document has this answer, so it is read without one.
        let none = reqwest::get(format!("{}/auth/me", node.admin_url())).await.unwrap();
        assert_eq!(none.status(), 404);
    }
}

async fn no_label_names_a_user_a_chat_or_a_token(d: Builder) {
    let d: Deployment = d.start().await;
    let user = d.user_named("Labelled").await;
    let chat_id = user.group_id(&[]).await + 7_777_777;
    user.rest.get(&format!("/chats/{chat_id}")).await.problem(404, "chat_not_found");
    user.rest.get(&format!("/nowhere/{chat_id}/at/all")).await.problem(404, "not_found");
    let mut ws = user.connect().await;
    ws.command(json!({"type": format!("made_up_{chat_id}")})).await;
    ws.subscribe(chat_id - 7_777_777).await;
    for node in d.nodes() {
        for (series, _) in scrape(&node).await {
            for secret in [&chat_id.to_string(), &user.username, &user.access, "made_up", "nowhere"] {
                assert!(!series.contains(secret), "{series}");
            }
        }
        let log = node.log().since(0).join("\n");
        for secret in [&user.access, &user.refresh, &user.email, &user.password] {
            assert!(!log.contains(secret.as_str()), "{} logged {secret}:\n{log}", node.name());
        }
    }
    assert_eq!(user.rest.get("/auth/me").await.ok(200)["id"], Value::from(user.id));
}

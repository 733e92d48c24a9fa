//! The behaviour of both load balancers: they lead everybody to everybody, hide what is to be
//! hidden, pass over nodes that are gone, and answer in the contract's form where no node does.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Balancer, Kind, both_balancers, metric};
use crate::deploy::walk::walk;
use crate::support::ws::request;
use crate::support::{
    Answer, Deployment, Redis, SOON, Value, Way, Ws, blocking, eventually, json, limited as in_time, shared,
};

both_balancers!(
    the_walk_through_goes_through_it,
    it_hides_tokens_and_admin_ports_and_speaks_the_contracts_errors,
    a_node_that_is_gone_is_passed_over,
    nodes_that_miss_redis_still_serve,
    the_rate_limits_see_the_client_and_believe_nothing_it_says,
);

async fn the_walk_through_goes_through_it(kind: Kind) {
    let cluster = shared::cluster().await;
    let balancer = Balancer::before(kind, &cluster).await;
    let walked = walk(&balancer.rest(), &balancer.ws_url()).await;
    for gateway in cluster.gateways() {
        let connections = metric(gateway, "messenger_ws_connections").await.unwrap();
        assert!(connections > 0, "{} has no socket", gateway.name());
    }
    let (chat, users) = walked.end().await;
    let masked = |line: &Value| line["path"] == "/ws/(masked)" && line["status"] == 101;
    let line = balancer.access("a socket", masked).await;
    assert_ne!(line["upstream"], "");
    balancer.access("the plain socket", |line| line["path"] == "/ws/chat" && line["status"] == 101).await;
    let path = format!("/ws/chat/{chat}/online-users");
    balancer.access("an address without a token", |line| line["path"] == path.as_str()).await;
    balancer.assert_tells_no_token(&users.iter().collect::<Vec<_>>());
}

/// The answer to these bytes, up to the connection's end.
async fn raw(port: u16, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(SOON, exchange).await.unwrap()
}

/// A request whose path the client does not tidy up.
async fn raw_status(port: u16, path: &str) -> String {
    let answer = raw(port, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// HAProxy has a page of its own for most of these, which cannot be changed.
#[tokio::test]
async fn what_nginx_refuses_by_itself_is_a_problem_too() {
    in_time(async {
        let cluster = shared::cluster().await;
        let balancer = Balancer::before(Kind::Nginx, &cluster).await;
        let long = "x".repeat(9000);
        let rest = "host: localhost\r\nconnection: close\r\n\r\n";
        let refused = [
            ("rubbish\r\n\r\n".to_owned(), 400, "bad_request"),
            (format!("TRACE / HTTP/1.1\r\n{rest}"), 405, "method_not_allowed"),
            (format!("GET /{long} HTTP/1.1\r\n{rest}"), 414, "uri_too_long"),
            (format!("GET / HTTP/1.1\r\nx-long: {long}\r\n{rest}"), 431, "headers_too_large"),
        ];
        for (request, status, code) in refused {
            let answer = raw(balancer.port, &request).await;
            let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
            let head = head.to_lowercase();
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{answer}");
            assert!(
                head.contains("content-type: application/problem+json") && head.contains("x-request-id: "),
                "{answer}"
            );
            let problem: Value = serde_json::from_str(body).expect(body);
            assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)));
        }
    })
    .await;
}

async fn it_hides_tokens_and_admin_ports_and_speaks_the_contracts_errors(kind: Kind) {
    let cluster = shared::cluster().await;
    let balancer = Balancer::before(kind, &cluster).await;
    let ann = balancer.user().await;
    let token = &ann.access;

    // However a token gets into an address, it does not get into the log.
    let astray = [
        format!("/ws/chat/{token}"),
        format!("/ws/chat/{token}/"),
        format!("/ws/chat/{token}?token={token}"),
        format!("//ws//chat//{token}"),
        format!("/%77s/chat/{token}"),
        format!("/chat/{}", token.replace('.', "%2e")),
        format!("/chat/{}", token.replace('.', "%252e")),
        format!("/WS/chat/{token}"),
        format!("/ws/{token}"),
        format!("/chat/{token}"),
        format!("/auth/me?access_token={token}"),
        format!("/{}/{token}", "a".repeat(9000)),
        format!("/ws/chat/{token} {token}"),
    ];
    for path in &astray {
        let status = raw_status(balancer.port, path).await;
        assert!(status.parse::<u16>().is_ok_and(|status| status >= 400), "{path}: {status}");
    }
    let logged = || balancer.accesses().into_iter().filter(|line| line["status"].as_u64() >= Some(400)).count();
    eventually("a line for each", SOON, || {
        let all = (logged() >= astray.len()).then_some(());
        async move { all }
    })
    .await;
    balancer.assert_tells_no_token(&[&ann]);

    for path in ["/metrics", "/healthz", "/servez", "/readyz", "/ws/metrics"] {
        balancer.rest().get(path).await.problem(404, "not_found");
    }

    // Whether the api or the balancer finds it too large, the client reads the same.
    for size in [300_000, 3_000_000] {
        let body = json!({"chat_id": 1, "text": "x".repeat(size)});
        let answer = ann.rest.post("/messages/send", body).await;
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(answer.header("x-request-id").is_some());
        answer.problem(413, "too_large");
    }
}

async fn a_node_that_is_gone_is_passed_over(kind: Kind) {
    let cluster = Deployment::cluster(2, 2).start().await;
    let balancer = Balancer::before(kind, &cluster).await;
    let (ann, bob) = (balancer.user().await, balancer.user().await);
    let chat = ann.group_id(&[&bob]).await;

    cluster.api(0).kill_9();
    cluster.gateway(0).kill_9();
    // A request that is not idempotent goes on as well: nothing of it reached the dead one.
    for number in 0..20 {
        ann.say(chat, &format!("message {number}")).await;
    }
    for _ in 0..6 {
        let mut socket = bob.connect().await;
        socket.subscribe(chat).await;
        socket.close().await;
    }
    assert_eq!(bob.history(chat).await["items"].as_array().unwrap().len(), 20);

    cluster.api(1).kill_9();
    cluster.gateway(1).kill_9();
    let answer = ann.rest.get("/auth/me").await;
    assert!(answer.header("retry-after").is_some() && answer.header("x-request-id").is_some());
    answer.problem(503, "unavailable");
    let handshake = Ws::handshake(request(&balancer.ws_url(), Way::Path, &bob.access)).await;
    assert!(handshake.is_err(), "a socket with no gateway");
    balancer.access("the refusal", |line| line["path"] == "/ws/(masked)" && line["status"] == 503).await;
    // nginx tells of failed upstreams with the whole request line, if one lets it.
    balancer.assert_tells_no_token(&[&ann, &bob]);
}

/// No node is ready then, and each of them still stores what is sent (G3): a balancer that asks
/// must not take it for their end.
async fn nodes_that_miss_redis_still_serve(kind: Kind) {
    let redis = Redis::private().await;
    let cluster = Deployment::cluster(2, 2).redis(&redis).start().await;
    let balancer = Balancer::before(kind, &cluster).await;
    let (ann, bob) = (balancer.user().await, balancer.user().await);
    let chat = ann.group_id(&[&bob]).await;
    let mut socket = bob.connect().await;
    socket.subscribe(chat).await;

    redis.stop().await;
    for node in cluster.nodes() {
        eventually(&format!("{} is not ready", node.name()), SOON, async || {
            let node = Arc::clone(&node);
            (blocking(move || node.probe("/readyz")).await == Some(503)).then_some(())
        })
        .await;
        // Kubernetes asks this. By `/readyz` its Service would be without a pod.
        let probed = Arc::clone(&node);
        assert_eq!(blocking(move || probed.probe("/servez")).await, Some(200), "{}", node.name());
    }
    // Longer than a balancer takes to ask all of them twice.
    let until = Instant::now() + Duration::from_secs(3);
    let mut sent = 0;
    while Instant::now() < until {
        ann.say(chat, "nobody is ready").await;
        bob.rest.get("/auth/me").await.ok(200);
        sent += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    redis.start().await;
    for _ in 0..sent {
        socket.expect_in("new_message", chat).await;
    }
}

async fn the_rate_limits_see_the_client_and_believe_nothing_it_says(kind: Kind) {
    let cluster = Deployment::cluster(2, 2)
        .env("RATE_LIMITS", "on")
        .env("RATE_REGISTRATIONS_PER_MINUTE", 5)
        .env("TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let balancer = Balancer::before(kind, &cluster).await;
    let register = async |from: &str, number: usize| {
        let from: IpAddr = from.parse().unwrap();
        let http = reqwest::Client::builder().no_proxy().local_address(from).timeout(SOON).build().unwrap();
        let name = crate::support::user::fresh_name("limited");
        let mut email = name.clone();
        write!(email, "@example.org").unwrap();
        let request = http
            .post(format!("{}/auth/register", balancer.url()))
            .header("x-forwarded-for", format!("192.0.2.{number}"))
            .json(&json!({"username": name, "email": email, "password": "correct horse battery"}));
        Answer::of(request).await
    };
    let mut refused = 0;
    for number in 0..12 {
        let answer = register("127.0.0.2", number).await;
        if answer.status != 201 {
            answer.problem(429, "rate_limited");
            refused += 1;
        }
    }
    assert!(refused >= 5, "only {refused} of 12 were refused: it believed the client");
    register("127.0.0.3", 0).await.ok(201);
}

//! A real Prometheus with `deploy/prometheus`, scraping a real cluster: only the addresses in
//! `targets/` are the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use super::root;
use super::watch::{Prometheus, admin_addresses, program};
use crate::support::process;
use crate::support::{SOON, blocking, eventually, limited, shared};

/// Of every program.
const COMMON: [&str; 24] = [
    "messenger_build_info",
    "messenger_ready",
    "messenger_serving",
    "messenger_places",
    "messenger_places_taken",
    "messenger_http_places",
    "messenger_http_places_taken",
    "messenger_connections_refused_total",
    "messenger_word_merge_failures_total",
    "messenger_db_pool_size",
    "messenger_http_requests_total",
    "messenger_http_request_duration_seconds",
    "messenger_backplane_published_total",
    "messenger_backplane_received_total",
    "messenger_backplane_up",
    "messenger_backplane_reconnects_total",
    "messenger_db_pool_connections",
    "messenger_db_replica_up",
    "messenger_db_replica_lag_bytes",
    "messenger_messages_stored_total",
    "messenger_rate_limited_total",
    "messenger_trace_spans_total",
    "messenger_auth_attempts_total",
    "process_resident_memory_bytes",
];
const API: [&str; 1] = ["messenger_outbox_pending"];
const GATEWAY: [&str; 11] = [
    "messenger_ws_connections",
    "messenger_ws_subscriptions",
    "messenger_ws_queued_bytes",
    "messenger_ws_commands_total",
    "messenger_ws_deliveries_total",
    "messenger_ws_disconnects_total",
    "messenger_ws_handed_over_total",
    "messenger_delivery_latency_seconds",
    "messenger_gap_fills_total",
    "messenger_presence_online_users",
    "messenger_presence_pending",
];
/// Nothing that names a user, a chat or a token.
const LABELS: [&str; 19] = [
    "__name__", "instance", "job", "le", "method", "route", "status", "type", "result", "code", "cause", "state",
    "limit", "version", "revision", "program", "rustc", "commit", "profile",
];
/// Two scrapes and a start, on a busy machine.
const SCRAPED: Duration = Duration::from_secs(90);

#[tokio::test]
async fn the_shipped_configuration_is_valid() {
    let said = blocking(|| {
        let mut check = Command::new(program("promtool"));
        check.args(["check", "config"]).arg(root().join("deploy/prometheus/prometheus.yml"));
        process::run(check)
    });
    assert!(said.await.unwrap().contains("SUCCESS"));
}

#[tokio::test]
async fn it_scrapes_every_metric_of_every_node() {
    limited(async {
        let cluster = shared::cluster().await;
        // A request to each node, so that its routes have been asked for.
        let user = cluster.user().await;
        for turn in 0..2 {
            user.rest.on(turn).get("/auth/me").await.ok(200);
            user.rest.on(turn).get("/ws/online-users").await.ok(200);
        }
        let (apis, gateways) = (admin_addresses(cluster.apis()), admin_addresses(cluster.gateways()));
        let prometheus = {
            let (apis, gateways) = (apis.clone(), gateways.clone());
            blocking(move || Prometheus::start(&[("api", &apis[..]), ("gateway", &gateways[..])], str::to_owned)).await
        };

        let expected: BTreeMap<&String, BTreeSet<&str>> = apis
            .iter()
            .map(|target| (target, COMMON.into_iter().chain(API).collect()))
            .chain(gateways.iter().map(|target| (target, COMMON.into_iter().chain(GATEWAY).collect())))
            .collect();
        let missing = async || {
            let found = prometheus.series().await.map(|(names, _)| names).unwrap_or_default();
            let mut missing = Vec::new();
            for (target, names) in &expected {
                let there = found.get(*target).cloned().unwrap_or_default();
                missing
                    .extend(names.iter().filter(|name| !there.contains(**name)).map(|name| format!("{target} {name}")));
            }
            missing
        };
        let deadline = tokio::time::Instant::now() + SCRAPED;
        eventually("all series", SCRAPED + SOON, async || {
            let missing = missing().await;
            assert!(tokio::time::Instant::now() < deadline || missing.is_empty(), "never scraped: {missing:#?}");
            missing.is_empty().then_some(())
        })
        .await;

        let up = prometheus.ask("query", &[("query", "up == 1")]).await.unwrap();
        let mut jobs: Vec<_> =
            up["result"].as_array().unwrap().iter().map(|one| one["metric"]["job"].clone()).collect();
        jobs.sort_by_key(ToString::to_string);
        assert_eq!(jobs, ["messenger-api", "messenger-api", "messenger-gateway", "messenger-gateway"]);

        let (names, labels) = prometheus.series().await.unwrap();
        for label in &labels {
            assert!(LABELS.contains(&label.as_str()), "the label {label}: may it be in a metric?");
        }
        let told: BTreeSet<_> = names.values().flatten().filter(|name| name.starts_with("messenger_")).collect();
        let known: Vec<_> = COMMON.into_iter().chain(API).chain(GATEWAY).collect();
        for name in told {
            let base = name.trim_end_matches("_sum").trim_end_matches("_count");
            assert!(known.contains(&base), "{name} is not in the contract");
        }
        println!("Prometheus: {} targets, {} series names, labels {labels:?}", names.len(), known.len());
    })
    .await;
}

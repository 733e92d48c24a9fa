//! A real Prometheus with `deploy/prometheus`, scraping a real cluster: only the addresses in `targets/` are the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::{copy_of, root};
use crate::support::process::{self, Log, Process};
use crate::support::{Node, SOON, Value, blocking, eventually, limited, ports, shared};

/// Of every program.
const COMMON: [&str; 12] = [
    "messenger_build_info",
    "messenger_http_requests_total",
    "messenger_http_request_duration_seconds",
    "messenger_backplane_published_total",
    "messenger_backplane_received_total",
    "messenger_backplane_up",
    "messenger_backplane_reconnects_total",
    "messenger_db_pool_connections",
    "messenger_messages_stored_total",
    "messenger_rate_limited_total",
    "messenger_auth_attempts_total",
    "process_resident_memory_bytes",
];
const API: [&str; 1] = ["messenger_outbox_pending"];
const GATEWAY: [&str; 8] = [
    "messenger_ws_connections",
    "messenger_ws_subscriptions",
    "messenger_ws_commands_total",
    "messenger_ws_deliveries_total",
    "messenger_ws_disconnects_total",
    "messenger_delivery_latency_seconds",
    "messenger_gap_fills_total",
    "messenger_presence_online_users",
];
/// Nothing that names a user, a chat or a token.
const LABELS: [&str; 19] = [
    "__name__", "instance", "job", "le", "method", "route", "status", "type", "result", "code", "cause", "state",
    "limit", "version", "revision", "program", "rustc", "commit", "profile",
];
/// Two scrapes and a start, on a busy machine.
const SCRAPED: Duration = Duration::from_secs(90);

fn program(name: &str) -> PathBuf {
    if process::find_program(name).is_none() {
        process::install("prometheus").unwrap();
    }
    process::find_program(name).unwrap_or_else(|| panic!("no {name} after installing prometheus"))
}

/// A running Prometheus; it ends with this value.
struct Prometheus {
    port: u16,
    dir: PathBuf,
    log: Arc<Log>,
    process: Process,
}

impl Prometheus {
    fn start(apis: &[String], gateways: &[String]) -> Self {
        let dir = process::new_dir("prometheus");
        let config = copy_of("deploy/prometheus", &dir);
        for (job, targets) in [("api", apis), ("gateway", gateways)] {
            let targets = serde_json::to_string(targets).unwrap();
            let file = config.join(format!("targets/{job}.yml"));
            assert!(file.is_file(), "the shipped configuration has no targets/{job}.yml");
            std::fs::write(file, format!("- targets: {targets}\n")).unwrap();
        }
        let port = ports::free_port();
        let mut command = process::bound_command(program("prometheus"), "KILL");
        command
            .arg("--config.file")
            .arg(config.join("prometheus.yml"))
            .arg("--storage.tsdb.path")
            .arg(dir.join("data"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(&dir);
        let log = Arc::<Log>::default();
        let process = Process::start(command, &log).unwrap();
        Self { port, dir, log, process }
    }

    /// The `data` of an answer of its API, or `None` while it does not answer.
    async fn ask(&self, call: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/api/v1/{call}", self.port);
        let asked = reqwest::Client::new().get(url).query(query).timeout(SOON).send();
        let answer: Value = serde_json::from_str(&asked.await.ok()?.text().await.ok()?).ok()?;
        assert_eq!(answer["status"], "success", "{answer}");
        Some(answer["data"].clone())
    }

    /// For each target the names of its series, and the names of all labels of ours.
    async fn series(&self) -> Option<(BTreeMap<String, BTreeSet<String>>, BTreeSet<String>)> {
        let wanted = r#"{__name__=~"(messenger|process)_.+"}"#;
        let series = self.ask("series", &[("match[]", wanted)]).await?;
        let (mut names, mut labels) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeSet::new());
        for one in series.as_array()? {
            let name = one["__name__"].as_str()?;
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            names.entry(one["instance"].as_str()?.to_owned()).or_default().insert(name.to_owned());
            labels.extend(one.as_object()?.keys().cloned());
        }
        Some((names, labels))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- prometheus ---\n{}", self.log.since(0).join("\n"));
        }
        self.process.signal(nix::sys::signal::Signal::SIGTERM);
        self.process.wait(Duration::from_secs(10)).ok();
        process::remove_dir(&self.dir);
    }
}

fn admin_addresses(nodes: &[Arc<Node>]) -> Vec<String> {
    nodes.iter().map(|node| node.admin_url().trim_start_matches("http://").to_owned()).collect()
}

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
            blocking(move || Prometheus::start(&apis, &gateways)).await
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

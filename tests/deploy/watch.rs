//! A real Prometheus and a real Alertmanager with what `deploy/` ships; only the addresses, and
//! where a test asks for it the intervals, are the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::{copy_of, root};
use crate::support::process::{self, Log, Process};
use crate::support::{Node, SOON, Value, eventually, ports};

/// A program of Debian's Prometheus packages, installed if need be.
pub(super) fn program(name: &str) -> PathBuf {
    let package = match name {
        "prometheus-alertmanager" | "amtool" => "prometheus-alertmanager",
        _ => "prometheus",
    };
    if process::find_program(name).is_none() {
        process::install(package).unwrap();
    }
    process::find_program(name).unwrap_or_else(|| panic!("no {name} after installing {package}"))
}

/// A command of `promtool`.
pub(super) fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("promtool"));
    command.args(arguments);
    command
}

/// The admin ports of nodes, as Prometheus is given them.
pub(super) fn admin_addresses(nodes: &[Arc<Node>]) -> Vec<String> {
    nodes.iter().map(|node| node.admin_url().trim_start_matches("http://").to_owned()).collect()
}

/// The shipped text with intervals of a test.
pub(super) fn hurried(text: &str) -> String {
    let line = |line: &str| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.split_once(": ") {
            Some((key @ ("for" | "scrape_interval" | "evaluation_interval" | "scrape_timeout"), _)) => {
                format!("{indent}{key}: 1s")
            }
            Some((key @ ("group_wait" | "group_interval"), _)) => format!("{indent}{key}: 1s"),
            _ => line.to_owned(),
        }
    };
    text.lines().map(|one| line(one) + "\n").collect()
}

/// Its name in what a failed test prints, its process and what it wrote.
struct Server {
    name: &'static str,
    port: u16,
    dir: PathBuf,
    log: Arc<Log>,
    process: Process,
}

impl Server {
    fn start(name: &'static str, port: u16, dir: PathBuf, mut command: Command) -> Self {
        command.current_dir(&dir);
        let log = Arc::<Log>::default();
        let process = Process::start(command, &log).unwrap();
        Self { name, port, dir, log, process }
    }

    /// The answer to a question, or `None` while it does not answer.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/{path}", self.port);
        let asked = reqwest::Client::new().get(url).query(query).timeout(SOON).send();
        serde_json::from_str(&asked.await.ok()?.text().await.ok()?).ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.name, self.log.since(0).join("\n"));
        }
        self.process.signal(nix::sys::signal::Signal::SIGTERM);
        self.process.wait(Duration::from_secs(10)).ok();
        process::remove_dir(&self.dir);
    }
}

/// A running Prometheus; it ends with this value.
pub(super) struct Prometheus(Server);

impl Prometheus {
    /// Starts it with these addresses in the files of `targets/`. `change` is given the text of
    /// each shipped file. Blocks.
    pub(super) fn start(targets: &[(&str, &[String])], change: impl Fn(&str) -> String) -> Self {
        let dir = process::new_dir("prometheus");
        let config = copy_of("deploy/prometheus", &dir);
        for name in ["prometheus.yml", "alerts.yml"] {
            let file = config.join(name);
            let text = change(&std::fs::read_to_string(&file).unwrap());
            std::fs::write(file, text).unwrap();
        }
        // Servers that the test does not name are not there, Alertmanager first.
        std::fs::write(config.join("targets/alertmanager.yml"), "[]\n").unwrap();
        for (job, targets) in targets {
            let file = config.join(format!("targets/{job}.yml"));
            assert!(
                root().join(format!("deploy/prometheus/targets/{job}.yml")).is_file(),
                "no targets/{job}.yml is shipped"
            );
            let targets = serde_json::to_string(targets).unwrap();
            std::fs::write(file, format!("- targets: {targets}\n")).unwrap();
        }
        let port = ports::free_port();
        let mut command = process::bound_command(program("prometheus"), "KILL");
        command
            .arg("--config.file")
            .arg(config.join("prometheus.yml"))
            .arg("--storage.tsdb.path")
            .arg(dir.join("data"))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Self(Server::start("prometheus", port, dir, command))
    }

    /// The `data` of an answer of its API, or `None` while it does not answer.
    pub(super) async fn ask(&self, call: &str, query: &[(&str, &str)]) -> Option<Value> {
        let answer = self.0.ask(&format!("api/v1/{call}"), query).await?;
        assert_eq!(answer["status"], "success", "{answer}");
        Some(answer["data"].clone())
    }

    /// The instances for which the alert fires.
    pub(super) async fn firing(&self, alert: &str) -> Option<BTreeSet<String>> {
        let alerts = self.ask("alerts", &[]).await?;
        let firing = alerts["alerts"]
            .as_array()?
            .iter()
            .filter(|one| one["labels"]["alertname"] == alert && one["state"] == "firing");
        Some(firing.map(|one| one["labels"]["instance"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// For each target the names of its series, and the names of all labels of ours.
    pub(super) async fn series(&self) -> Option<(BTreeMap<String, BTreeSet<String>>, BTreeSet<String>)> {
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

/// A running Alertmanager with `deploy/alertmanager`; it ends with this value.
pub(super) struct Alertmanager(Server);

impl Alertmanager {
    /// Starts it. `change` is given the text of the shipped file. Blocks.
    pub(super) fn start(change: impl Fn(&str) -> String) -> Self {
        let dir = process::new_dir("alertmanager");
        let file = copy_of("deploy/alertmanager", &dir).join("alertmanager.yml");
        let text = change(&std::fs::read_to_string(&file).unwrap());
        std::fs::write(&file, text).unwrap();
        let port = ports::free_port();
        let mut command = process::bound_command(program("prometheus-alertmanager"), "KILL");
        command
            .arg("--config.file")
            .arg(file)
            .arg("--storage.path")
            .arg(dir.join("data"))
            // One alone: nobody to gossip with.
            .arg("--cluster.listen-address=")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        Self(Server::start("alertmanager", port, dir, command))
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// Hands it alerts, each with its labels.
    pub(super) async fn hear(&self, alerts: &Value) {
        let url = format!("http://{}/api/v2/alerts", self.address());
        let client = reqwest::Client::new();
        eventually("Alertmanager takes alerts", SOON, async || {
            let answer =
                client.post(&url).timeout(SOON).body(alerts.to_string()).header("content-type", "application/json");
            answer.send().await.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// The alerts that it holds: for each name and instance its state, `active` or `suppressed`.
    pub(super) async fn alerts(&self) -> Option<BTreeMap<(String, String), String>> {
        let alerts = self.0.ask("api/v2/alerts", &[]).await?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let one = |alert: &Value| {
            let labels = &alert["labels"];
            ((text(&labels["alertname"]), text(&labels["instance"])), text(&alert["status"]["state"]))
        };
        Some(alerts.as_array()?.iter().map(one).collect())
    }
}

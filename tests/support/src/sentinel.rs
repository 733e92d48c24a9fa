//! Real Sentinels that watch a Redis and promote its replica.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Value;

use super::ports::free_port;
use super::process::{self, Log, Process};
use super::{Redis, redis};

const START_LIMIT: Duration = Duration::from_secs(30);

/// Three Sentinels, two of which decide. They end with this value.
pub struct Sentinels {
    dir: PathBuf,
    ports: Vec<u16>,
    processes: Vec<Process>,
}

impl Sentinels {
    /// Sentinels of that primary, under that name.
    pub async fn of(primary: &Arc<Redis>, name: &str) -> Self {
        let (port, name) = (primary.port(), name.to_owned());
        super::blocking(move || Self::start(port, &name)).await
    }

    fn start(primary: u16, name: &str) -> Self {
        let dir = process::new_dir("sentinels");
        let (mut ports, mut processes) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let port = free_port();
            let config = dir.join(format!("{port}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 5000\n"
            );
            std::fs::write(&config, text).unwrap();
            let mut command = process::bound_command(redis::program().unwrap(), "KILL");
            command.arg(&config).arg("--sentinel").current_dir(&dir);
            let log = Arc::new(Log::default());
            let mut process = Process::start(command, &log).unwrap();
            let up = |line: &str| line.contains("+monitor master").then_some(());
            process.says(&log, 0, START_LIMIT, up).unwrap_or_else(|| panic!("{}", log.since(0).join("\n")));
            ports.push(port);
            processes.push(process);
        }
        Self { dir, ports, processes }
    }

    /// `REDIS_URL` of that primary.
    pub fn url(&self, name: &str) -> String {
        let hosts: Vec<_> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{name}", hosts.join(","))
    }

    /// Runs one command on each Sentinel and gives their answers.
    pub async fn command(&self, words: &[&str]) -> Vec<Value> {
        let mut answers = Vec::new();
        for port in &self.ports {
            let client = ::redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let answer = ::redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await;
            answers.push(answer.unwrap_or_else(|error| panic!("{words:?}: {error}")));
        }
        answers
    }

    /// How many of the others and of the replicas each Sentinel knows.
    pub async fn know(&self, name: &str) -> Vec<(String, String)> {
        let answers = self.command(&["SENTINEL", "MASTER", name]).await;
        let known = answers.into_iter().map(|answer| {
            let of: HashMap<String, String> = ::redis::from_redis_value(answer).unwrap();
            (of["num-other-sentinels"].clone(), of["num-slaves"].clone())
        });
        known.collect()
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        self.processes.clear();
        process::remove_dir(&self.dir);
    }
}

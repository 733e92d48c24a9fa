//! The load balancers that `deploy/` ships, each run for real in front of a real cluster: only the
//! addresses in its configuration are the test's own.

mod behaviour;
mod brought_back;
mod clients;
mod haproxy;
mod nginx;
mod renewal;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::ports;
use crate::support::process::{self, Log, Process};
use crate::support::{Deployment, Node, Rest, SOON, User, Value, blocking, eventually, eventually_blocking};

/// Which load balancer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Nginx,
    HaProxy,
}

/// Runs each named `async fn(Kind)` as `nginx::name` and as `haproxy::name`.
macro_rules! both_balancers {
    ($($name:ident),+ $(,)?) => {
        mod nginx {
            $(
                #[tokio::test]
                async fn $name() {
                    crate::support::limited(super::$name(super::super::Kind::Nginx)).await;
                }
            )+
        }
        mod haproxy {
            $(
                #[tokio::test]
                async fn $name() {
                    crate::support::limited(super::$name(super::super::Kind::HaProxy)).await;
                }
            )+
        }
    };
}
use both_balancers;

/// Where a node listens.
#[derive(Clone, Copy)]
struct Ports {
    public: u16,
    admin: u16,
}

impl Ports {
    fn of(nodes: &[Arc<Node>]) -> Vec<Self> {
        let admin = |node: &Node| node.admin_url().rsplit_once(':').unwrap().1.parse().unwrap();
        nodes.iter().map(|node| Self { public: node.port(), admin: admin(node) }).collect()
    }
}

/// The path of a program, installed where it is missing.
fn program(name: &str) -> PathBuf {
    if process::find_program(name).is_none() {
        process::install(name).unwrap();
    }
    process::find_program(name).expect("the program after installing it")
}

/// The shipped text with the servers `api1`, `gateway1`, … at these ports. Servers beyond them are
/// left out.
fn with_servers(shipped: &str, apis: &[Ports], gateways: &[Ports], line: impl Fn(&str, Ports) -> String) -> String {
    let mut text = String::new();
    let mut used = 0;
    for shipped_line in shipped.lines() {
        let words = shipped_line.trim_start();
        let numbered = ["api", "gateway"].into_iter().zip([apis, gateways]).find_map(|(name, ports)| {
            let number = words.strip_prefix("server ")?.strip_prefix(name)?;
            let digits = number.chars().take_while(char::is_ascii_digit).collect::<String>();
            Some(digits.parse::<usize>().ok()?.checked_sub(1).and_then(|index| ports.get(index)).copied())
        });
        match numbered {
            None => text.push_str(shipped_line),
            Some(None) => continue,
            Some(Some(ports)) => {
                text.push_str(&line(shipped_line, ports));
                used += 1;
            }
        }
        text.push('\n');
    }
    assert!(used >= apis.len() + gateways.len(), "only {used} servers:\n{shipped}");
    text
}

/// A running load balancer; it ends with this value.
struct Balancer {
    kind: Kind,
    port: u16,
    dir: PathBuf,
    log: Arc<Log>,
    process: Process,
}

impl Balancer {
    async fn before(kind: Kind, deployment: &Deployment) -> Self {
        let (apis, gateways) = (Ports::of(deployment.apis()), Ports::of(deployment.gateways()));
        blocking(move || Self::start(kind, &apis, &gateways)).await
    }

    fn start(kind: Kind, apis: &[Ports], gateways: &[Ports]) -> Self {
        let dir = process::new_dir("balancer");
        let port = ports::free_port();
        let command: Command = match kind {
            Kind::Nginx => nginx::command(&dir, port, apis, gateways),
            Kind::HaProxy => haproxy::command(&dir, port, apis, gateways),
        };
        Self::run(kind, port, dir, command)
    }

    fn run(kind: Kind, port: u16, dir: PathBuf, command: Command) -> Self {
        let log = Arc::<Log>::default();
        let process = Process::start(command, &log).unwrap();
        let mut balancer = Self { kind, port, dir, log, process };
        let up = eventually_blocking("the load balancer", SOON, || {
            let is_up = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            (is_up || balancer.process.exited().is_some()).then_some(is_up)
        });
        assert_eq!(up, Ok(true), "{}", balancer.written());
        balancer
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    fn rest(&self) -> Rest {
        Rest::new(vec![self.url()], vec![self.url()], 0)
    }

    async fn user(&self) -> User {
        User::register(self.rest(), vec![self.ws_url()], "balanced").await
    }

    /// Waits until it sends new sockets to a gateway that is ready again, `mark` being of a time
    /// when it was up. HAProxy says when its checks find it down and up again; nginx asks nobody,
    /// and tries each node at each turn.
    async fn has_heard_of(&self, gateway: usize, mark: usize) {
        let told = format!("Server messenger_gateway/gateway{} is ", gateway + 1);
        eventually(&format!("`{told}UP`"), SOON, async || {
            let written = self.log.since(mark);
            let last = written.iter().rfind(|line| line.contains(&told));
            last.is_none_or(|line| !line.contains("DOWN")).then_some(())
        })
        .await;
    }

    /// All that it has written.
    fn written(&self) -> String {
        self.log.since(0).join("\n")
    }

    /// The lines of the access log.
    fn accesses(&self) -> Vec<Value> {
        let lines = self.log.since(0);
        let parsed = |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        lines.iter().filter(|line| line.starts_with('{')).map(parsed).collect()
    }

    /// Waits for the line of a request, which comes when the request is over.
    async fn access(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("the log of {what}"), SOON, || {
            let found = self.accesses().into_iter().find(&wanted);
            async { found }
        })
        .await
    }

    fn assert_tells_no_token(&self, users: &[&User]) {
        let written = self.written();
        for user in users {
            for token in [&user.access, &user.refresh] {
                assert!(!written.contains(token.as_str()), "a token of {} in the log", user.username);
                // Nor a part of one: header, claims and signature.
                for part in token.split('.').filter(|part| part.len() > 8) {
                    assert!(!written.contains(part), "a part of {}'s token in the log:\n{written}", user.username);
                }
            }
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let written = self.log.since(0);
            let shown = &written[written.len().saturating_sub(200)..];
            eprintln!("--- {:?} ---\n{}", self.kind, shown.join("\n"));
        }
        self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(10)).ok();
        process::remove_dir(&self.dir);
    }
}

/// The value of a metric without labels.
async fn metric(node: &Node, name: &str) -> Option<i64> {
    let page = reqwest::get(format!("{}/metrics", node.admin_url())).await.ok()?.text().await.ok()?;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// How many sockets each gateway holds; one that does not answer holds none.
async fn sockets(deployment: &Deployment) -> Vec<i64> {
    let mut held = Vec::new();
    for gateway in deployment.gateways() {
        held.push(metric(gateway, "messenger_ws_connections").await.unwrap_or(0));
    }
    held
}

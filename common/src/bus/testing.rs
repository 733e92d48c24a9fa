//! Real Redis servers for tests: started on free loopback ports, frozen, killed and started empty again at will, ended with the test.

use crate::lifecycle::{ExitReason, Lifecycle};
use crate::ports::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::Value;
use secrecy::SecretString;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;
use tempfile::TempDir;

/// How long anything in a test may take before it counts as failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Fails with that name when it takes longer than [`DEADLINE`].
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Asks again and again, at short intervals, until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    within(what, async {
        while !is_so().await {
            ticks.tick().await;
        }
    })
    .await;
}

/// Tasks of a test's own, ended when it is dropped.
pub(crate) struct TestTasks {
    pub(crate) tasks: Lifecycle,
}

impl TestTasks {
    pub(crate) fn new() -> Self {
        Self { tasks: Lifecycle::new() }
    }
}

impl Drop for TestTasks {
    fn drop(&mut self) {
        self.tasks.stop(ExitReason::Done);
    }
}

/// A `redis-server` process.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    options: Vec<String>,
    dir: TempDir,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts one, empty, and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(free_port(), Vec::new()).await
    }

    async fn start_with(port: u16, options: Vec<String>) -> Self {
        let mut server = Self { port, options, dir: tempfile::tempdir().unwrap(), process: None };
        server.start_again().await;
        server
    }

    /// Starts it again on its port, empty.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        install();
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(self.dir.path()).args(&self.options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().expect("redis-server starts"));
        until("redis-server answers", || async { self.try_ask(&["PING"]).await.is_ok() }).await;
    }

    pub(crate) fn url(&self) -> SecretString {
        format!("redis://127.0.0.1:{}", self.port).into()
    }

    /// Asks over a connection of its own.
    pub(crate) async fn ask(&self, command: &[&str]) -> Value {
        self.try_ask(command).await.unwrap()
    }

    async fn try_ask(&self, command: &[&str]) -> redis::RedisResult<Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut words = redis::cmd(command[0]);
        words.arg(&command[1..]);
        words.query_async(&mut connection).await
    }

    /// Stops its process as it stands: connections stay open and nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().expect("it runs").id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A Redis Cluster of primaries without replicas.
pub(crate) struct RedisCluster {
    pub(crate) servers: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts one and waits until all its servers agree that it is whole.
    pub(crate) async fn start(primaries: u16) -> Self {
        let mut servers = Vec::new();
        let mut bus_ports = Vec::new();
        for _ in 0..primaries {
            let bus_port = free_port().to_string();
            let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus_port];
            servers.push(RedisServer::start_with(free_port(), options.map(str::to_owned).to_vec()).await);
            bus_ports.push(bus_port);
        }
        let share = 16_384_u16.div_ceil(primaries);
        for (server, n) in servers.iter().zip(0..) {
            let (first, last) = (n * share, ((n + 1) * share).min(16_384) - 1);
            server.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
            for (other, bus_port) in servers.iter().zip(&bus_ports) {
                server.ask(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string(), bus_port]).await;
            }
        }
        let cluster = Self { servers };
        until("the cluster is whole", || cluster.is_whole()).await;
        cluster
    }

    /// Adds a replica of the server with that place and waits until it is in step.
    pub(crate) async fn add_replica(&mut self, of: usize) {
        let primary = self.id(of).await;
        let bus_port = free_port().to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", &bus_port];
        let replica = RedisServer::start_with(free_port(), options.map(str::to_owned).to_vec()).await;
        for server in &self.servers {
            server.ask(&["CLUSTER", "MEET", "127.0.0.1", &replica.port.to_string(), &bus_port]).await;
        }
        self.servers.push(replica);
        until("the replica is known", || self.is_whole()).await;
        let replica = &self.servers[self.servers.len() - 1];
        until("it replicates", || async { replica.try_ask(&["CLUSTER", "REPLICATE", &primary]).await.is_ok() }).await;
        until("it is in step", || async {
            let info: String = redis::from_redis_value(replica.ask(&["INFO", "replication"]).await).unwrap();
            info.contains("master_link_status:up")
        })
        .await;
    }

    async fn is_whole(&self) -> bool {
        for server in &self.servers {
            let info: String = redis::from_redis_value(server.ask(&["CLUSTER", "INFO"]).await).unwrap();
            let known = format!("cluster_known_nodes:{}", self.servers.len());
            if !info.contains("cluster_state:ok") || !info.contains(&known) {
                return false;
            }
        }
        true
    }

    pub(crate) fn urls(&self) -> Vec<SecretString> {
        self.servers.iter().map(RedisServer::url).collect()
    }

    /// Which server serves the slot, by what the first says.
    pub(crate) async fn server_of(&self, slot: u16) -> usize {
        let nodes: String = redis::from_redis_value(self.servers[0].ask(&["CLUSTER", "NODES"]).await).unwrap();
        for line in nodes.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let serves = words.iter().skip(8).filter(|word| !word.starts_with('[')).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (first.parse().unwrap()..=last.parse().unwrap()).contains(&slot)
            });
            if serves {
                let port: u16 = words[1].split('@').next().unwrap().rsplit(':').next().unwrap().parse().unwrap();
                return self.servers.iter().position(|server| server.port == port).unwrap();
            }
        }
        panic!("nobody serves slot {slot}");
    }

    /// Moves a slot without keys, and says where to.
    pub(crate) async fn move_slot(&self, slot: u16) -> usize {
        let from = self.server_of(slot).await;
        let to = (from + 1) % self.servers.len();
        let (from_id, to_id) = (self.id(from).await, self.id(to).await);
        let slot = slot.to_string();
        self.servers[to].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        self.servers[from].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
        for server in [to, from] {
            self.servers[server].ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
        }
        to
    }

    async fn id(&self, server: usize) -> String {
        redis::from_redis_value(self.servers[server].ask(&["CLUSTER", "MYID"]).await).unwrap()
    }
}

/// Installs Debian's `redis-server` where it is missing and we may.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let runs = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !runs("redis-server", &["--version"]) {
            runs("apt-get", &["install", "--yes", "--no-install-recommends", "redis-server"]);
            assert!(runs("redis-server", &["--version"]), "these tests need redis-server on the PATH");
        }
    });
}

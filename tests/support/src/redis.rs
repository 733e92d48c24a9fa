//! A real Redis, one a deployment: its pub/sub knows no databases, so that sharing one would mix
//! deployments.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::ports::free_port;
use super::process::{self, Log, Process};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A Redis server on a loopback port that keeps nothing on disk: started again it is empty. It
/// ends with this value.
pub struct Redis {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    options: Vec<String>,
    log: Arc<Log>,
    process: Mutex<Option<Process>>,
}

/// A free port. A node of a cluster listens on one more, 10,000 above it, which must be no port
/// that the system gives to whoever connects.
fn port() -> u16 {
    const TO_THE_BUS: u16 = 10_000;
    const FIRST_GIVEN: u16 = 32_768;
    let is_free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    std::iter::repeat_with(free_port)
        .take(usize::from(u16::MAX))
        .find(|port| port + TO_THE_BUS < FIRST_GIVEN && is_free(port + TO_THE_BUS))
        .expect("a free loopback port with another one above it")
}

impl Redis {
    /// A new, empty server.
    pub async fn private() -> Arc<Self> {
        Self::with_options(&[]).await
    }

    /// A new, empty server with more command-line options (`["--cluster-enabled", "yes"]`).
    pub async fn with_options(options: &[&str]) -> Arc<Self> {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let server = super::blocking(|| Self::try_start(options)).await;
        Arc::new(server.unwrap_or_else(|error| panic!("Redis: {error}")))
    }

    fn try_start(options: Vec<String>) -> Result<Self, String> {
        let server = Self {
            program: program()?,
            dir: process::new_dir("redis"),
            port: port(),
            options,
            log: Arc::default(),
            process: Mutex::new(None),
        };
        server.try_run()?;
        Ok(server)
    }

    fn try_run(&self) -> Result<(), String> {
        let mut command = process::bound_command(&self.program, "KILL");
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.dir)
            .args(&self.options)
            .current_dir(&self.dir);
        let mark = self.log.mark();
        let mut process = Process::start(command, &self.log)?;
        process
            .says(&self.log, mark, START_LIMIT, |line| line.contains("Ready to accept connections").then_some(()))
            .ok_or_else(|| format!("it did not start:\n{}", self.log.since(mark).join("\n")))?;
        *self.process.lock() = Some(process);
        Ok(())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.lock().as_ref().map(Process::pid)
    }

    /// `host:port`, for a [`super::Proxy`] in front of it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// A connection for a test's own commands.
    pub async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url())?.get_multiplexed_async_connection().await
    }

    /// Runs one command, `["CLIENT", "KILL", "TYPE", "pubsub"]`, over a connection of its own.
    pub async fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, for a command that the server may refuse.
    pub async fn try_command(&self, words: &[&str]) -> RedisResult<Value> {
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut self.connect().await?).await
    }

    /// The text that a command answers.
    pub async fn text(&self, words: &[&str]) -> String {
        redis::from_redis_value(self.command(words).await).unwrap()
    }

    /// Stops in good order (`SIGTERM`).
    pub async fn stop(self: &Arc<Self>) {
        self.end(Signal::SIGTERM).await;
    }

    /// Ends at once (`SIGKILL`).
    pub async fn kill(self: &Arc<Self>) {
        self.end(Signal::SIGKILL).await;
    }

    async fn end(self: &Arc<Self>, signal: Signal) {
        let server = Arc::clone(self);
        super::blocking(move || {
            if let Some(mut process) = server.process.lock().take() {
                process.signal(signal);
                process.wait(START_LIMIT).unwrap();
            }
        })
        .await;
    }

    /// Starts again on the same port, empty, and waits until it answers.
    pub async fn start(self: &Arc<Self>) {
        let server = Arc::clone(self);
        super::blocking(move || server.try_run()).await.unwrap();
    }

    /// Freezes the server: connections stay open and nothing is answered (`SIGSTOP`).
    pub fn freeze(&self) {
        if let Some(process) = self.process.lock().as_mut() {
            process.signal(Signal::SIGSTOP);
        }
    }

    /// Lets a frozen server go on (`SIGCONT`).
    pub fn thaw(&self) {
        if let Some(process) = self.process.lock().as_mut() {
            process.signal(Signal::SIGCONT);
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.process.lock().take());
        process::remove_dir(&self.dir);
    }
}

pub(crate) fn program() -> Result<PathBuf, String> {
    static FOUND: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        if let Some(program) = process::find_program("redis-server") {
            return Ok(program);
        }
        process::install("redis-server")?;
        process::find_program("redis-server").ok_or_else(|| "no `redis-server` after installing it".to_owned())
    });
    FOUND.clone()
}

//! A real Postgres: one server for all deployments of a run, a database for each; or a private
//! server, which a test may stop, crash and start again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use parking_lot::Mutex;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::ports::free_port;
use super::process::{self, Log, Process};

const START_LIMIT: Duration = Duration::from_mins(1);

/// A Postgres server on a loopback port, with trust authentication. It ends with this value.
pub struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    fsync: &'static str,
    log: Arc<Log>,
    process: Mutex<Option<Process>>,
}

/// A server that all tests of a process share, or why it did not start.
type Shared = OnceLock<Result<Arc<Postgres>, String>>;

/// The server that deployments share unless a test brings its own.
pub async fn shared() -> Arc<Postgres> {
    static SHARED: Shared = Shared::new();
    get_or_start(&SHARED, "on").await
}

/// A shared server with `fsync` off, a third faster: for tests that ask nothing about a power cut.
pub async fn shared_without_fsync() -> Arc<Postgres> {
    static SHARED: Shared = Shared::new();
    get_or_start(&SHARED, "off").await
}

async fn get_or_start(shared: &'static Shared, fsync: &'static str) -> Arc<Postgres> {
    let start = move || Postgres::try_start(fsync).map(Arc::new);
    let server = super::blocking(move || shared.get_or_init(start).clone()).await;
    server.unwrap_or_else(|error| panic!("Postgres: {error}"))
}

impl Postgres {
    /// A server of the test's own.
    pub async fn private() -> Arc<Self> {
        let server = super::blocking(|| Self::try_start("on")).await;
        Arc::new(server.unwrap_or_else(|error| panic!("Postgres: {error}")))
    }

    fn try_start(fsync: &'static str) -> Result<Self, String> {
        let bin = programs()?;
        let dir = new_server_dir()?;
        let mut initdb = as_postgres(&bin.join("initdb"), "KILL");
        initdb
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "-D"])
            .arg(dir.join("data"))
            .current_dir(&dir);
        process::run(initdb)?;
        Self::try_run_in(bin, dir, fsync)
    }

    fn try_run_in(bin: PathBuf, dir: PathBuf, fsync: &'static str) -> Result<Self, String> {
        let server = Self { bin, dir, port: free_port(), fsync, log: Arc::default(), process: Mutex::new(None) };
        server.try_run()?;
        Ok(server)
    }

    /// A streaming standby of this server. It follows until it is promoted, or until this server is
    /// gone.
    pub async fn standby(self: &Arc<Self>) -> Arc<Self> {
        let primary = Arc::clone(self);
        let standby = super::blocking(move || {
            let dir = new_server_dir()?;
            let mut backup = as_postgres(&primary.bin.join("pg_basebackup"), "KILL");
            backup
                .args(["-h", "127.0.0.1", "-p", &primary.port.to_string(), "-U", "postgres", "--no-sync"])
                .args(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "-D"])
                .arg(dir.join("data"))
                .current_dir(&dir);
            process::run(backup)?;
            Self::try_run_in(primary.bin.clone(), dir, primary.fsync)
        });
        Arc::new(standby.await.unwrap_or_else(|error| panic!("a standby: {error}")))
    }

    fn try_run(&self) -> Result<(), String> {
        let mut slot = self.process.lock();
        // after a kill the orphans of the last run may hold its shared memory for a moment
        super::eventually_blocking("a Postgres that stays up", START_LIMIT, || {
            let mut command = as_postgres(&self.bin.join("postgres"), "QUIT");
            command.current_dir(&self.dir).arg("-D").arg(self.dir.join("data"));
            for setting in [
                format!("port={}", self.port),
                "listen_addresses=127.0.0.1".to_owned(),
                "unix_socket_directories=".to_owned(),
                "max_connections=400".to_owned(),
                format!("fsync={}", self.fsync),
                "synchronous_commit=on".to_owned(),
                "shared_buffers=64MB".to_owned(),
                "lc_messages=C".to_owned(),
            ] {
                command.args(["-c", &setting]);
            }
            let mark = self.log.mark();
            let mut process = Process::start(command, &self.log).ok()?;
            // A standby adds "read-only".
            let ready = |line: &str| line.contains("database system is ready to accept").then_some(());
            process.says(&self.log, mark, START_LIMIT, ready)?;
            *slot = Some(process);
            Some(())
        })
        .map_err(|error| format!("{error}\n{}", self.log.since(0).join("\n")))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server, whose children serve its connections, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.lock().as_ref().map(Process::pid)
    }

    /// The folder of the server's programs, `pgbench` among them.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The address of a database of this server.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and gives its address.
    pub async fn new_database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("messenger_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&self.url("postgres")).await.unwrap();
        admin.execute(AssertSqlSafe(format!("create database {name} template template0"))).await.unwrap();
        admin.close().await.unwrap();
        self.url(&name)
    }

    /// Stops in good order, open sessions ended (`SIGINT`).
    pub async fn stop(self: &Arc<Self>) {
        self.end(Signal::SIGINT).await;
    }

    /// Ends at once without a checkpoint, as at a power cut that spares the operating system
    /// (`SIGQUIT`).
    pub async fn crash(self: &Arc<Self>) {
        self.end(Signal::SIGQUIT).await;
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

    /// Starts again, on the same port and data, and waits until it answers.
    pub async fn start(self: &Arc<Self>) {
        let server = Arc::clone(self);
        super::blocking(move || server.try_run()).await.unwrap();
    }

    /// The lines that the server wrote.
    pub fn log(&self) -> Vec<String> {
        self.log.since(0)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.lock().take() {
            process.signal(Signal::SIGQUIT);
            process.wait(Duration::from_secs(10)).ok();
        }
        process::remove_dir(&self.dir);
    }
}

/// A folder that the user who runs the server may write to.
fn new_server_dir() -> Result<PathBuf, String> {
    let dir = process::new_dir("postgres");
    if process::is_root() {
        let mut chown = Command::new("chown");
        chown.arg("postgres:").arg(&dir);
        process::run(chown)?;
    }
    Ok(dir)
}

fn as_postgres(program: &Path, death: &str) -> Command {
    let mut command = Command::new("setpriv");
    if process::is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", death]).arg(program);
    command
}

/// The folder of the server's programs; Debian keeps it out of `PATH`.
fn programs() -> Result<PathBuf, String> {
    static FOUND: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| {
        if let Some(bin) = installed() {
            return Ok(bin);
        }
        process::install("postgresql")?;
        installed().ok_or_else(|| "no `initdb` after installing postgresql".to_owned())
    });
    FOUND.clone()
}

fn installed() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop().map(|(_, bin)| bin).or_else(|| {
        let initdb = process::find_program("initdb")?;
        Some(initdb.canonicalize().ok()?.parent()?.to_owned())
    })
}

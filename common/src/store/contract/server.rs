//! A Postgres server of the suite's own, in a temporary directory, gone with the test process however that ends.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub(super) struct Server {
    bin: PathBuf,
    data: PathBuf,
    port: u16,
    databases: AtomicU32,
}

impl Server {
    /// The one that all tests share.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of the caller's own.
    pub(super) fn start() -> Self {
        let bin = binaries();
        let dir = tempfile::Builder::new().prefix("messenger-store-").tempdir().unwrap().keep();
        let data = dir.join("data");
        if as_postgres() {
            run(Command::new("chown").arg("postgres:postgres").arg(&dir));
        }
        run(privileged(&bin.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data));
        let port = crate::ports::free_port();
        let server = Self { bin, data, port, databases: AtomicU32::new(0) };
        server.up();
        sweep_at_exit(&dir);
        server
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A fresh database's address.
    pub(super) async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&self.url("postgres")).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("create database {name} template template0")))
            .execute(&mut connection)
            .await
            .unwrap();
        self.url(&name)
    }

    /// Starts the server's process and waits until it says that it is ready. The thread that starts a process with a parent-death signal
    /// must outlive it, so that one is its own; it reads what the server says for as long as that lives.
    pub(super) fn up(&self) {
        let mut command = privileged(&self.bin.join("postgres"));
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string(), "-k", ""])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "fsync=off"])
            .args(["-c", "shared_buffers=64MB", "-c", "autovacuum_naptime=1min", "-c", "lc_messages=C"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let (ready, is_ready) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut child: Child = command.spawn().expect("postgres starts");
            let said = BufReader::new(child.stderr.take().expect("its standard error is piped"));
            // Not `lines()`: a query in the log need not be UTF-8.
            for line in said.split(b'\n').map_while(Result::ok) {
                if String::from_utf8_lossy(&line).ends_with("database system is ready to accept connections") {
                    ready.try_send(()).ok();
                }
            }
            child.wait().expect("postgres is waited for");
        });
        is_ready.recv_timeout(Duration::from_secs(30)).expect("postgres comes up within 30 s");
    }

    /// Stops the server, `fast` (telling its clients) or `immediate` (as a crash).
    pub(super) fn down(&self, mode: &str) {
        run(privileged(&self.bin.join("pg_ctl")).args(["stop", "-w", "-m", mode, "-D"]).arg(&self.data));
    }
}

/// Whether the suite runs as root, whom Postgres refuses.
fn as_postgres() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A command as the user that may run it, ended with this process.
fn privileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=QUIT");
    if as_postgres() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Where the server's programs are; installed when they are missing and root may.
fn binaries() -> PathBuf {
    installed().unwrap_or_else(|| {
        assert!(as_postgres(), "the store's tests need PostgreSQL's server programs");
        run(Command::new("apt-get").args(["install", "-y", "--no-install-recommends", "postgresql"]));
        installed().expect("postgresql is installed")
    })
}

fn installed() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    let in_path = || std::env::split_paths(&std::env::var_os("PATH")?).find(|dir| dir.join("initdb").exists());
    found.pop().map(|(_, bin)| bin).or_else(in_path)
}

/// Removes the directory once this process has ended: its end of the pipe closes then.
fn sweep_at_exit(dir: &Path) {
    let script = "cat > /dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; rm -rf \"$0\" && exit; done";
    let sweeper = Command::new("sh")
        .args(["-c", script])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::mem::forget(sweeper);
}

//! A real `PgBouncer` before a Postgres, in transaction mode.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::ports::free_port;
use super::process::{self, Log, Process};

const START_LIMIT: Duration = Duration::from_mins(1);

/// A pooler on a loopback port that lets everybody in. It ends with this value.
pub struct PgBouncer {
    dir: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl PgBouncer {
    /// A pooler before the server at that port, with that many server connections a database.
    /// `settings` are lines of its `[pgbouncer]` section.
    pub async fn before(postgres_port: u16, pool_size: u16, settings: &[&str]) -> Self {
        let settings = settings.join("\n");
        super::blocking(move || Self::start(postgres_port, pool_size, &settings)).await
    }

    fn start(postgres_port: u16, pool_size: u16, settings: &str) -> Self {
        let program = process::find_program("pgbouncer").unwrap_or_else(|| {
            process::install("pgbouncer").unwrap_or_else(|error| panic!("{error}"));
            process::find_program("pgbouncer").unwrap()
        });
        let (dir, port) = (process::new_dir("pgbouncer"), free_port());
        let users = dir.join("users.txt");
        std::fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let config = dir.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={postgres_port} user=postgres\n[pgbouncer]\nlisten_addr=127.0.0.1\n\
             listen_port={port}\nunix_socket_dir=\nauth_type=any\nauth_file={}\npool_mode=transaction\n\
             default_pool_size={pool_size}\nmax_client_conn=500\n{settings}\n",
            users.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("setpriv");
        if process::is_root() {
            let mut chown = Command::new("chown");
            chown.args(["-R", "postgres:"]).arg(&dir);
            process::run(chown).unwrap();
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        }
        command.args(["--pdeathsig", "KILL"]).arg(program).arg(config);
        let log = Arc::new(Log::default());
        let mut process = Process::start(command, &log).unwrap();
        let up = |line: &str| line.contains("process up").then_some(());
        process.says(&log, 0, START_LIMIT, up).unwrap_or_else(|| panic!("{}", log.since(0).join("\n")));
        Self { dir, port, process: Some(process) }
    }

    /// The same database's address, through the pooler.
    pub fn url(&self, direct: &str) -> String {
        let name = direct.rsplit('/').next().unwrap();
        format!("postgresql://postgres@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.process.take());
        process::remove_dir(&self.dir);
    }
}

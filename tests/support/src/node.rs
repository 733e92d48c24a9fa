//! One program as a process of its own, with the signals and the restarts that fault tests need.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use parking_lot::Mutex;

use super::process::{self, Log, Process};
use super::programs::{self, Program};

/// How long a program may take until it is ready; it waits a minute for its database itself.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// Environment variables of one program.
pub type Env = BTreeMap<String, String>;

/// A running (or stopped) program. Its working folder is its own, its environment only what the
/// harness sets, so that no file and no variable of the machine has a say.
pub struct Node {
    name: String,
    program: Program,
    dir: PathBuf,
    log: Arc<Log>,
    state: Mutex<State>,
}

struct State {
    /// the folder of its executables, where they are not this build's
    programs: Option<PathBuf>,
    env: Env,
    process: Option<Process>,
    port: u16,
    admin_port: u16,
}

impl Node {
    /// Starts `program` and returns once it has told its ports; it may not be ready yet. Blocks.
    pub fn start(name: &str, program: Program, env: Env) -> Result<Self, String> {
        Self::start_from(None, name, program, env)
    }

    /// The same from that folder of executables.
    pub fn start_from(programs: Option<PathBuf>, name: &str, program: Program, env: Env) -> Result<Self, String> {
        let node = Self {
            name: name.to_owned(),
            program,
            dir: process::new_dir(name),
            log: Arc::default(),
            state: Mutex::new(State { programs, env, process: None, port: 0, admin_port: 0 }),
        };
        node.launch()?;
        Ok(node)
    }

    fn launch(&self) -> Result<(), String> {
        let mut state = self.state.lock();
        let mark = self.log.mark();
        let mut env = state.env.clone();
        env.insert("PORT".to_owned(), state.port.to_string());
        env.insert("ADMIN_PORT".to_owned(), state.admin_port.to_string());
        let mut process = match &state.programs {
            Some(from) => programs::launch_from(from, self.program, &self.dir, &env, &[], &self.log)?,
            None => programs::launch(self.program, &self.dir, &env, &[], &self.log)?,
        };
        let port = self.told_port(mark, &mut process, "listening on");
        let admin_port = self.told_port(mark, &mut process, "admin on");
        state.process = Some(process);
        (state.port, state.admin_port) = (port?, admin_port?);
        Ok(())
    }

    /// The port in the line `PROGRAM WHAT http://127.0.0.1:PORT`.
    fn told_port(&self, mark: usize, process: &mut Process, what: &str) -> Result<u16, String> {
        let start = format!("{} {what} http://127.0.0.1:", self.program.name());
        let told = process.says(&self.log, mark, READY_LIMIT, |line| line.strip_prefix(&start)?.parse().ok());
        told.ok_or_else(|| match process.exited() {
            Some(status) => format!("{}: {status}\n{}", self.name, self.tail(40)),
            None => format!("{}: no `{start}…` within {READY_LIMIT:?}\n{}", self.name, self.tail(40)),
        })
    }

    /// Waits until `/readyz` answers 200. Blocks.
    pub fn wait_ready(&self) -> Result<(), String> {
        super::eventually_blocking(&format!("{} ready", self.name), READY_LIMIT, || {
            (self.probe("/readyz") == Some(200) || self.has_exited()).then_some(())
        })
        .and_then(|()| if self.has_exited() { Err(format!("{} ended", self.name)) } else { Ok(()) })
        .map_err(|error| format!("{error}\n{}", self.tail(60)))
    }

    /// The status that `path` of the admin port answers, or `None` when nothing does within two
    /// seconds. Blocks.
    pub fn probe(&self, path: &str) -> Option<u16> {
        let address = ([127, 0, 0, 1], self.state.lock().admin_port).into();
        let limit = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        std::str::from_utf8(&answer).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn program(&self) -> Program {
        self.program
    }

    /// Its working folder; for `messenger` the database is in it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.state.lock().process.as_ref().map(Process::pid)
    }

    pub fn port(&self) -> u16 {
        self.state.lock().port
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    pub fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port())
    }

    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.state.lock().admin_port)
    }

    /// The folder of its executables from the next start on; `None`: this build's.
    pub fn set_programs(&self, programs: Option<PathBuf>) {
        self.state.lock().programs = programs;
    }

    /// Sets a variable from the next start on.
    pub fn set_env(&self, name: &str, value: &str) {
        self.state.lock().env.insert(name.to_owned(), value.to_owned());
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.state.lock().process.as_mut() {
            process.signal(signal);
        }
    }

    /// Kills it at once and reaps it, as a crash of the machine would.
    pub fn kill_9(&self) {
        self.signal(Signal::SIGKILL);
        if let Some(process) = self.state.lock().process.as_mut() {
            process.wait(Duration::from_secs(10)).unwrap();
        }
    }

    /// Asks it to end; [`Self::wait_exit`] tells how it did.
    pub fn sigterm(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Freezes it, all connections open.
    pub fn sigstop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a frozen process go on.
    pub fn sigcont(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub fn has_exited(&self) -> bool {
        match self.state.lock().process.as_mut() {
            Some(process) => process.exited().is_some(),
            None => true,
        }
    }

    /// How it ended, which must be within `limit`.
    pub async fn wait_exit(self: &Arc<Self>, limit: Duration) -> ExitStatus {
        let node = Arc::clone(self);
        let ended = super::blocking(move || {
            super::eventually_blocking(&format!("the end of {}", node.name), limit, || {
                node.state.lock().process.as_mut()?.exited()
            })
            .map_err(|error| format!("{error}\n{}", node.tail(60)))
        });
        ended.await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts it again on the same ports, killing it first where it runs, and waits until it is
    /// ready.
    pub async fn restart(self: &Arc<Self>) {
        self.kill_9();
        self.start_again().await;
        let node = Arc::clone(self);
        let ready = super::blocking(move || node.wait_ready()).await;
        ready.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts it again on the same ports without waiting until it is ready.
    pub async fn start_again(self: &Arc<Self>) {
        let node = Arc::clone(self);
        let started = super::blocking(move || node.launch()).await;
        started.unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The last lines that it wrote.
    pub fn tail(&self, lines: usize) -> String {
        self.tail_since(0, lines)
    }

    /// The last of the lines that it wrote after `mark`.
    pub fn tail_since(&self, mark: usize, lines: usize) -> String {
        let written = self.log.since(mark);
        let shown = &written[written.len().saturating_sub(lines)..];
        format!("--- {} ---\n{}\n", self.name, shown.join("\n"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.state.lock().process.take());
        process::remove_dir(&self.dir);
    }
}

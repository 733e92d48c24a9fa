//! Child processes that end with the test binary, however it ends, and the folder that all of a
//! run lives in.
//!
//! Three things see to it: every child asks the kernel for a signal when its parent dies (`setpriv
//! --pdeathsig`), all are started by one thread that lives as long as the process (the kernel
//! counts the death of the *thread* that forked), and a watchdog shell, which notices the end of
//! this process by the end of a pipe, removes the run's folder.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::{Condvar, Mutex};

type Job = (Command, mpsc::SyncSender<std::io::Result<Child>>);

static SPAWNER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (jobs, queue) = mpsc::channel::<Job>();
    std::thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || {
            for (mut command, answer) in queue {
                answer.send(command.spawn()).ok();
            }
        })
        .unwrap();
    Mutex::new(jobs)
});

/// The folder of this run, readable by the `postgres` user, removed by the watchdog when this
/// process ends.
static RUN_DIR: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = tempfile::Builder::new().prefix("messenger-tests-").tempdir().unwrap().keep();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let watchdog = Command::new("sh")
        .arg("-c")
        .arg("cat >/dev/null; n=0; while ! rm -rf \"$0\" && [ $n -lt 50 ]; do n=$((n+1)); sleep 0.1; done")
        .arg(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    // its standard input must stay open until this process ends
    std::mem::forget(watchdog);
    dir
});

/// A new folder inside the run's folder.
pub fn new_dir(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let dir = RUN_DIR.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&dir).unwrap();
    dir
}

/// Removes a folder made by [`new_dir`]; what cannot be removed is left to the watchdog.
pub fn remove_dir(dir: &Path) {
    std::fs::remove_dir_all(dir).ok();
}

/// Whether this process may act as another user.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A command that gets `signal` (as `setpriv` names it, `KILL`) when the test binary dies.
pub fn bound_command(program: impl AsRef<OsStr>, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]).arg(program);
    command
}

/// Another cargo than the one that started this process, and without what that one set for it: a
/// build script that looks at the package's name would take it for a change, and build a third of
/// the dependencies anew at each turn.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let inherited = name.to_string_lossy();
        if inherited.starts_with("CARGO_PKG_") || inherited.starts_with("CARGO_BIN_EXE_") {
            cargo.env_remove(&name);
        }
    }
    cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH").env_remove("LD_LIBRARY_PATH");
    cargo
}

/// The output of a process so far, standard output and standard error together.
#[derive(Default)]
pub struct Log {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    /// number of lines ever written; the newest `kept.len()` of them are kept
    written: usize,
    kept: VecDeque<String>,
    /// streams that are still read
    open: usize,
}

impl Lines {
    fn since(&self, mark: usize) -> impl Iterator<Item = &String> {
        let dropped = self.written - self.kept.len();
        self.kept.iter().skip(mark.saturating_sub(dropped))
    }
}

impl Log {
    const KEPT: usize = 20_000;

    fn push(&self, line: String) {
        let mut lines = self.lines.lock();
        lines.written += 1;
        lines.kept.push_back(line);
        if lines.kept.len() > Self::KEPT {
            lines.kept.pop_front();
        }
        self.grown.notify_all();
    }

    /// How many lines there are so far: a mark for the methods below.
    pub fn mark(&self) -> usize {
        self.lines.lock().written
    }

    /// The lines written after `mark`.
    pub fn since(&self, mark: usize) -> Vec<String> {
        self.lines.lock().since(mark).cloned().collect()
    }

    /// The first line after `mark` from which `find` gets something, or `None` after `limit`.
    pub fn find<T>(&self, mark: usize, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        // held from the look to the wait: a line that came in between would wake nobody
        let mut lines = self.lines.lock();
        loop {
            let found = lines.since(mark).find_map(|line| find(line));
            if found.is_some() || self.grown.wait_until(&mut lines, deadline).timed_out() {
                return found;
            }
        }
    }

    /// Waits until the streams have ended and all that was written is here.
    fn ended(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut lines = self.lines.lock();
        while lines.open > 0 {
            let late = self.grown.wait_until(&mut lines, deadline).timed_out();
            assert!(!late, "a standard stream stays open");
        }
    }

    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        log.lines.lock().open += 1;
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                log.push(String::from_utf8_lossy(&line).trim_end().to_owned());
                line.clear();
            }
            log.lines.lock().open -= 1;
            log.grown.notify_all();
        });
    }
}

/// A running child: its standard streams go to a [`Log`], and it is killed when dropped.
pub struct Process {
    child: Child,
    log: Arc<Log>,
    exit: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with its output going to `log`.
    pub fn start(mut command: Command, log: &Arc<Log>) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{command:?}");
        let (answer, child) = mpsc::sync_channel(1);
        SPAWNER.lock().send((command, answer)).unwrap();
        let mut child = child.recv().unwrap().map_err(|error| format!("{shown}: {error}"))?;
        log.follow(child.stdout.take().unwrap());
        log.follow(child.stderr.take().unwrap());
        Ok(Self { child, log: Arc::clone(log), exit: None })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`; a process that is gone already is no fault.
    pub fn signal(&mut self, signal: Signal) {
        if self.exited().is_none() {
            kill(Pid::from_raw(self.pid().cast_signed()), signal).ok();
        }
    }

    /// How the process ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().unwrap();
        }
        self.exit
    }

    /// The first line after `mark` from which `find` gets something; `None` after `limit`, or once
    /// the process has ended. Its output must go to `log`.
    pub fn says<T>(&mut self, log: &Log, mark: usize, limit: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let slice = Duration::from_millis(100);
        let said = super::eventually_blocking("a line", limit, || match log.find(mark, slice, &find) {
            Some(found) => Some(Some(found)),
            None => self.exited().map(|_| None),
        });
        said.ok().flatten()
    }

    /// Waits for the end of the process, which must come within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let pid = self.pid();
        super::eventually_blocking(&format!("the end of process {pid}"), limit, || self.exited())
    }

    /// The same, once its log has all that it said.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let status = self.wait(limit)?;
        self.log.ended(limit);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exited().is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Runs a short command to its end; its output, or what it complained of.
pub fn run(mut command: Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Installs a Debian package, which only root can.
pub fn install(package: &str) -> Result<(), String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    if !is_root() {
        return Err(format!("{package} is missing: apt-get install {package}"));
    }
    for arguments in [&["update"][..], &["install", "-y", "--no-install-recommends", package][..]] {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(command)?;
    }
    Ok(())
}

/// The path of an executable, looked for in `PATH` and in the system folders.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// The library that shifts a program's clock.
pub fn faketime() -> String {
    let find = || {
        let folders = std::fs::read_dir("/usr/lib").ok()?;
        let mut files = folders.flatten().map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        files.find(|file| file.is_file())
    };
    let found = find().or_else(|| {
        install("libfaketime").unwrap_or_else(|error| panic!("{error}"));
        find()
    });
    found.expect("libfaketimeMT.so.1").to_str().unwrap().to_owned()
}

//! The process around a program: command line, log, runtime, listeners, signals.

use super::{complain, say};
use crate::config::{CommandLine, Config, ConfigError, Program, Task, completions};
use crate::http::Bound;
use crate::lifecycle::{Lifecycle, Signals};
use crate::telemetry;
use crate::tools::{self, doctor};
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;

/// The exit code of a configuration that cannot be used.
const BAD_CONFIGURATION: u8 = 2;
/// The longest time that blocking work (a password's hash) may hold up the end.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Runs the program, or does the task of its sub-command.
pub fn main<F>(program: Program, run: impl FnOnce(Config, Bound, TcpListener, Lifecycle) -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(program, &format!("cannot start the runtime's threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        // First of all: a signal that comes early ends the program in order, too.
        match Signals::catch() {
            Ok(signals) => begin(program, signals, run).await,
            Err(error) => {
                complain(program, &format!("cannot wait for signals: {error}"));
                ExitCode::FAILURE
            }
        }
    });
    runtime.shutdown_timeout(LAST_MOMENT);
    code
}

async fn begin<F>(
    program: Program,
    mut signals: Signals,
    run: impl FnOnce(Config, Bound, TcpListener, Lifecycle) -> F,
) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    // A file that it names may be a pipe.
    let mut reading = tokio::task::spawn_blocking(move || read(program));
    let (read, ended) = tokio::select! {
        read = &mut reading => (Some(read), false),
        () = signals.next() => (tokio::time::timeout(LAST_MOMENT, reading).await.ok(), true),
    };
    match read {
        Some(Ok((Task::Serve, Ok(_)))) if ended => ExitCode::SUCCESS,
        Some(Ok((Task::Serve, Ok(config)))) => serve(config, signals, run).await,
        Some(Ok((task, config))) if !ended => {
            tokio::select! {
                // Dropped, the work takes its drafts along.
                () = signals.next() => cut_short(program),
                code = work(program, task, config) => code,
            }
        }
        _ => cut_short(program),
    }
}

fn read(program: Program) -> (Task, Result<Config, ConfigError>) {
    match CommandLine::read(program) {
        Ok(line) => (line.task(), line.config()),
        Err(error) => (Task::Serve, Err(error)),
    }
}

fn cut_short(program: Program) -> ExitCode {
    complain(program, &"a signal ended it before it was done");
    ExitCode::FAILURE
}

async fn serve<F>(
    config: Config,
    signals: Signals,
    run: impl FnOnce(Config, Bound, TcpListener, Lifecycle) -> F,
) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    telemetry::init(&config);
    raise_descriptors();
    // The admin port answers while the program starts.
    let public = Bound::new("HOST", "PORT", config.listen);
    let admin = || Bound::new("ADMIN_HOST", "ADMIN_PORT", config.admin_listen)?.listen();
    let (public, admin) = match public.and_then(|public| Ok((public, admin()?))) {
        Ok(listeners) => listeners,
        Err(error) => {
            complain(config.program, &error);
            return ExitCode::FAILURE;
        }
    };
    let lifecycle = Lifecycle::with_drain(config.drain);
    let signalled = lifecycle.clone();
    lifecycle.spawn("signals", async move { signalled.wait_signals(signals).await });
    run(config, public, admin, lifecycle).await
}

/// Does a sub-command's work, or says what is wrong with the configuration.
async fn work(program: Program, task: Task, config: Result<Config, ConfigError>) -> ExitCode {
    let config = match (task, config) {
        (Task::Completions(shell), _) => return answer(program, &completions(program, shell)),
        (Task::Doctor { json }, config) => {
            return examine(program, config.as_ref().map_err(ToString::to_string), json).await;
        }
        (_, Ok(config)) => config,
        (_, Err(error)) => {
            complain(program, &error);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    telemetry::init(&config);
    match tools::run(&config).await {
        Ok(line) => answer(program, &format!("{line}\n")),
        Err(error) => {
            complain(program, &error);
            ExitCode::FAILURE
        }
    }
}

/// Prints what a task found or made. If nobody got it, the task has failed: it may be a password
/// that is nowhere else.
fn answer(program: Program, lines: &str) -> ExitCode {
    match say(lines) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(program, &format!("its answer cannot be written to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints what `doctor` found. It begins no log: the report says all.
async fn examine(program: Program, config: Result<&Config, String>, json: bool) -> ExitCode {
    let is_read = config.is_ok();
    let report = doctor::examine(program, config).await;
    let written = answer(program, &if json { report.json() } else { report.text() });
    match report.is_fit() {
        true => written,
        false if is_read => ExitCode::FAILURE,
        false => ExitCode::from(BAD_CONFIGURATION),
    }
}

/// Lets the process open as many descriptors as it may: each connection is one.
fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is: it bounds how many connections there can be");
    }
}

/// The descriptors that the process may have open.
pub(super) fn descriptors() -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    #[test]
    fn as_many_descriptors_as_allowed_may_be_open() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard - 1, hard).unwrap();
        raise_descriptors();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}

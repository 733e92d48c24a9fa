//! The process around a program: command line, log, runtime, listeners, signals.

use super::{complain, say};
use crate::backends::StartError;
use crate::config::{CommandLine, Config, Program, Task, completions};
use crate::http::listen;
use crate::lifecycle::Lifecycle;
use crate::telemetry;
use crate::tools::{self, doctor};
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a configuration that cannot be used.
const BAD_CONFIGURATION: u8 = 2;
/// The longest time that blocking work (a password's hash) may hold up the end.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Runs the program, or does the task of its sub-command.
pub fn main<F>(program: Program, run: impl FnOnce(Config, TcpListener, TcpListener, Lifecycle) -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    let (task, config) = match CommandLine::read(program) {
        Ok(line) => (line.task(), line.config()),
        Err(error) => (Task::Serve, Err(error)),
    };
    match (task, config) {
        (Task::Completions(shell), _) => answer(program, &completions(program, shell)),
        (Task::Doctor { json }, config) => examine(program, config.as_ref().map_err(ToString::to_string), json),
        (_, Err(error)) => {
            complain(program, &error);
            ExitCode::from(BAD_CONFIGURATION)
        }
        (Task::Serve, Ok(config)) => serve(config, run),
        (_, Ok(config)) => work(&config),
    }
}

fn runtime(program: Program) -> Result<Runtime, ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        complain(program, &format!("cannot start the runtime's threads: {error}"));
        ExitCode::FAILURE
    })
}

fn serve<F>(config: Config, run: impl FnOnce(Config, TcpListener, TcpListener, Lifecycle) -> F) -> ExitCode
where
    F: Future<Output = ExitCode>,
{
    telemetry::init(&config);
    raise_descriptors();
    let runtime = match runtime(config.program) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let code = runtime.block_on(async {
        // Inside the runtime, which listeners belong to.
        let listening = async {
            Ok((listen("HOST", "PORT", config.listen)?, listen("ADMIN_HOST", "ADMIN_PORT", config.admin_listen)?))
        };
        let (public, admin) = match listening.await {
            Ok(listeners) => listeners,
            Err::<_, StartError>(error) => {
                complain(config.program, &error);
                return ExitCode::FAILURE;
            }
        };
        let lifecycle = Lifecycle::with_drain(config.drain);
        let signalled = lifecycle.clone();
        lifecycle.spawn("signals", async move { signalled.wait_signals().await });
        run(config, public, admin, lifecycle).await
    });
    runtime.shutdown_timeout(LAST_MOMENT);
    code
}

/// Does a sub-command's work.
fn work(config: &Config) -> ExitCode {
    telemetry::init(config);
    let runtime = match runtime(config.program) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            // First, so that signals are caught before the work begins.
            biased;
            // Dropped, the work takes its drafts along.
            () = signalled() => Err(StartError::new("a signal ended it before it was done")),
            outcome = tools::run(config) => outcome,
        }
    });
    match outcome {
        Ok(line) => answer(config.program, &format!("{line}\n")),
        Err(error) => {
            complain(config.program, &error);
            ExitCode::FAILURE
        }
    }
}

async fn signalled() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
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
fn examine(program: Program, config: Result<&Config, String>, json: bool) -> ExitCode {
    let runtime = match runtime(program) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let is_read = config.is_ok();
    let report = runtime.block_on(doctor::examine(program, config));
    let written = answer(program, &if json { report.json() } else { report.text() });
    runtime.shutdown_timeout(LAST_MOMENT);
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

//! `doctor`: whether the program would serve well here, and what to do where it would not.
//!
//! It changes no data, but for a key in Redis that lives for a second. Each question is bounded,
//! so that the whole takes seconds also where nothing answers.

mod clocks;
mod postgres;
mod redis;
mod report;
mod schema;
mod sqlite;

pub use self::report::{Finding, Report, State};
use crate::config::{Config, Database, Program};
use crate::http;
use std::io::ErrorKind;
use std::net::SocketAddr;

/// Descriptors that a node should have: each connection takes one.
const DESCRIPTORS: u64 = 65_536;

/// Looks at everything that the configuration names.
pub async fn examine(program: Program, config: Result<&Config, String>) -> Report {
    let config = match config {
        Ok(config) => config,
        Err(fault) => {
            let remedy = "correct the value; --help lists all variables with their defaults";
            return Report::new(program, vec![Finding::fault("configuration", fault, remedy)]);
        }
    };
    let mut checks = configuration(config);
    let deployment = match &config.database {
        Database::Sqlite(path) => {
            checks.extend(sqlite::examine(config, path).await);
            None
        }
        Database::Postgres(url) => {
            let (found, deployment) = postgres::examine(config, url).await;
            checks.extend(found);
            deployment
        }
    };
    if let Some(place) = &config.redis {
        checks.extend(redis::examine(config, place, deployment.as_deref()).await);
    }
    checks.push(descriptors(program));
    checks.push(listens("HOST", "PORT", config.listen));
    checks.push(listens("ADMIN_HOST", "ADMIN_PORT", config.admin_listen));
    Report::new(program, checks)
}

fn configuration(config: &Config) -> Vec<Finding> {
    let mut checks: Vec<_> = config
        .warnings
        .iter()
        .map(|warning| Finding::warning("configuration", warning, "set it as --help and the README say"))
        .collect();
    if checks.is_empty() {
        checks.push(Finding::ok("configuration", "every variable has a good value"));
    }
    checks
}

fn descriptors(program: Program) -> Finding {
    use nix::sys::resource::{Resource, getrlimit};
    const CHECK: &str = "descriptors";
    let remedy = format!(
        "raise the hard limit of open files to {DESCRIPTORS} or more: LimitNOFILE= of systemd, ulimits in compose"
    );
    let (_, most) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return Finding::warning(CHECK, format!("the system does not name the limit: {error}"), remedy),
    };
    let found = format!("{} may open {most} files; each connection takes one", program.name());
    if most < DESCRIPTORS { Finding::warning(CHECK, found, remedy) } else { Finding::ok(CHECK, found) }
}

fn listens(host: &str, port: &str, address: SocketAddr) -> Finding {
    const CHECK: &str = "ports";
    match http::open_listener(address) {
        Ok(_) => Finding::ok(CHECK, format!("{port}: {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::warning(
            CHECK,
            format!("{port}: {address} is in use"),
            format!("nothing, if this program runs already; otherwise set {port}, or end what `ss -ltnp` shows there"),
        ),
        Err(error) => {
            let remedy = match error.kind() {
                ErrorKind::AddrNotAvailable => format!("set {host} to an address of this machine"),
                ErrorKind::PermissionDenied => format!("set {port} to 1024 or more, or let systemd give the right"),
                _ => format!("set {host} and {port}"),
            };
            Finding::fault(CHECK, format!("{port}: cannot listen on {address}: {error}"), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ports_that_are_taken_or_forbidden_are_named() {
        let taken = http::open_listener(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let found = listens("HOST", "PORT", taken.local_addr().unwrap());
        assert_eq!(found.state, State::Warning);
        // Of a network that is nobody's.
        let found = listens("HOST", "PORT", SocketAddr::from(([192, 0, 2, 1], 0)));
        assert_eq!(found.state, State::Fault);
        assert!(found.remedy.unwrap().contains("HOST"));
    }
}

//! Everything in one process: what `cargo run` starts. With Postgres and Redis configured, one
//! more node of a cluster.

use messenger_common::backends::StartError;
use messenger_common::config::{Config, Program};
use messenger_common::http::Bound;
use messenger_common::lifecycle::Lifecycle;
use messenger_common::program::{self, App, Started};
use messenger_gateway::Gateway;
use std::process::ExitCode;
use tokio::net::TcpListener;

/// Gives memory back that a burst took, and fragments less over weeks than the system's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    program::main(Program::Messenger, run)
}

async fn run(config: Config, public: Bound, admin: TcpListener, lifecycle: Lifecycle) -> ExitCode {
    program::run(config, public, admin, lifecycle, build).await
}

/// Both servers' routes on one listener, over one set of back ends.
fn build(started: &Started<'_>) -> Result<App, StartError> {
    let gateway = Gateway::app(started)?;
    let api = messenger_api::router(started.context.clone(), started.config, started.lifecycle);
    Ok(App { router: api.merge(gateway.router), ..gateway })
}

//! `messenger`: an api and a gateway in one process. Without further configuration it needs no server: SQLite and everything else in
//! process; with Postgres and Redis it is one more node of their cluster.

use messenger_common::config::{Database, Program};
use messenger_common::program::{self, Assembled};
use messenger_gateway::Gateway;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    program::main(Program::Messenger, |config, backends, ctx, lifecycle| {
        if let Database::Sqlite(path) = &config.database {
            program::say(&format!("messenger keeps its data in {}", path.display()));
        }
        let gateway = Gateway::start(config, backends, ctx.clone(), lifecycle)?;
        let (router, sink) = (messenger_api::router(ctx, config).merge(gateway.router()), gateway.sink());
        Ok(Assembled { router, sink: Some(sink), drain: Box::pin(async move { gateway.drain().await }) })
    })
}

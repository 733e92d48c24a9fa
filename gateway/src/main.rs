//! `messenger-gateway`: holds WebSocket connections.

use messenger_common::config::Program;
use messenger_common::program::{self, Assembled};
use messenger_gateway::Gateway;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    program::main(Program::Gateway, |config, backends, ctx, lifecycle| {
        let gateway = Gateway::start(config, backends, ctx, lifecycle)?;
        let (router, sink) = (gateway.router(), gateway.sink());
        Ok(Assembled { router, sink: Some(sink), drain: Box::pin(async move { gateway.drain().await }) })
    })
}

//! A program from its first line to its exit code: configuration, log, listeners, start, signals, drain.

use crate::backends::Backends;
use crate::config::{Config, Program};
use crate::http::{layers, serve, serve_admin};
use crate::lifecycle::{ExitReason, Lifecycle};
use crate::service::Context;
use crate::{http, telemetry};
use axum::Router;
use futures_util::future::BoxFuture;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::net::TcpListener;

/// What a program adds to what all have in common.
pub struct Assembled {
    /// Its routes, without the layers around them.
    pub router: Router,
    /// Where word from the bus goes.
    pub sink: Option<std::sync::Arc<dyn crate::dispatch::EventSink>>,
    /// What it does when draining, beside finishing its requests.
    pub drain: BoxFuture<'static, ()>,
}

/// The whole of `main`: exit code 2 for a bad configuration, 1 when the start failed.
pub fn main<F>(program: Program, assemble: F) -> ExitCode
where
    F: FnOnce(&Config, &Backends, Context, &Lifecycle) -> std::io::Result<Assembled> + Send + 'static,
{
    let config = match Config::load(program) {
        Ok(config) => config,
        Err(fault) => {
            complain(&fault.to_string());
            return ExitCode::from(2);
        }
    };
    telemetry::init(&config);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the system refused threads or an event loop: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let bound = async { (bind("PORT", config.listen).await, bind("ADMIN_PORT", config.admin_listen).await) };
        match bound.await {
            (Ok(listener), Ok(admin)) => {
                let lifecycle = Lifecycle::with_drain(config.drain);
                run(config, listener, admin, lifecycle, assemble).await
            }
            (Err(fault), _) | (_, Err(fault)) => {
                complain(&fault);
                ExitCode::FAILURE
            }
        }
    });
    runtime.shutdown_background();
    code
}

/// The whole program on listeners that are bound already; tests run what production runs.
pub async fn run<F>(
    config: Config,
    listener: TcpListener,
    admin: TcpListener,
    lifecycle: Lifecycle,
    assemble: F,
) -> ExitCode
where
    F: FnOnce(&Config, &Backends, Context, &Lifecycle) -> std::io::Result<Assembled>,
{
    let signals = lifecycle.clone();
    lifecycle.spawn("signals", async move { signals.wait_signals().await });
    let drain = match start(&config, listener, admin, &lifecycle, assemble).await {
        Ok(drain) => drain,
        Err(fault) => {
            if lifecycle.draining().is_cancelled() {
                tracing::info!("stopped before it was ready: {fault}");
                lifecycle.stop(ExitReason::Done);
            } else {
                complain(&fault);
                lifecycle.stop(ExitReason::Failed("start"));
            }
            Box::pin(async {})
        }
    };
    lifecycle.run_until_done(drain).await
}

async fn start<F>(
    config: &Config,
    listener: TcpListener,
    admin: TcpListener,
    lifecycle: &Lifecycle,
    assemble: F,
) -> Result<BoxFuture<'static, ()>, String>
where
    F: FnOnce(&Config, &Backends, Context, &Lifecycle) -> std::io::Result<Assembled>,
{
    let started = lifecycle.readiness().register("started");
    let name = config.program.name();
    let told = |what: &str, listener: &TcpListener| {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        say(&format!("{name} {what} on http://{address}"));
        Ok::<_, String>(())
    };
    let inside = |error: crate::error::Error| {
        error.inside().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
    };
    let backends = Backends::connect(config, lifecycle).await.map_err(inside)?;
    let ctx = backends.context(config, lifecycle).map_err(inside)?;
    told("admin", &admin)?;
    let admin_router = http::admin::router(backends.metrics.clone(), lifecycle.readiness().clone());
    lifecycle.spawn("admin port", serve_admin(admin, admin_router, lifecycle.clone()));
    let assembled = assemble(config, &backends, ctx.clone(), lifecycle).map_err(|error| error.to_string())?;
    backends.run(config, &ctx, lifecycle, assembled.sink).await.map_err(inside)?;
    let router = layers(assembled.router, config, &backends.metrics);
    told("listening", &listener)?;
    lifecycle.spawn("public port", serve(listener, router, lifecycle.clone()));
    started.set(true);
    Ok(assembled.drain)
}

fn bind(variable: &'static str, address: SocketAddr) -> impl Future<Output = Result<TcpListener, String>> {
    async move {
        TcpListener::bind(address).await.map_err(|error| format!("{variable}: cannot listen on {address}: {error}"))
    }
}

/// A line on standard output, plain whatever the log's form: people and scripts read the address from it.
pub fn say(line: &str) {
    // Nobody reading is no fault.
    writeln!(std::io::stdout().lock(), "{line}").unwrap_or(());
}

fn complain(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").unwrap_or(());
}

//! The frame of every program: read the configuration, listen, connect, serve, drain. Programs
//! differ in their [`App`].
//!
//! `run` of each server is the whole program without the process around it: a test calls it on its
//! own port.

mod process;

pub use process::main;

use crate::auth::{Holders, Keys, Passwords, Revocations, Tokens};
use crate::backends::{Backends, StartError};
use crate::closed_accounts;
use crate::config::{Config, Database, Program};
use crate::dispatch::{Dispatcher, EventSink};
use crate::http::{self, Bound, Places, Toll, Upgrades};
use crate::lifecycle::{ExitReason, Lifecycle, STARTED};
use crate::metrics::{Metrics, PublishResult};
use crate::pruning;
use crate::relay::{Publisher, Relay};
use crate::service::{Audit, ChatCounts, Context, KNOWN_GROUPS, OnlineReads, Parts, Searches, SendQueue};
use crate::store::Store;
use crate::traces::Traces;
use axum::Router;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The parts that an app is built from, once its back ends are there.
pub struct Started<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The back ends.
    pub backends: &'a Backends,
    /// The rules' context.
    pub context: &'a Context,
    /// The process.
    pub lifecycle: &'a Lifecycle,
    /// The places for connections.
    pub places: &'a Places,
}

/// The part in which programs differ.
pub struct App {
    /// Its routes, without the layers.
    pub router: Router,
    /// Takes connections over before the routes see them.
    pub upgrades: Option<Arc<dyn Upgrades>>,
    /// Where the bus's events go.
    pub sink: Option<Arc<dyn EventSink>>,
    /// The drain's work beyond running requests.
    pub drained: BoxFuture<'static, ()>,
}

impl App {
    /// An app that holds nothing beyond requests.
    pub fn of(router: Router) -> Self {
        Self { router, upgrades: None, sink: None, drained: Box::pin(std::future::ready(())) }
    }
}

/// A whole program: from its listeners to its exit code.
pub async fn run(
    config: Config,
    public: Bound,
    admin: TcpListener,
    lifecycle: Lifecycle,
    build: impl FnOnce(&Started<'_>) -> Result<App, StartError>,
) -> ExitCode {
    let metrics = Metrics::new(config.program);
    // Down until everything has started: the admin port answers before that.
    let started = lifecycle.readiness().register(STARTED);
    let admin_address = admin.local_addr();
    let admin_router = http::admin::router(metrics.clone(), lifecycle.readiness().clone());
    lifecycle.spawn("admin", http::serve_admin(admin, admin_router, lifecycle.clone()));

    let traces = match Traces::start(config.traces.as_ref(), config.authorities.as_ref(), &metrics) {
        Ok(traces) => traces,
        Err(fault) => {
            complain(config.program, &format!("OTEL_EXPORTER_OTLP_ENDPOINT: {fault}"));
            lifecycle.stop(ExitReason::Failed("start"));
            return lifecycle.run_until_done(async {}).await;
        }
    };
    let per_address = config.limits.max_connections_per_address;
    let most = http::places_within(process::descriptors(), config.db_pool_size, config.gateway_shards);
    let places = Places::new(most, per_address, config.trusted_proxies.clone(), metrics.clone());
    let draining = lifecycle.draining();
    let app = tokio::select! {
        app = start(&config, &metrics, &traces, &lifecycle, &places, build) => app,
        // A signal came while a back end was waited for.
        () = draining.cancelled() => return lifecycle.run_until_done(async {}).await,
    };
    let address = public.local_addr();
    let started_app = app.and_then(|(app, context)| match public.listen() {
        Ok(listener) => Ok((app, context, listener)),
        Err(error) => {
            // Before what has started is dropped: its tasks end as those of a program that stops.
            lifecycle.stop(ExitReason::Failed("start"));
            Err(error)
        }
    });
    let (app, context, listener) = match started_app {
        Ok(parts) => parts,
        Err(error) => {
            complain(config.program, &error);
            lifecycle.stop(ExitReason::Failed("start"));
            return lifecycle.run_until_done(async {}).await;
        }
    };
    let payee = context.clone();
    let toll: Toll = Arc::new(move |from| {
        let ctx = payee.clone();
        Box::pin(async move { ctx.charge_page(from).await })
    });
    let router = http::layers(app.router, &config, &metrics, &traces, toll);
    let keep_alive = config.limits.keep_alive;
    lifecycle.spawn("public", http::serve(listener, router, app.upgrades, places, keep_alive, lifecycle.clone()));
    started.set(true);
    announce(&config, address.ok(), admin_address.ok());
    let code = lifecycle.run_until_done(app.drained).await;
    context.store.close().await;
    traces.shut_down().await;
    code
}

async fn start(
    config: &Config,
    metrics: &Metrics,
    traces: &Traces,
    lifecycle: &Lifecycle,
    places: &Places,
    build: impl FnOnce(&Started<'_>) -> Result<App, StartError>,
) -> Result<(App, Context), StartError> {
    let backends = Backends::connect(config, metrics, lifecycle).await?;
    let store = backends.store.clone();
    let context = context(config, &backends, traces, lifecycle).await?;
    let bus = backends.bus.clone();
    if config.program == Program::Gateway {
        Relay::stand_in(bus, store.clone(), lifecycle);
    } else {
        Relay::start(bus, store.clone(), lifecycle, metrics.outbox_pending.clone());
        lifecycle.spawn("groups of closed accounts", closed_accounts::run(store.clone()));
        lifecycle.spawn("log pruning", pruning::run(store.clone(), config.limits.event_retention));
        lifecycle.spawn("words of messages", pruning::fill_words(store.clone()));
        lifecycle.spawn("spellings of addresses", pruning::spell_addresses(store.clone()));
    }
    // A gateway sends too.
    lifecycle.spawn("words of new messages", pruning::merge_words(store.clone(), metrics.word_merge_failures.clone()));
    let app = build(&Started { config, backends: &backends, context: &context, lifecycle, places })?;
    let revocations = Arc::new(context.revocations.clone());
    lifecycle.spawn("bus receiver", Dispatcher::run(backends.bus.clone(), revocations, app.sink.clone()));
    Ok((app, context))
}

/// The rules' context, and the tasks behind it: the publisher, the queue of sends, the beat of the
/// revocations. When it returns, the sessions that ended while this program was away are known,
/// unless the store is away.
async fn context(
    config: &Config,
    backends: &Backends,
    traces: &Traces,
    lifecycle: &Lifecycle,
) -> Result<Context, StartError> {
    let Backends { store, metrics, clock, .. } = backends;
    // Made only now, beside a database that is this program's and locked.
    let secret = config.secret_key.load().map_err(|error| StartError::new(error.to_string()))?;
    let keys = Keys::new(secret.as_ref().map(|secret| secret.expose_secret().as_bytes()), &config.jwt);
    compare_keys(config.program, store.as_ref(), &keys).await;
    let tokens = Tokens::new(
        keys,
        backends.history.deployment(),
        config.access_token_ttl,
        config.refresh_token_ttl,
        clock.clone(),
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let passwords = Passwords::new(config.argon2_memory_kib, hashes_at_once(config.argon2_memory_kib, cores))
        .map_err(|fault| StartError::new(fault.to_string()))?;
    let dropped = metrics.backplane_published(PublishResult::Dropped).clone();
    let publisher = Publisher::start(backends.bus.clone(), store.clone(), lifecycle, dropped, traces.clone());
    let (revocations, holders) = (Revocations::new(config.access_token_ttl), Holders::start(store, lifecycle));
    revocations.start(store.clone(), backends.bus.up(), lifecycle).await;
    Ok(Context::new(Parts {
        sends: SendQueue::start(store, &publisher, metrics, lifecycle),
        store: store.clone(),
        history: backends.history.clone(),
        publisher,
        presence: backends.presence.clone(),
        online: OnlineReads::default(),
        searches: Searches::of(store.pool().size),
        chat_counts: ChatCounts::default(),
        limiter: backends.limiter.clone(),
        local_limiter: backends.local_limiter.clone(),
        tokens,
        passwords,
        holders,
        revocations,
        groups: moka::future::Cache::new(KNOWN_GROUPS),
        registration: config.registration,
        search_language: config.search_language,
        limits: config.limits.clone(),
        clock: clock.clone(),
        audit: Audit::default(),
        metrics: metrics.clone(),
        traces: traces.clone(),
    }))
}

/// Nodes with different keys refuse each other's tokens: says so where this program does not take
/// the key that the deployment's tokens were last signed with. A change on purpose is said once.
async fn compare_keys(program: Program, store: &dyn Store, keys: &Keys) {
    // A database that is away leaves the question open. Again where another node was faster.
    while let Ok(known) = store.signed_with().await {
        if let Some(known) = known.as_deref().filter(|known| !keys.takes(known)) {
            tracing::warn!(
                known,
                own = keys.signer(),
                "SECRET_KEY or JWT_PUBLIC_KEYS_FILE: the tokens of this deployment were last signed with a key that \
                 this program does not take. Give every node the same; after a change on purpose everybody logs in again"
            );
        }
        // A gateway signs nothing, though it may hold the secret.
        let signer = keys.signer().filter(|_| program != Program::Gateway);
        let Some(own) = signer.filter(|own| known.as_deref() != Some(own)) else { return };
        if store.sign_with(known.as_deref(), own).await.unwrap_or(true) {
            return;
        }
    }
}

/// The memory of all passwords that are hashed at once. It is no part of the machine's, of which a
/// container may have little while it sees all cores.
const HASHING_KIB: u32 = 256 * 1024;

/// Passwords that are hashed at once: on all cores but one, which a flood of logins leaves to the
/// other requests, and in no more memory than [`HASHING_KIB`]; one at least.
fn hashes_at_once(memory_kib: u32, cores: usize) -> usize {
    let fit = usize::try_from(HASHING_KIB / memory_kib.max(1)).unwrap_or(usize::MAX);
    cores.saturating_sub(1).min(fit).max(1)
}

/// Prints the program's addresses to stdout, for people and for a parent process that asked for
/// any free port.
fn announce(config: &Config, public: Option<SocketAddr>, admin: Option<SocketAddr>) {
    let name = config.program.name();
    let database = match &config.database {
        Database::Sqlite(path) => std::path::absolute(path).ok(),
        Database::Postgres(_) => None,
    };
    let lines: String = [
        database.map(|path| format!("{name} database {}\n", path.display())),
        admin.map(|address| format!("{name} admin on http://{address}\n")),
        public.map(|address| format!("{name} listening on http://{address}\n")),
        // A cluster's page is found at its load balancer.
        public
            .filter(|_| config.program == Program::Messenger)
            .map(|address| format!("Open http://{} in a browser\n", reachable(address))),
    ]
    .into_iter()
    .flatten()
    .collect();
    // A program serves also without anybody who reads them.
    drop(say(&lines));
    let shown = |address: Option<SocketAddr>| address.map(tracing::field::display);
    tracing::info!(public.address = shown(public), admin.address = shown(admin), "{name} is up");
}

/// An address that a browser on this machine can open: a listener on every address has none of its
/// own.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address }
}

/// Lines for people, on stdout.
fn say(lines: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(lines.as_bytes()).and_then(|()| out.flush())
}

/// One line on stderr, where nothing may be logged yet.
fn complain(program: Program, error: &dyn Display) {
    let line = format!("{}: {error}\n", program.name());
    drop(std::io::stderr().write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::hashes_at_once;

    #[test]
    fn passwords_are_hashed_on_all_cores_but_one_as_far_as_their_memory_allows() {
        let kib = 19_456;
        assert_eq!([1, 2, 8, 14, 15, 32, 256].map(|cores| hashes_at_once(kib, cores)), [1, 1, 7, 13, 13, 13, 13]);
        assert_eq!([8, 65_536, 262_144, 4_194_304].map(|kib| hashes_at_once(kib, 32)), [31, 4, 1, 1]);
    }
}

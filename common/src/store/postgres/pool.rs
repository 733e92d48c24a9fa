//! A pool of connections with three promises. A caller learns at once that the server is away. A
//! connection on which an answer is still due is never used again. A restart of the server costs
//! one failed use, not one of every connection.

use crate::error::Error;
use crate::store::PoolState;
use crate::store::fault::{Fault, is_lost};
use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// How long a caller waits for a connection, its opening included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1500);
/// A connection that was idle for longer than this is probed before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// The settings of every connection. They are statements, because poolers refuse to pass on a
/// startup packet with settings. Every statement reaches few rows by a key. So one plan serves all
/// parameters, is made once a connection, and takes the index whatever the statistics of a young
/// table say.
const SETTINGS: &str = "set statement_timeout = 1700; set idle_in_transaction_session_timeout = 5000; set jit = off;
    set plan_cache_mode = force_generic_plan; set enable_seqscan = off";

/// The pool. A caller beyond its size waits, and gets `Unavailable` after [`ACQUIRE_TIMEOUT`].
pub(super) struct Pool {
    options: PgConnectOptions,
    size: usize,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    open: AtomicU32,
    /// Raised when a connection was lost. Connections of an older generation are probed before they
    /// are used.
    generation: AtomicU64,
}

struct Idle {
    connection: PgConnection,
    generation: u64,
    since: Instant,
}

impl Pool {
    pub(super) fn new(options: PgConnectOptions, size: u32) -> Arc<Self> {
        let size = usize::try_from(size.max(1)).unwrap_or(1);
        Arc::new(Self {
            options: options.disable_statement_logging(),
            size,
            permits: Arc::new(Semaphore::new(size)),
            idle: Mutex::new(Vec::new()),
            open: AtomicU32::new(0),
            generation: AtomicU64::new(0),
        })
    }

    /// How many connections it may have.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The server that it connects to.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// How often connections were lost, each outage once.
    pub(super) fn losses(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> PoolState {
        let idle = u32::try_from(self.idle.lock().len()).unwrap_or(u32::MAX);
        let size = u32::try_from(self.size).unwrap_or(u32::MAX);
        PoolState { in_use: self.open.load(Ordering::Relaxed).saturating_sub(idle), idle, size }
    }

    /// A connection for one or more statements, each its own transaction.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Fault> {
        timeout(ACQUIRE_TIMEOUT, self.acquire())
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("no database connection became free in time").into()))
    }

    /// A connection with a transaction begun.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Lease, Fault> {
        let mut lease = self.lease().await?;
        let begun = sqlx::raw_sql("begin").execute(lease.connection()).await;
        lease.note(begun.as_ref().err());
        begun?;
        lease.clean = false;
        Ok(lease)
    }

    async fn acquire(self: &Arc<Self>) -> Result<Lease, Fault> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        loop {
            // The newest first, so that idle ones stay idle.
            let Some(idle) = self.idle.lock().pop() else { break };
            let mut lease = Lease::new(self, idle.connection, idle.generation, None);
            let trusted =
                idle.generation == self.generation.load(Ordering::Acquire) && idle.since.elapsed() < TRUSTED_IDLE;
            if trusted || lease.answers().await {
                lease.permit = Some(permit);
                lease.clean = true;
                return Ok(lease);
            }
        }
        let generation = self.generation.load(Ordering::Acquire);
        let mut connection = self.options.connect().await.map_err(Error::unavailable)?;
        self.open.fetch_add(1, Ordering::Relaxed);
        let set = sqlx::raw_sql(SETTINGS).execute(&mut connection).await;
        let mut lease = Lease::new(self, connection, generation, Some(permit));
        set.map_err(Error::unavailable)?;
        lease.clean = true;
        Ok(lease)
    }
}

/// A connection in use. It is closed where it is dropped before its work was ended, by a caller
/// that went away or a time-out.
pub(super) struct Lease {
    connection: Option<PgConnection>,
    generation: u64,
    /// Whether nothing is due on it: no answer, no end of a transaction.
    clean: bool,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    fn new(pool: &Arc<Pool>, connection: PgConnection, generation: u64, permit: Option<OwnedSemaphorePermit>) -> Self {
        Self { connection: Some(connection), generation, clean: false, pool: Arc::clone(pool), permit }
    }

    /// The connection itself. Each use must be followed by one of the `end`s.
    #[expect(clippy::expect_used, reason = "it is taken only where the lease ends")]
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.clean = false;
        self.connection.as_mut().expect("a lease has its connection until it ends")
    }

    /// Ends a use whose statements were each a transaction of its own.
    pub(super) fn end<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, Fault> {
        self.settle(result)
    }

    /// The same, for a lease that goes on.
    pub(super) fn settle<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, Fault> {
        self.note(result.as_ref().err());
        result.map_err(Fault::Sql)
    }

    /// The same for a statement that wrote. After a lost connection nobody knows whether it did.
    pub(super) fn end_written<T>(self, result: Result<T, sqlx::Error>) -> Result<T, Fault> {
        self.end(result).map_err(|fault| match fault {
            Fault::Sql(error) if is_lost(&error) => Fault::Unknown(error),
            other => other,
        })
    }

    /// Ends a transaction: commits after `Ok`, rolls back after `Err`.
    pub(super) async fn end_transaction<T>(mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        match result {
            Ok(value) => {
                let committed = sqlx::raw_sql("commit").execute(self.connection()).await;
                self.note(committed.as_ref().err());
                committed.map_err(Fault::Unknown)?;
                Ok(value)
            }
            Err(fault) => {
                let lost = match &fault {
                    Fault::Sql(error) | Fault::Unknown(error) => is_lost(error),
                    Fault::Rule(_) => false,
                };
                if lost {
                    self.lost();
                } else {
                    let undone = sqlx::raw_sql("rollback").execute(self.connection()).await;
                    self.note(undone.as_ref().err());
                }
                Err(fault)
            }
        }
    }

    /// Nothing is due any more, unless the connection is lost.
    fn note(&mut self, error: Option<&sqlx::Error>) {
        if error.is_some_and(is_lost) {
            self.lost();
        } else {
            self.clean = true;
        }
    }

    fn lost(&mut self) {
        self.clean = false;
        // Raise the generation once per outage: connections of the same generation were lost
        // together.
        let raised = self.pool.generation.compare_exchange(
            self.generation,
            self.generation + 1,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        tracing::trace!(first = raised.is_ok(), "a pool's generation was raised");
    }

    /// Probes the connection. One that answers belongs to the present generation.
    async fn answers(&mut self) -> bool {
        let answered = timeout(PROBE_TIMEOUT, self.connection().ping()).await.is_ok_and(|answer| answer.is_ok());
        if answered {
            self.generation = self.pool.generation.load(Ordering::Acquire);
        }
        answered
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.clean {
            let idle = Idle { connection, generation: self.generation, since: Instant::now() };
            self.pool.idle.lock().push(idle);
        } else {
            // Only close the socket: a server that is away would not read a goodbye.
            drop(connection);
            self.pool.open.fetch_sub(1, Ordering::Relaxed);
        }
        drop(self.permit.take());
    }
}

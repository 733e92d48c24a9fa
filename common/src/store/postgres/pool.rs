//! A pool of connections with five promises. A caller learns at once that the server is away. A
//! connection on which an answer is still due is never used again. A restart of the server costs
//! one failed use, not one of every connection. The server has no more connections of ours than
//! the pool's size: one whose caller went away counts until the server should have noticed. A
//! server that is very busy may notice a moment later. Where the server takes no further connection
//! (it has enough, or the password is another by now), those that it took serve all.

use super::connection::{Server, ServerConnection};
use crate::error::Error;
use crate::store::PoolState;
use crate::store::fault::{Fault, code, is_lost};
use parking_lot::Mutex;
use sqlx::postgres::PgConnectOptions;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

/// How long a caller waits for a connection, its opening included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(1500);
/// A connection that was idle for longer than this is probed before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection that was idle for longer than this is closed.
pub(super) const LONGEST_IDLE: Duration = Duration::from_mins(1);
/// How long a server takes to notice that a client went away: one that looks after it, and one
/// that finds out when the statement's time is over.
const NOTICED: Duration = Duration::from_millis(500);
const NOTICED_LATE: Duration = Duration::from_millis(1750);
/// How often a caller that waits looks for places that became free.
const LOOK_FOR_PLACE_EVERY: Duration = Duration::from_millis(20);

/// The pool. A caller beyond its size waits, and gets `Unavailable` after [`ACQUIRE_TIMEOUT`].
pub(super) struct Pool {
    server: Server,
    size: usize,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// Places of connections that were cut, each until its server has noticed.
    cut: Mutex<Vec<(Instant, OwnedSemaphorePermit)>>,
    /// Raised when a connection was lost. Connections of an older generation are probed before they
    /// are used.
    generation: AtomicU64,
    /// Whether the server refused the last connection that was asked for.
    refused: AtomicBool,
}

struct Idle {
    connection: ServerConnection,
    generation: u64,
    since: Instant,
}

impl Pool {
    pub(super) fn new(options: PgConnectOptions, size: u32) -> Arc<Self> {
        let size = usize::try_from(size.max(1)).unwrap_or(1);
        Arc::new(Self {
            server: Server::new(options),
            size,
            permits: Arc::new(Semaphore::new(size)),
            idle: Mutex::new(Vec::new()),
            cut: Mutex::new(Vec::new()),
            generation: AtomicU64::new(0),
            refused: AtomicBool::new(false),
        })
    }

    /// How many connections it may have.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The server that it connects to.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Closes the connections that were idle for that long.
    pub(super) fn trim(&self, longest: Duration) {
        self.idle.lock().retain(|one| one.since.elapsed() < longest);
    }

    /// How often connections were lost, each outage once.
    pub(super) fn losses(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> PoolState {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        let free = self.permits.available_permits() + self.cut.lock().len();
        let (in_use, idle) = (number(self.size.saturating_sub(free)), number(self.idle.lock().len()));
        PoolState { in_use, idle, size: number(self.size) }
    }

    /// A connection for one statement, or for several that may be one transaction.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Fault> {
        let mut lease = self.free().await?;
        if lease.pooled() {
            lease.begin().await?;
        }
        Ok(lease)
    }

    /// A connection with a transaction begun.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Lease, Fault> {
        let mut lease = self.free().await?;
        lease.begin().await?;
        Ok(lease)
    }

    /// The same for work that may wait: none where half of the connections are taken, so that
    /// requests find one.
    pub(super) async fn begin_aside(self: &Arc<Self>) -> Result<Option<Lease>, Fault> {
        if self.permits.available_permits() <= self.size / 2 {
            return Ok(None);
        }
        self.begin().await.map(Some)
    }

    async fn free(self: &Arc<Self>) -> Result<Lease, Fault> {
        timeout(ACQUIRE_TIMEOUT, self.acquire())
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("no database connection became free in time").into()))
    }

    async fn acquire(self: &Arc<Self>) -> Result<Lease, Fault> {
        loop {
            let permit = self.permit().await?;
            if let Some(mut lease) = self.idle().await {
                lease.permit = Some(permit);
                return Ok(lease);
            }
            let generation = self.generation.load(Ordering::Acquire);
            // The lease holds the place while the connection opens: who goes away leaves one
            // behind.
            let mut lease = Lease::new(self, None, generation, Some(permit));
            match self.server.connect().await {
                Ok(connection) => {
                    self.refused.store(false, Ordering::Relaxed);
                    lease.connection = Some(connection);
                    lease.clean = true;
                    return Ok(lease);
                }
                // The place is nobody's for a moment: who has another one has its connection too.
                Err(fault) if is_refusal(&fault) && self.has_others() => {
                    if !self.refused.swap(true, Ordering::Relaxed) {
                        let error = Error::from(fault).cause();
                        tracing::warn!(error, "the database takes no further connection: those that are there serve");
                    }
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// One that is idle and answers.
    async fn idle(self: &Arc<Self>) -> Option<Lease> {
        loop {
            // The newest first, so that idle ones stay idle.
            let idle = self.idle.lock().pop()?;
            let trusted =
                idle.generation == self.generation.load(Ordering::Acquire) && idle.since.elapsed() < TRUSTED_IDLE;
            let mut lease = Lease::new(self, Some(idle.connection), idle.generation, None);
            if trusted || lease.answers().await {
                lease.clean = true;
                return Some(lease);
            }
        }
    }

    /// Whether there is a connection beside the caller's place, or one is being opened.
    fn has_others(&self) -> bool {
        let state = self.state();
        state.in_use > 1 || state.idle > 0
    }

    /// A place for a connection.
    async fn permit(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let mut permit = pin!(Arc::clone(&self.permits).acquire_owned());
        loop {
            let now = Instant::now();
            self.cut.lock().retain(|(noticed, _)| *noticed > now);
            tokio::select! {
                biased;
                permit = &mut permit => return Ok(permit.map_err(|_| sqlx::Error::PoolClosed)?),
                () = sleep(LOOK_FOR_PLACE_EVERY) => {}
            }
        }
    }
}

/// Whether the server is there, and takes no further connection.
fn is_refusal(fault: &Fault) -> bool {
    let Fault::Rule(Error::Unavailable(source)) = fault else { return false };
    source.downcast_ref().is_some_and(|error| code(error).is_some() && !is_lost(error))
}

/// A connection in use. It is closed where it is dropped before its work was ended, by a caller
/// that went away or a time-out.
pub(super) struct Lease {
    connection: Option<ServerConnection>,
    generation: u64,
    taken: Instant,
    /// Whether nothing is due on it: no answer, no end of a transaction.
    clean: bool,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    fn new(
        pool: &Arc<Pool>,
        connection: Option<ServerConnection>,
        generation: u64,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { connection, generation, taken: Instant::now(), clean: false, pool: Arc::clone(pool), permit }
    }

    fn pooled(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.pooled)
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        let begun = self.connection().begin().await;
        self.note(begun.as_ref().err());
        begun?;
        self.clean = false;
        Ok(())
    }

    /// The connection itself. Each use must be followed by one of the `end`s.
    #[expect(clippy::expect_used, reason = "it is taken only where the lease ends")]
    pub(super) fn connection(&mut self) -> &mut ServerConnection {
        self.clean = false;
        self.connection.as_mut().expect("a lease has its connection until it ends")
    }

    /// Ends a use whose statements were each a transaction of its own; through a pooler they were
    /// one.
    pub(super) async fn end<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, Fault> {
        let result = match result {
            Ok(value) if self.pooled() => self.connection().raw("commit").await.map(|()| value),
            Err(error) if self.pooled() && !is_lost(&error) => match self.connection().raw("rollback").await {
                Ok(()) => Err(error),
                Err(lost) => Err(lost),
            },
            other => other,
        };
        self.note(result.as_ref().err());
        result.map_err(Fault::Sql)
    }

    /// The same for a statement that wrote. After a lost connection nobody knows whether it did.
    pub(super) async fn end_written<T>(self, result: Result<T, sqlx::Error>) -> Result<T, Fault> {
        self.end(result).await.map_err(|fault| match fault {
            Fault::Sql(error) if is_lost(&error) => Fault::Unknown(error),
            other => other,
        })
    }

    /// Ends a transaction: commits after `Ok`, rolls back after `Err`.
    pub(super) async fn end_transaction<T>(mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        match result {
            Ok(value) => {
                let committed = self.connection().raw("commit").await;
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
                    let undone = self.connection().raw("rollback").await;
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

    pub(super) fn lost(&mut self) {
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
        let noticed = match self.connection.take() {
            Some(connection) if self.clean => {
                let idle = Idle { connection, generation: self.generation, since: Instant::now() };
                self.pool.idle.lock().push(idle);
                return;
            }
            Some(connection) => {
                // Only the socket is closed: a server that is away would not read a goodbye.
                if connection.watched {
                    NOTICED
                } else {
                    NOTICED_LATE.saturating_sub(self.taken.elapsed()).max(NOTICED)
                }
            }
            None => NOTICED,
        };
        if let Some(permit) = self.permit.take() {
            self.pool.cut.lock().push((Instant::now() + noticed, permit));
        }
    }
}

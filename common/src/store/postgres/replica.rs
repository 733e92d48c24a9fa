//! Reads from a streaming replica, never of less than was committed when they were asked for.
//!
//! The primary is asked how far its log has come: one short question for all who ask meanwhile. A
//! replica that has replayed the log that far, in the primary's own history, has all that anybody
//! has seen, and every removal (G6). Any other is passed over, and the primary answers.

use super::pool::{Lease, Pool};
use super::{OPERATION_TIMEOUT, PostgresStore, Statement};
use crate::error::{Error, Result};
use crate::store::ReplicaState;
use crate::store::fault::Fault;
use sqlx::FromRow;
use sqlx::postgres::PgRow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

/// How long a read waits for the replica to follow.
const FOLLOWS_WITHIN: Duration = Duration::from_millis(25);
/// How long a look at the replica does.
const LOOK_WITHIN: Duration = Duration::from_millis(500);
/// The pause between two questions how far it has come.
const FOLLOW_PAUSE: Duration = Duration::from_millis(3);
/// A replica's answer comes within this time, or the primary is asked.
const ANSWERS_WITHIN: Duration = Duration::from_millis(750);

/// How far the primary's log has come. The mark is made by the first node that meets a timeline: a
/// server that has it follows that history.
const POSITION: &str = "select pg_current_wal_lsn()::text as lsn, here.timeline, t.mark
    from (select history_timeline() as timeline) here left join timelines t on t.timeline = here.timeline";
const MARK: &str = "insert into timelines (timeline) select history_timeline() where history_timeline() is not null
    on conflict (timeline) do nothing returning true";
/// Whether a replica has come that far in that history, and how many bytes it is behind. A
/// promoted one is no replica any more. A role with the right to see it checks the timeline
/// received, too.
const FOLLOWS: &str = "select pg_is_in_recovery()
        and exists (select from timelines where mark = $2)
        and not exists (
            select from pg_stat_wal_receiver
            where received_tli <> ('x' || lpad($3, 8, '0'))::bit(32)::integer
        ),
    pg_wal_lsn_diff($1::text::pg_lsn, pg_last_wal_replay_lsn())::bigint";

/// The replica.
pub(super) struct Replica {
    pool: Arc<Pool>,
    /// The last question to the primary: when it was put, and its answer.
    asked: Mutex<Option<(Instant, Position)>>,
    /// False: it is passed over until a look finds it fit.
    fit: AtomicBool,
}

#[derive(Clone, Debug, FromRow)]
struct Position {
    lsn: String,
    timeline: Option<String>,
    mark: Option<String>,
}

impl Replica {
    pub(super) fn new(pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { pool, asked: Mutex::default(), fit: AtomicBool::new(false) })
    }

    /// How far the primary has come, by a question that was put after this call.
    async fn position(&self, primary: &PostgresStore) -> Result<Position> {
        let called = Instant::now();
        let mut asked = self.asked.lock().await;
        if let Some((_, position)) = asked.as_ref().filter(|(at, _)| *at > called) {
            return Ok(position.clone());
        }
        let now = Instant::now();
        let position: Option<Position> = primary.row(|| sqlx::query_as(POSITION)).await?;
        let position = position.ok_or_else(|| Error::unavailable("the primary does not say how far it has come"))?;
        *asked = Some((now, position.clone()));
        Ok(position)
    }

    /// A connection to the replica, once it has come that far, and how many bytes it is behind.
    async fn reached(&self, position: &Position, within: Duration) -> Result<(Option<Lease>, i64), Fault> {
        let (Some(mark), Some(timeline)) = (&position.mark, &position.timeline) else {
            return Err(Error::unavailable("the primary's history has no mark yet").into());
        };
        let begun = Instant::now();
        let mut lease = self.pool.lease().await?;
        loop {
            let asked = sqlx::query_as(FOLLOWS).bind(&position.lsn).bind(mark).bind(timeline);
            let (follows, behind): (bool, Option<i64>) = match asked.fetch_one(lease.connection()).await {
                Ok(answer) => answer,
                Err(error) => return lease.end(Err(error)).await,
            };
            let Some(behind) = behind.filter(|_| follows) else {
                lease.end(Ok(())).await?;
                return Err(Error::unavailable("the server is no replica of this primary").into());
            };
            if behind <= 0 {
                return Ok((Some(lease), 0));
            }
            if begun.elapsed() >= within {
                lease.end(Ok(())).await?;
                return Ok((None, behind));
            }
            sleep(FOLLOW_PAUSE).await;
        }
    }

    /// The rows, if the replica has them in time.
    async fn rows<'q, R>(
        &self,
        primary: &PostgresStore,
        statement: &(impl Fn() -> Statement<'q, R> + Sync),
    ) -> Option<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        if !self.fit.load(Ordering::Relaxed) {
            return None;
        }
        let position = self.position(primary).await.ok()?;
        let read = async {
            let (lease, _) = self.reached(&position, FOLLOWS_WITHIN).await?;
            let Some(mut lease) = lease else { return Ok(None) };
            let rows = statement().fetch_all(lease.connection()).await;
            lease.end(rows).await.map(Some)
        };
        match timeout(ANSWERS_WITHIN, read).await {
            Ok(Ok(Some(rows))) => Some(rows),
            // A statement that the replica gave up because of what it replays: the next one may
            // pass.
            Ok(Err(fault)) if fault.may_retry() && !fault.is_lost() => None,
            _ => {
                self.fit.store(false, Ordering::Relaxed);
                None
            }
        }
    }

    /// Makes the mark that the primary's history lacks.
    async fn mark(&self, primary: &PostgresStore) -> Result<()> {
        if self.position(primary).await?.mark.is_none() {
            let _made: Option<(bool,)> = primary.row(|| sqlx::query_as(MARK)).await?;
        }
        Ok(())
    }

    /// How many bytes it is behind, after having been waited for.
    async fn look(&self, primary: &PostgresStore) -> Result<i64> {
        let position = self.position(primary).await?;
        self.pool.trim(super::LONGEST_IDLE);
        match timeout(OPERATION_TIMEOUT, self.reached(&position, LOOK_WITHIN)).await {
            Ok(reached) => {
                let (lease, behind) = reached?;
                if let Some(lease) = lease {
                    lease.end(Ok(())).await?;
                }
                Ok(behind)
            }
            Err(_) => Err(Error::unavailable("the replica did not answer in time")),
        }
    }
}

impl PostgresStore {
    /// The rows of one statement that reads, from the replica where it has all that the primary
    /// has.
    pub(super) async fn listed<'q, R>(&self, statement: impl Fn() -> Statement<'q, R> + Send + Sync) -> Result<Vec<R>>
    where
        R: for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let Some(replica) = &self.replica else { return self.rows(statement).await };
        self.as_one(async {
            match replica.rows(self, &statement).await {
                Some(rows) => Ok(rows),
                None => self.rows(statement).await,
            }
        })
        .await
    }

    /// See [`crate::store::Store::look_at_replica`].
    pub(super) async fn replica_state(&self) -> Option<ReplicaState> {
        let replica = self.replica.as_ref()?;
        let looked = match replica.mark(self).await {
            Ok(()) => replica.look(self).await,
            Err(error) => Err(error),
        };
        let state = match looked {
            Ok(behind) => ReplicaState { behind, fault: (behind > 0).then(|| "it lags behind".to_owned()) },
            Err(error) => ReplicaState { behind: 0, fault: Some(error.cause()) },
        };
        replica.fit.store(state.fault.is_none(), Ordering::Relaxed);
        Some(state)
    }

    /// How many bytes the replica is behind, after having been waited for. Changes nothing.
    pub async fn follows(&self) -> Result<i64> {
        match &self.replica {
            Some(replica) => replica.look(self).await,
            None => Ok(0),
        }
    }
}

//! The tasks that watch the back ends from the start on.

use crate::bus::Bus;
use crate::error::Error;
use crate::history::History;
use crate::lifecycle::{ExitReason, Lifecycle, ReadyFlag};
use crate::metrics::{Metrics, PoolUse};
use crate::once::OncePerCause;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// The pause between pings of the database: `/readyz` turns within ten seconds.
const BEAT: Duration = Duration::from_secs(2);
/// How long a part of the bus may be away before the node is not ready. A silent link takes four
/// seconds to show, and `/readyz` turns within ten.
const PART_AWAY: Duration = Duration::from_secs(5);
/// The pause between looks at a bus of which a part is away.
const PART_BEAT: Duration = Duration::from_millis(500);
/// The pause between looks at the pool.
const POOL_BEAT: Duration = Duration::from_millis(500);
/// The pause between looks at the replica.
const REPLICA_BEAT: Duration = Duration::from_millis(500);

/// Follows the epoch of the history. A database that is another deployment's by now ends the
/// process: started anew, it knows that one.
pub(super) async fn history(store: Arc<dyn Store>, history: History, lifecycle: Lifecycle) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        // One that is away is the watch of the database's to report.
        if let Err(error @ Error::Internal(_)) = history.read(&*store).await {
            tracing::error!(error = error.cause(), "the process stops");
            return lifecycle.stop(ExitReason::Failed("database"));
        }
    }
}

pub(super) async fn store(store: Arc<dyn Store>, ready: ReadyFlag, metrics: Metrics) {
    tokio::join!(show_pool(&*store, &metrics), probe(&*store, &ready));
}

/// Beside the probe: a database that hangs is when the pool is looked at.
async fn show_pool(store: &dyn Store, metrics: &Metrics) {
    let mut beat = interval(POOL_BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let pool = store.pool();
        metrics.db_pool(PoolUse::InUse).set(pool.in_use.into());
        metrics.db_pool(PoolUse::Idle).set(pool.idle.into());
        metrics.db_pool_size.set(pool.size.into());
    }
}

async fn probe(store: &dyn Store, ready: &ReadyFlag) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_up = true;
    loop {
        beat.tick().await;
        let answer = store.ping().await;
        match &answer {
            Ok(()) => ready.set(true),
            Err(error) => ready.down(error.cause()),
        }
        match answer {
            Err(error) if was_up => tracing::warn!(error = error.cause(), "the database does not answer"),
            Ok(()) if !was_up => tracing::info!("the database answers again"),
            _ => continue,
        }
        was_up = !was_up;
    }
}

/// Looks at the replica, and says once what keeps it from answering reads.
pub(super) async fn replica(store: Arc<dyn Store>, metrics: Metrics) {
    let mut looks = interval(REPLICA_BEAT);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut was_up, logged) = (false, OncePerCause::default());
    loop {
        looks.tick().await;
        let Some(state) = store.look_at_replica().await else { return std::future::pending().await };
        let is_up = state.fault.is_none();
        metrics.db_replica_up.set(i64::from(is_up));
        metrics.db_replica_lag.set(state.behind);
        match state.fault {
            None if !was_up => tracing::info!("the replica answers reads"),
            Some(fault) if was_up || logged.is_news(&fault, std::time::Instant::now()) => {
                tracing::warn!(fault, "the primary answers the reads of the replica");
            }
            _ => {}
        }
        was_up = is_up;
    }
}

/// All nodes miss a primary of a Redis Cluster alike, so it is no reason to take them all from the
/// load balancer while a replica is promoted. One that stays away shows in time.
pub(super) async fn bus(bus: Arc<dyn Bus>, ready: ReadyFlag) {
    let mut up = bus.up();
    let mut down_since: Option<Instant> = None;
    loop {
        let pause = if *up.borrow_and_update() {
            down_since = None;
            ready.set(true);
            BEAT
        } else {
            let since = *down_since.get_or_insert_with(Instant::now);
            if !bus.carries_some() || since.elapsed() >= PART_AWAY {
                ready.down(bus.why_down());
            }
            PART_BEAT
        };
        match timeout(pause, up.changed()).await {
            // The cause may be another by now.
            Err(_) | Ok(Ok(())) => {}
            // The bus's own task reports its end.
            Ok(Err(_)) => return std::future::pending().await,
        }
    }
}

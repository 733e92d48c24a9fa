//! The statuses and notices that this node did not hear: while its link to the bus was away, or
//! because publications came faster than they were taken or delivered. Presence remembers the
//! statuses that were published, and the store knows the notices. The node reads both again and
//! delivers them to the shards, which drop what they had.

use super::Hub;
use super::hearing::{LINK_LOOK_EVERY, NOTICED_WITHIN};
use crate::inbox::{Delivery, NoticeFrame, ToShard};
use crate::presence::{SWEEP, USERS_PER_CALL};
use messenger_common::dispatch::{EventSink, SinkEvent};
use messenger_common::error::Result;
use messenger_common::event::{Envelope, StatusChange};
use messenger_common::id::UserId;
use messenger_common::relay;
use messenger_common::store::{NoticesFrom, PastNotice};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

/// Users whose topics are subscribed anew within this time are read together.
const GATHER: Duration = Duration::from_millis(100);

/// The users whose notices are to be read again, and since when. At most those who are connected.
#[derive(Default)]
pub(super) struct MissedUsers {
    since: Mutex<HashMap<UserId, Instant>>,
    added: Notify,
}

impl MissedUsers {
    pub(super) fn add(&self, user: UserId, since: Instant) {
        self.put(user, since);
        self.added.notify_one();
    }

    fn put(&self, user: UserId, since: Instant) {
        let mut missed = self.since.lock();
        let first = missed.entry(user).or_insert(since);
        *first = since.min(*first);
    }
}

impl Hub {
    /// Follows the link; ends with the process.
    pub(crate) async fn watch_the_link(self: Arc<Self>) {
        let stopping = self.lifecycle.stopping();
        let mut looks = tokio::time::interval(LINK_LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut up = self.bus.up();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = looks.tick() => {}
                changed = up.changed() => if changed.is_err() {
                    return;
                }
            }
            self.hearing.look(Instant::now(), *up.borrow_and_update());
        }
    }

    /// A shard dropped statuses that came since then, and has delivered the others: those that it
    /// dropped are read again.
    pub(crate) fn dropped_statuses(&self, since: Instant) {
        // They may have been acknowledged before they reached the shard.
        let since = since.checked_sub(NOTICED_WITHIN).unwrap_or(since);
        let mut dropped = self.dropped.lock();
        *dropped = Some(dropped.map_or(since, |earlier| earlier.min(since)));
        self.missed.notify_one();
    }

    /// Reads the statuses that were missed, each time that the topic of all nodes is subscribed
    /// anew, and those that were dropped; ends with the process.
    pub(crate) async fn read_missed_statuses(self: Arc<Self>) {
        let stopping = self.lifecycle.stopping();
        let mut failed: Option<Instant> = None;
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.missed.notified() => {}
            }
            let missing = self.hearing.missing_since(Instant::now());
            let since = [failed.take(), self.dropped.lock().take()].into_iter().flatten().fold(missing, Instant::min);
            if let Err(error) = self.deliver_published(since.elapsed()).await {
                tracing::debug!(%error, "cannot read the statuses that were missed; retrying");
                failed = Some(since);
                tokio::time::sleep(SWEEP).await;
                self.missed.notify_one();
                continue;
            }
            self.presence.was_away(since);
        }
    }

    async fn deliver_published(&self, within: Duration) -> Result<()> {
        let published = self.presence.published(within).await?;
        for some in published.chunks(USERS_PER_CALL) {
            let mut changes = self.presence.changes(some).await?;
            changes.retain(|change| self.follows_any(change));
            if !changes.is_empty() {
                self.handle(vec![SinkEvent::Envelope(Envelope::Status(changes))]).await;
            }
        }
        Ok(())
    }

    fn follows_any(&self, change: &StatusChange) -> bool {
        let interest = self.interest.lock();
        change.chats.iter().any(|chat| interest.contains_key(chat))
    }

    /// Reads the notices that were missed, each time that users' topics are subscribed anew; ends
    /// with the process.
    pub(crate) async fn read_missed_notices(self: Arc<Self>) {
        let stopping = self.lifecycle.stopping();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.missed_users.added.notified() => tokio::time::sleep(GATHER).await,
            }
            let mut missed = std::mem::take(&mut *self.missed_users.since.lock());
            missed.retain(|user, _| self.is_connected(*user));
            if let Err(error) = self.deliver_notices(&missed).await {
                tracing::debug!(%error, users = missed.len(), "cannot read the notices that were missed; retrying");
                for (user, since) in missed {
                    self.missed_users.put(user, since);
                }
                tokio::time::sleep(SWEEP).await;
                self.missed_users.added.notify_one();
            }
        }
    }

    async fn deliver_notices(&self, missed: &HashMap<UserId, Instant>) -> Result<()> {
        let Some(since) = missed.values().min() else { return Ok(()) };
        let users: HashSet<UserId> = missed.keys().copied().collect();
        let mut from = NoticesFrom::Ago(since.elapsed());
        loop {
            let page = self.ctx.store.notices(&users, from).await?;
            let read = self.started.elapsed();
            let (notices, agos): (Vec<_>, Vec<_>) =
                page.notices.into_iter().map(|PastNotice { notice, ago }| (notice, ago)).unzip();
            for (envelope, ago) in relay::envelopes(notices).into_iter().zip(agos) {
                let Envelope::Notice { user_id, chat_id, seq, kind, json } = envelope else { continue };
                let happened = u64::try_from(read.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX);
                let notice = NoticeFrame { user_id, chat_id, seq, kind, frame: crate::frame::text(&json) };
                let past = Delivery::PastNotice { notice, happened };
                for shard in super::bits(self.user_shards(user_id)) {
                    self.send(shard, ToShard::Deliver(vec![past.clone()])).await;
                }
            }
            match page.next {
                Some(next) => from = NoticesFrom::At(next),
                None => return Ok(()),
            }
        }
    }
}

//! How a subscription begins, in an order that lets nothing fall in between: the bus delivers the
//! chat's channel, then head and membership are read in one snapshot, then what was missed is
//! replayed, then live events follow.

use super::catch_up::{Step, catch_up};
use crate::conn::Conn;
use crate::feed::{Admission, Known, Sub};
use crate::protocol::Reply;
use crate::reads::Roster;
use crate::repair;
use crate::shard::Shard;
use messenger_common::error::{Error, Result};
use messenger_common::id::{ChatId, Seq, UserId};
use messenger_common::store::Access;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A subscription waits this long for its channel; then it begins all the same, and the channel's
/// confirmation closes the gap.
const CHANNEL_WITHIN: Duration = Duration::from_secs(1);
/// Stands for a number of another history. No log leads on from it, so the subscription begins with
/// a `resync`.
const BEYOND_EVERY_HEAD: Seq = Seq(i64::MAX);

/// One `subscribe_chat`.
pub(crate) struct Subscribing<'a> {
    pub(crate) shard: &'a Rc<Shard>,
    pub(crate) conn: &'a Rc<Conn>,
    pub(crate) user: UserId,
    pub(crate) chat: ChatId,
    /// Where the client left off.
    pub(crate) after: Option<Seq>,
    /// The epoch of that number, if the client says so.
    pub(crate) epoch: Option<String>,
    pub(crate) request_id: Option<&'a str>,
}

/// The subscription to begin, or the answer to give.
pub(crate) enum Place {
    /// A subscription that is registered.
    New(Found),
    /// One that lives already.
    Again(Found),
    /// Nothing any more: the connection has closed.
    Gone,
}

/// The answers that a subscription needs to begin.
pub(crate) struct Found {
    access: Access,
    online: Roster,
    /// How often the channel had been confirmed when that was read.
    confirmations: u32,
    /// The feed's knowledge then.
    known: Known,
    /// How often the store had lost its connections then.
    losses: u64,
}

impl Subscribing<'_> {
    /// Begins the subscription and answers it. On an error nothing of it is left.
    pub(crate) async fn begin(self) -> Result<()> {
        let place = self.find().await?;
        self.finish(place)
    }

    /// Registers the subscription and looks up what it needs to begin. On an error nothing of it is
    /// left.
    pub(crate) async fn find(&self) -> Result<Place> {
        let Self { shard, conn, user, chat, .. } = *self;
        if conn.sub(chat).is_some() {
            return self.look_up(None).await.map(Place::Again);
        }
        if conn.subs.borrow().len() >= shard.hub.ctx.limits.max_subscriptions {
            return Err(Error::TooManySubscriptions);
        }
        let channel = shard.subscribe(conn, user, chat);
        let found = self.look_up(channel).await;
        // It may have closed meanwhile, and its subscriptions with it.
        if conn.sub(chat).is_none() {
            return Ok(Place::Gone);
        }
        if found.is_err() {
            shard.unsubscribe(conn, chat);
            shard.release_held(conn, chat, None);
        }
        found.map(Place::New)
    }

    /// Begins it from what was found, and answers it.
    pub(crate) fn finish(self, place: Place) -> Result<()> {
        match place {
            Place::New(found) => self.activate(found),
            Place::Again(found) => self.answer_again(&found)?,
            Place::Gone => {}
        }
        Ok(())
    }

    async fn look_up(&self, channel: Option<oneshot::Receiver<()>>) -> Result<Found> {
        if let Some(channel) = channel
            && *self.shard.hub.bus.up().borrow()
        {
            drop(tokio::time::timeout(CHANNEL_WITHIN, channel).await);
        }
        let known = self.shard.with_feed(self.chat, |feed| (feed.confirmations(), feed.known()));
        let (confirmations, known) = known.unwrap_or_default();
        let losses = self.shard.losses();
        let access = self.access().await?;
        if access.role.is_none() {
            return Err(Error::NotAMember);
        }
        let online = self.roster(access.member_count).await;
        Ok(Found { access, online, confirmations, known, losses })
    }

    async fn access(&self) -> Result<Access> {
        self.shard.hub.reads.access.get((self.chat, self.user)).await?.ok_or(Error::ChatNotFound)
    }

    /// The members of a small chat who are online. While presence is away or late it is unknown;
    /// the subscription does not fail.
    async fn roster(&self, member_count: i64) -> Roster {
        if member_count > self.shard.hub.ctx.limits.status_max_members {
            return None;
        }
        self.shard.hub.reads.rosters.get(self.chat).await
    }

    fn answer_again(&self, found: &Found) -> Result<()> {
        // It may have ended meanwhile.
        let cursor = self.shard.with_sub(self.conn, self.chat, |feed, key| feed.sub(key).map(Sub::cursor));
        let seq = cursor.flatten().ok_or(Error::NotAMember)?;
        self.answer(seq, &found.access.epoch, 0, found.online.clone(), false);
        Ok(())
    }

    fn answer(&self, seq: Seq, epoch: &str, recovered: i64, online: Roster, resync: bool) {
        // A roster of a moment ago may lack its reader, who has just connected.
        let online = online.map(|online| {
            let missing = (!online.contains(&self.user)).then_some(self.user);
            online.iter().copied().chain(missing).collect::<Vec<_>>()
        });
        let online_user_ids = online.as_deref();
        let subscribed = Reply::Subscribed { chat_id: self.chat, seq, epoch, recovered, online_user_ids, resync };
        self.conn.answer(subscribed.to_frame(self.request_id));
    }

    fn activate(&self, found: Found) {
        let Self { shard, conn, chat, .. } = *self;
        let Access { head, floor, epoch, .. } = found.access;
        // The epoch is of the same moment as the head. After a failover this node's own may be old.
        let other = self.epoch.as_ref().is_some_and(|of_client| **of_client != *epoch);
        let after = if other { Some(BEYOND_EVERY_HEAD) } else { self.after };
        shard.compare(chat, found.known, head, None);
        let begun = shard.with_sub(conn, chat, |feed, key| feed.admit(key, Admission { head, floor, after }));
        let Some(begun) = begun.flatten() else { return };
        // A notice that came meanwhile: the subscription brings what is after its cursor, the
        // notice itself what is not.
        shard.release_held(conn, chat, Some(begun.cursor));
        // A status since then was delivered to those that had begun, and is in the roster now.
        let online = shard.hub.reads.rosters.kept(chat).flatten().or(found.online);
        self.answer(head, &epoch, begun.recovered, online, begun.resync);
        shard.go_on(chat);
        // What was read before a loss may be of another history than the feed by now.
        let is_old = found.losses != shard.losses();
        let due =
            shard.with_feed(
                chat,
                |feed| {
                    if is_old { feed.doubt() } else { feed.repair_after_admission(found.confirmations) }
                },
            );
        if let Some(due) = due.flatten() {
            repair::start(shard, chat, due);
        }
        if let Step::Read(chat, after) = catch_up(shard, conn, None) {
            // Its own task goes on from here.
            tracing::trace!(chat.id = %chat, seq = after.0, "a replay reads the log");
            conn.wake();
        }
    }
}

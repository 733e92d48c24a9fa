//! How a connection's subscriptions catch up: from their feeds' newest events at once, from the
//! log by a read, as fast as the client takes them.

use crate::conn::{Conn, Subscriber};
use crate::feed::{self, Event, Piece, Sub};
use crate::repair::{self, READ_RETRY};
use crate::shard::Shard;
use messenger_common::error::Error;
use messenger_common::id::{ChatId, Seq};
use messenger_common::metrics::GapCause;
use std::rc::Rc;
use std::time::Duration;

/// The pause after a replay's read that failed.
const FAILED_READ_PAUSE: Duration = Duration::from_millis(250);

/// The outcome of catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Every subscription has reached its feed's head.
    Done,
    /// The connection's queue is full: go on when it has emptied.
    Full,
    /// The log must be read after this number.
    Read(ChatId, Seq),
    /// The log lacks what comes next: the rights in that chat must be read.
    Lost(ChatId),
}

/// Moves a connection's subscriptions on that are behind, from `piece` (of the chat that was asked
/// for) and the rings.
pub(crate) fn catch_up(shard: &Shard, conn: &Conn, piece: Option<(ChatId, &Piece)>) -> Step {
    if !conn.is_live() {
        return Step::Done;
    }
    let subs: Vec<(ChatId, usize)> = conn.subs.borrow().clone();
    let mut step = Step::Done;
    shard.batch.run(|| {
        for (chat, key) in subs {
            let piece = piece.filter(|(of, _)| *of == chat).map(|(_, piece)| piece);
            let mut count = |event: &Event, readers| shard.count(event, readers);
            step = match shard.with_feed(chat, |feed| feed.catch_up(key, piece, &mut count)) {
                None | Some(feed::Step::Done) => continue,
                Some(feed::Step::Full) => Step::Full,
                Some(feed::Step::Read(after)) => Step::Read(chat, after),
                Some(feed::Step::Lost) => Step::Lost(chat),
            };
            return;
        }
    });
    if step == Step::Done {
        conn.behind.set(false);
    }
    step
}

/// Reads the log for a connection that is behind, then moves it on. Where the store cannot read
/// that piece, goes on behind it.
pub(crate) async fn read_and_catch_up(shard: Rc<Shard>, conn: Rc<Conn>, chat: ChatId, after: Seq) {
    let known = shard.with_sub(&conn, chat, |feed, key| {
        let admitted_at = feed.sub(key).map_or(after, Sub::admitted_at);
        (feed.head().unwrap_or(after).max(admitted_at), after < admitted_at)
    });
    let (known, is_replay) = known.unwrap_or((after, false));
    let cause = if is_replay { GapCause::Replay } else { GapCause::CatchUp };
    shard.hub.ctx.metrics.gap_fills(cause).inc();
    let mut tries = 0;
    loop {
        let error = match shard.hub.reads.log.load(chat, after, known).await {
            Ok(piece) => {
                if !piece.reaches(after) {
                    shard.hub.reads.log.forget(chat);
                    repair::suspect(&shard, chat);
                    tokio::time::sleep(READ_RETRY.first).await;
                }
                if let Step::Lost(chat) = catch_up(&shard, &conn, Some((chat, &piece))) {
                    readmit(shard, conn, chat).await;
                }
                return;
            }
            Err(error) => error,
        };
        shard.hub.log_unread(chat, &error);
        if repair::is_unreadable(&error, &mut tries) {
            return readmit(shard, conn, chat).await;
        }
        tokio::time::sleep(FAILED_READ_PAUSE).await;
        match *error {
            Error::Internal(_) => continue,
            Error::ChatNotFound => repair::suspect(&shard, chat),
            _ => {}
        }
        return conn.go_on_with_others(chat);
    }
}

/// Goes on with a subscription to which events are lost, if its user is a member still: the lost
/// events may have been the user's removal (G6).
pub(crate) async fn readmit(shard: Rc<Shard>, conn: Rc<Conn>, chat: ChatId) {
    let stands = |sub: &Sub<Subscriber>| (sub.phase(), sub.cursor(), sub.admitted_at());
    let Some(before) = shard.with_sub(&conn, chat, |feed, key| feed.sub(key).map(stands)).flatten() else { return };
    let Some(user) = conn.user_id() else { return };
    let access = match shard.hub.reads.access.get((chat, user)).await {
        Ok(access) => access.filter(|access| access.role.is_some()),
        Err(error) => {
            tracing::debug!(chat.id = %chat, %error, "cannot read a member's rights; retrying");
            tokio::time::sleep(FAILED_READ_PAUSE).await;
            return conn.go_on_with_others(chat);
        }
    };
    tracing::debug!(chat.id = %chat, connection.id = conn.id, "the log lacks events: the client fetches them by REST");
    let ended = shard.with_sub(&conn, chat, |feed, key| {
        // Meanwhile the client may have subscribed anew.
        let was_lost = feed.sub(key).filter(|sub| stands(sub) == before)?.is_lost();
        if let Some(access) = access {
            feed.readmit(key, access.head);
            return None;
        }
        feed.end(key);
        Some(was_lost)
    });
    if ended.flatten() == Some(true) {
        shard.no_longer_in(user, chat);
    }
}

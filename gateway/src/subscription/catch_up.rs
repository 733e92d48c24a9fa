//! A subscription's cursor: how it begins, how it catches up, and how a feed's gap is closed from the log (G2, G7).
//!
//! It begins in this order, so that nothing falls in between: the chat's channel is heard, then head and membership are read in one snapshot,
//! then what was missed is replayed, then live events follow. A live event before the cursor is dropped, the next is delivered, one further on
//! means that the subscription is behind: it then reads from the feed's ring or the log until it has reached the feed's head.

use crate::conn::{Conn, Push};
use crate::feed::{Event, Feed, Phase};
use crate::repair::{PAUSES, check_feed, check_members, fill};
use crate::reads::Piece;
use crate::protocol::Reply;
use crate::shard::Shard;
use messenger_common::error::{Error, Result};
use messenger_common::event::Effect;
use messenger_common::id::{ChatId, Seq, UserId};
use messenger_common::metrics::GapCause;
use messenger_common::store::Access;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A subscription waits this long for its channel to be heard; then it begins all the same, and the channel's word closes the gap.
const CHANNEL_WITHIN: Duration = Duration::from_secs(1);
/// Begins a subscription and answers it. On an error nothing of it is left.
pub(crate) async fn begin(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    chat: ChatId,
    after: Option<Seq>,
    request_id: Option<&str>,
) -> Result<()> {
    if conn.sub(chat).is_some() {
        return answer_again(shard, conn, chat, request_id).await;
    }
    if conn.subs.borrow().len() >= shard.hub.limits.max_subscriptions {
        return Err(Error::TooManySubscriptions);
    }
    let (_, heard) = shard.open_sub(chat, conn);
    let begun = look_up(shard, conn, chat, heard).await;
    // It may have closed meanwhile, and its subscriptions with it.
    if conn.sub(chat).is_none() {
        return Ok(());
    }
    match begun {
        Ok(found) => {
            activate(shard, conn, chat, after, &found, request_id);
            Ok(())
        }
        Err(error) => {
            shard.close_sub(chat, conn);
            for (_, frame) in conn.take_notices(chat) {
                shard.push(conn, &frame);
            }
            Err(error)
        }
    }
}

type Roster = Option<Vec<UserId>>;

/// What a subscription must know to begin.
struct Found {
    access: Access,
    online: Roster,
    /// How often the channel had been heard when that was read.
    ups: u32,
}

async fn look_up(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    chat: ChatId,
    heard: Option<tokio::sync::oneshot::Receiver<()>>,
) -> Result<Found> {
    if let Some(heard) = heard
        && *shard.hub.bus.up().borrow()
    {
        drop(tokio::time::timeout(CHANNEL_WITHIN, heard).await);
    }
    let ups = shard.chats.borrow().get(&chat).map_or(0, |feed| feed.ups);
    let access = shard.hub.access.get((chat, conn.user_id)).await?.ok_or(Error::ChatNotFound)?;
    if access.role.is_none() {
        return Err(Error::NotAMember);
    }
    let online = roster(shard, chat, access.member_count).await;
    Ok(Found { access, online, ups })
}

/// Who of a small chat is online; unknown, rather than a failed subscription, while presence is away.
async fn roster(shard: &Rc<Shard>, chat: ChatId, member_count: i64) -> Roster {
    if member_count > shard.hub.limits.status_max_members {
        return None;
    }
    shard.hub.rosters.get(chat).await.ok().flatten()
}

async fn answer_again(shard: &Rc<Shard>, conn: &Rc<Conn>, chat: ChatId, request_id: Option<&str>) -> Result<()> {
    let access = shard.hub.access.get((chat, conn.user_id)).await?.ok_or(Error::ChatNotFound)?;
    let online = roster(shard, chat, access.member_count).await;
    // It may have ended meanwhile.
    let cursor = conn.sub(chat).and_then(|at| Some(shard.chats.borrow().get(&chat)?.subs.get(at)?.cursor));
    let seq = cursor.filter(|_| access.role.is_some()).ok_or(Error::NotAMember)?;
    let again =
        Reply::Subscribed { chat_id: chat, seq, recovered: 0, online_user_ids: online.as_deref(), resync: false };
    conn.answer(again.to_frame(request_id));
    Ok(())
}

fn activate(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    chat: ChatId,
    after: Option<Seq>,
    found: &Found,
    request_id: Option<&str>,
) {
    let (head, floor) = (found.access.head, found.access.floor);
    let resync = after.is_some_and(|after| after > head || after < floor);
    let cursor = if resync { head } else { after.unwrap_or(head) };
    let mut chats = shard.chats.borrow_mut();
    let Some(feed) = chats.get_mut(&chat) else { return };
    feed.reached(head);
    let Some(at) = conn.sub(chat) else { return };
    let Some(sub) = feed.subs.get_mut(at) else { return };
    sub.cursor = cursor;
    sub.began = cursor;
    sub.since = head;
    sub.phase = Phase::Behind;
    conn.behind.set(true);
    // A notice that came meanwhile: the subscription brings what is after its cursor, the notice itself what is not.
    for (seq, frame) in conn.take_notices(chat) {
        if seq <= cursor {
            shard.push(conn, &frame);
        }
    }
    let recovered = head.0 - cursor.0;
    let online_user_ids = found.online.as_deref();
    let begun = Reply::Subscribed { chat_id: chat, seq: head, recovered, online_user_ids, resync };
    conn.answer(begun.to_frame(request_id));
    // What the first subscription's head has unlocked, and what is known to be missing.
    shard.go_on(chat, feed);
    if feed.has_gap() {
        fill(shard, chat, feed, GapCause::HeadCheck, Duration::from_millis(20));
    }
    if feed.ups != found.ups {
        // Since the head was read the channel was heard anew: what was committed in between was told to nobody.
        check_feed(shard, chat, feed, GapCause::LinkRestored);
    }
    drop(chats);
    if let Step::Read(chat, after) = catch_up(shard, conn, None) {
        // Its own task goes on from here.
        tracing::trace!(chat.id = %chat, seq = after.0, "a replay reads the log");
        conn.wake();
    }
}

/// What catching up comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Every subscription has reached its feed's head.
    Done,
    /// The connection's queue is full: go on when it has emptied.
    Full,
    /// The log must be read after this number.
    Read(ChatId, Seq),
}

/// Moves a connection's subscriptions on that are behind, from `piece` (of the chat that was asked for) and the rings.
pub(crate) fn catch_up(shard: &Rc<Shard>, conn: &Rc<Conn>, piece: Option<(ChatId, &Piece)>) -> Step {
    if !conn.is_live() {
        return Step::Done;
    }
    let behind: Vec<(ChatId, usize)> = conn.subs.borrow().clone();
    let mut step = Step::Done;
    shard.in_one_batch(|| {
        for (chat, at) in behind {
            let mut chats = shard.chats.borrow_mut();
            let Some(feed) = chats.get_mut(&chat) else { continue };
            if feed.subs.get(at).is_none_or(|sub| sub.phase != Phase::Behind) {
                continue;
            }
            let piece = piece.filter(|(of, _)| *of == chat).map(|(_, piece)| piece);
            step = catch_up_one(shard, conn, chat, feed, at, piece);
            if step != Step::Done {
                return;
            }
        }
    });
    if step == Step::Done {
        conn.behind.set(false);
    }
    step
}

fn catch_up_one(
    shard: &Rc<Shard>,
    conn: &Rc<Conn>,
    chat: ChatId,
    feed: &mut Feed,
    at: usize,
    piece: Option<&Piece>,
) -> Step {
    if let Some(piece) = piece
        && piece.floor > feed.subs[at].cursor
    {
        let frame = Reply::Resync { chat_id: chat, seq: piece.head }.to_frame(None);
        if shard.push(conn, &frame) != Push::Taken {
            return Step::Full;
        }
        feed.subs[at].cursor = piece.head;
        check_members(shard, chat);
    }
    // A piece that was read for an earlier subscription may begin further on.
    let cursor = feed.subs[at].cursor;
    let rest = piece.map_or(&[][..], |piece| piece.after(cursor));
    let rest = if rest.first().is_some_and(|first| first.seq == cursor.next()) { rest } else { &[] };
    for event in rest {
        match give(shard, conn, chat, feed, at, event) {
            Given::Taken => {}
            Given::Ended => return Step::Done,
            Given::Full => return Step::Full,
        }
    }
    loop {
        let cursor = feed.subs[at].cursor;
        if feed.head.is_none_or(|head| cursor >= head) {
            // What the store had already when the subscription began and the bus has yet to bring, comes as live events.
            if cursor < feed.subs[at].since {
                return Step::Read(chat, cursor);
            }
            feed.subs[at].phase = Phase::Live;
            return Step::Done;
        }
        let Some(event) = feed.in_ring(cursor).cloned() else { return Step::Read(chat, cursor) };
        match give(shard, conn, chat, feed, at, &event) {
            Given::Taken => {}
            Given::Ended => return Step::Done,
            Given::Full => return Step::Full,
        }
    }
}

enum Given {
    Taken,
    Full,
    Ended,
}

/// Gives a subscription its next event; the event that removes its user, or the chat, is the last (G6).
fn give(shard: &Shard, conn: &Rc<Conn>, chat: ChatId, feed: &mut Feed, at: usize, event: &Event) -> Given {
    let sub = &mut feed.subs[at];
    debug_assert_eq!(event.seq, sub.cursor.next(), "a subscription is given consecutive numbers");
    match shard.push(conn, &event.frame) {
        Push::Taken => {}
        Push::Full => return Given::Full,
        Push::Gone => return Given::Ended,
    }
    sub.cursor = event.seq;
    shard.count(event, 1);
    let over = match event.effect {
        Effect::Left(user) => user == conn.user_id,
        Effect::ChatDeleted => true,
        Effect::None | Effect::Joined(_) => false,
    };
    if over && event.seq > sub.since {
        let sub = feed.subs.remove(at);
        conn.subs.borrow_mut().retain(|(of, _)| *of != chat);
        conn.left_off(chat, &sub);
        shard.hub.metrics.ws_subscriptions.dec();
        return Given::Ended;
    }
    Given::Taken
}

/// Reads the log for a connection that is behind, then moves it on.
pub(crate) async fn read_and_catch_up(shard: Rc<Shard>, conn: Rc<Conn>, chat: ChatId, after: Seq) {
    let (known, replay) = {
        let chats = shard.chats.borrow();
        let sub = conn.sub(chat).and_then(|at| chats.get(&chat)?.subs.get(at));
        let known = chats.get(&chat).and_then(|feed| feed.head).unwrap_or(after);
        (known.max(sub.map_or(after, |sub| sub.since)), sub.is_some_and(|sub| after < sub.since))
    };
    let cause = if replay { GapCause::Replay } else { GapCause::CatchUp };
    shard.hub.metrics.gap_fills(cause).inc();
    match shard.hub.log.load(chat, after, known).await {
        Ok(piece) => {
            if !moves(&piece, after) {
                shard.hub.log.forget(chat);
                tokio::time::sleep(PAUSES.0).await;
            }
            catch_up(&shard, &conn, Some((chat, &piece)));
        }
        Err(error) => {
            tracing::warn!(chat.id = %chat, error = %Arc::clone(&error), "the log could not be read; trying again");
            tokio::time::sleep(PAUSES.1 / 4).await;
        }
    }
}

fn moves(piece: &Piece, after: Seq) -> bool {
    piece.floor > after || piece.events.last().is_some_and(|last| last.seq > after)
}

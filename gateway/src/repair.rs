//! The reads that make a feed whole although publications are lost: gaps are filled from the log,
//! heads compared with it.
//!
//! The feed says which is due ([`crate::feed::Repair`]), and asks for one of a kind at a time. A
//! read that fails is repeated until the store answers or nobody wants the feed any more.

use crate::feed::{Feed, Progress, Repair};
use crate::shard::Shard;
use messenger_common::backoff::Backoff;
use messenger_common::error::Error;
use messenger_common::event::micros;
use messenger_common::id::ChatId;
use messenger_common::metrics::GapCause;
use messenger_common::store::LogHead;
use std::rc::Rc;
use std::time::Duration;

/// The pauses after a read that failed or brought nothing.
pub(crate) const READ_RETRY: Backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1) };

/// A piece of a log that cannot be read so often is lost.
const UNREADABLE_AFTER_TRIES: u32 = 3;

/// The longest pause while nothing is delivered for want of an answer.
const DOUBTED_PAUSE: Duration = Duration::from_millis(100);

/// Starts a repair on the shard's thread.
pub(crate) fn start(shard: &Rc<Shard>, chat: ChatId, due: Repair) {
    let own = Rc::clone(shard);
    match due {
        Repair::Gap(cause, hold) => shard.spawn("gap fill", fill_until_whole(own, chat, cause, hold)),
        Repair::Head(cause) => shard.spawn("head check", check_head(own, chat, cause)),
    }
}

async fn fill_until_whole(shard: Rc<Shard>, chat: ChatId, cause: GapCause, hold: Duration) {
    if !hold.is_zero() {
        tokio::time::sleep(hold).await;
    }
    let (mut pauses, mut tries) = (READ_RETRY.start(), 0);
    while let Some((head, known)) = shard.with_feed(chat, Feed::missing).flatten() {
        shard.hub.ctx.metrics.gap_fills(cause).inc();
        let progress = match shard.hub.reads.log.load(chat, head, known).await {
            Ok(piece) => shard.on_piece(chat, &piece).unwrap_or(Progress::Moved),
            Err(error) => {
                shard.hub.log_unread(chat, &error);
                if is_unreadable(&error, &mut tries) { shard.jump(chat) } else { Progress::None }
            }
        };
        match progress {
            Progress::Moved => (pauses, tries) = (READ_RETRY.start(), 0),
            Progress::Jumped => {
                (pauses, tries) = (READ_RETRY.start(), 0);
                shard.hub.log_lost(chat, head);
            }
            Progress::None => {
                // The log may have been there, and gone back.
                suspect(&shard, chat);
                // Read before the commit was to be seen, or not read at all.
                shard.hub.reads.log.forget(chat);
                tokio::time::sleep(pauses.pause()).await;
            }
        }
    }
}

/// Whether a piece of a log counts as lost after this error. Only an answer to a question about it
/// alone is `Internal`: the store is there, and a row is broken.
pub(crate) fn is_unreadable(error: &Error, tries: &mut u32) -> bool {
    *tries = if matches!(error, Error::Internal(_)) { *tries + 1 } else { 0 };
    *tries >= UNREADABLE_AFTER_TRIES
}

/// The log lacks what it is known to have had: compares the heads, unless that is being done.
pub(crate) fn suspect(shard: &Rc<Shard>, chat: ChatId) {
    let due = shard.with_feed(chat, |feed| feed.head_due_once(GapCause::HeadCheck)).flatten();
    if let Some(due) = due {
        start(shard, chat, due);
    }
}

async fn check_head(shard: Rc<Shard>, chat: ChatId, cause: GapCause) {
    let mut pauses = READ_RETRY.start();
    loop {
        let Some(known) = shard.with_feed(chat, |feed| feed.asked_about()).flatten() else { return };
        let asked = shard.hub.reads.heads.get((chat, known.head)).await;
        match asked {
            Ok(Some(LogHead { seq, committed_at })) => shard.compare(chat, known, seq, committed_at.map(micros)),
            Ok(None) => shard.chat_is_lost(chat, known),
            Err(_) => {}
        }
        let head = asked.map(|head| head.map(|head| head.seq));
        let answered = shard.with_feed(chat, |feed| head.ok().map(|head| feed.head_answered(head, cause)));
        match answered {
            None => return,
            Some(None) => {
                let in_doubt = shard.with_feed(chat, |feed| feed.is_in_doubt()).unwrap_or(false);
                let pause = pauses.pause();
                tokio::time::sleep(if in_doubt { pause.min(DOUBTED_PAUSE) } else { pause }).await;
            }
            Some(Some((due, again))) => {
                if let Some(due) = due {
                    start(&shard, chat, due);
                }
                if !again {
                    return;
                }
            }
        }
    }
}

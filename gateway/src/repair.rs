//! What keeps a feed true although word of events is lost: gaps are filled from the log, heads compared with it, memberships checked anew.
//!
//! One read of a kind a feed at a time; one that fails is repeated until the store answers or nobody wants the feed any more.

use crate::conn::Conn;
use crate::feed::{Check, Feed};
use crate::shard::Shard;
use messenger_common::id::{ChatId, UserId};
use messenger_common::metrics::GapCause;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The pauses after a read of the log that failed or brought nothing: the first and the longest.
pub(crate) const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Asks the log for what a feed is missing, unless that is under way; after `hold`, in which it may come by itself.
pub(crate) fn fill(shard: &Rc<Shard>, chat: ChatId, feed: &mut Feed, cause: GapCause, hold: Duration) {
    if !std::mem::replace(&mut feed.filling, true) {
        shard.spawn("gap fill", fill_until_whole(Rc::clone(shard), chat, cause, hold));
    }
}

async fn fill_until_whole(shard: Rc<Shard>, chat: ChatId, cause: GapCause, hold: Duration) {
    if !hold.is_zero() {
        tokio::time::sleep(hold).await;
    }
    let mut pause = PAUSES.0;
    loop {
        let (head, known) = {
            let mut chats = shard.chats.borrow_mut();
            let Some(feed) = chats.get_mut(&chat) else { return };
            match feed.head {
                Some(head) if feed.has_gap() => (head, feed.known),
                _ => {
                    feed.filling = false;
                    return;
                }
            }
        };
        shard.hub.metrics.gap_fills(cause).inc();
        let loaded = shard.hub.log.load(chat, head, known).await;
        let moved = match loaded {
            Ok(piece) => shard.on_piece(chat, &piece),
            Err(error) => {
                tracing::warn!(chat.id = %chat, error = %error, "the log could not be read; trying again");
                false
            }
        };
        if moved {
            pause = PAUSES.0;
        } else {
            // Read before the commit was to be seen, or not read at all.
            shard.hub.log.forget(chat);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

/// Compares a feed's head with the log's: word of something may have been lost.
pub(crate) fn check_head(shard: &Rc<Shard>, chat: ChatId, cause: GapCause) {
    if let Some(feed) = shard.chats.borrow_mut().get_mut(&chat) {
        check_feed(shard, chat, feed, cause);
    }
}

/// The same, of a feed at hand.
pub(crate) fn check_feed(shard: &Rc<Shard>, chat: ChatId, feed: &mut Feed, cause: GapCause) {
    // What is being asked may be answered from before the reason to ask again.
    match feed.check {
        Check::Idle => {
            feed.check = Check::Asked;
            shard.spawn("head check", head_checked(Rc::clone(shard), chat, cause));
        }
        Check::Asked | Check::AskAgain => feed.check = Check::AskAgain,
    }
}

async fn head_checked(shard: Rc<Shard>, chat: ChatId, cause: GapCause) {
    let mut pause = PAUSES.0;
    loop {
        let asked = shard.hub.heads.get(chat).await;
        {
            let mut chats = shard.chats.borrow_mut();
            let Some(feed) = chats.get_mut(&chat) else { return };
            if let Ok(head) = asked {
                if let Some(head) = head {
                    feed.reached(head);
                    if feed.has_gap() {
                        fill(&shard, chat, feed, cause, Duration::ZERO);
                    }
                }
                match feed.check {
                    Check::AskAgain => {
                        feed.check = Check::Asked;
                        continue;
                    }
                    Check::Asked | Check::Idle => {
                        feed.check = Check::Idle;
                        return;
                    }
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Ends the subscriptions of those who are no longer members, where the log cannot tell of it any more (G6).
pub(crate) fn check_members(shard: &Rc<Shard>, chat: ChatId) {
    shard.spawn("membership check", members_checked(Rc::clone(shard), chat));
}

async fn members_checked(shard: Rc<Shard>, chat: ChatId) {
    let users = |shard: &Shard| -> Vec<UserId> {
        let chats = shard.chats.borrow();
        let subs = chats.get(&chat).map(|feed| feed.subs.iter().map(|(_, sub)| sub.conn.user_id).collect());
        subs.unwrap_or_default()
    };
    let mut pause = PAUSES.0;
    loop {
        let mut asked = users(&shard);
        asked.sort_unstable();
        asked.dedup();
        let (store, of) = (Arc::clone(&shard.hub.ctx.store), asked.clone());
        let answered = shard.hub.spawn("membership check", async move { store.still_members(chat, &of).await }).await;
        if let Ok(Ok(members)) = answered {
            let conns: Vec<Rc<Conn>> = {
                let chats = shard.chats.borrow();
                let Some(feed) = chats.get(&chat) else { return };
                let gone = |user: &UserId| asked.binary_search(user).is_ok() && !members.contains(user);
                feed.subs.iter().filter(|(_, sub)| gone(&sub.conn.user_id)).map(|(_, s)| Rc::clone(&s.conn)).collect()
            };
            for conn in conns {
                drop(shard.close_sub(chat, &conn));
            }
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

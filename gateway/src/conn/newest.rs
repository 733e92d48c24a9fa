//! What only some connections need: status and typing that wait aside, notices held back, what was answered lately.

use super::{Conn, Push};
use crate::feed::Sub;
use bytes::Bytes;
use messenger_common::event::EventKind;
use messenger_common::id::{ChatId, Seq, UserId};
use std::collections::VecDeque;
use std::time::Instant;

/// Newest-wins frames kept for a reader that is behind.
const EPHEMERAL: usize = 256;
/// Notices kept while a subscription to their chat begins.
const NOTICES: usize = 64;

/// A frame of which only the newest matters.
#[derive(Debug)]
struct Ephemeral {
    kind: EventKind,
    chat_id: ChatId,
    user_id: UserId,
    frame: Bytes,
}

/// What only some connections need, made when they do.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    ephemeral: VecDeque<Ephemeral>,
    /// Notices of chats whose subscription is pending here.
    pub(crate) held_notices: VecDeque<(ChatId, Seq, Bytes)>,
    /// Where subscriptions that were given up stood: no notice repeats what they brought.
    pub(crate) left_off: VecDeque<(ChatId, Seq)>,
    /// When typing was last told, by chat.
    pub(crate) typing: Vec<(ChatId, Instant)>,
    /// Reads answered to this connection whose broadcast it need not see again.
    pub(crate) reads: Vec<(ChatId, Instant)>,
    /// Since when commands come over the rate, and when the last did.
    pub(crate) limited: Option<(Instant, Instant)>,
}

impl Conn {
    /// Takes a frame of which only the newest of its kind, chat and user matters. Behind what waits, it waits aside and never grows
    /// past [`EPHEMERAL`]: the oldest goes.
    pub(crate) fn push_newest(&self, kind: EventKind, chat_id: ChatId, user_id: UserId, frame: &Bytes, now: bool) {
        // What waits aside of the same is older, whichever way this one goes.
        if let Some(rare) = self.rare.borrow_mut().as_mut() {
            rare.ephemeral.retain(|other| (other.kind, other.chat_id, other.user_id) != (kind, chat_id, user_id));
        }
        if self.has_room() && self.push(frame, now) != Push::Full {
            return;
        }
        if kind == EventKind::Typing {
            return;
        }
        let mut rare = self.rare.borrow_mut();
        let waiting = &mut rare.get_or_insert_default().ephemeral;
        if waiting.len() == EPHEMERAL {
            waiting.pop_front();
        }
        waiting.push_back(Ephemeral { kind, chat_id, user_id, frame: frame.clone() });
    }

    pub(super) fn flush_ephemeral(&self) {
        let mut rare = self.rare.borrow_mut();
        let Some(rare) = rare.as_mut() else { return };
        while let Some(newest) = rare.ephemeral.pop_front() {
            if self.push(&newest.frame, true) == Push::Full {
                rare.ephemeral.push_front(newest);
                return;
            }
        }
    }

    /// Keeps a notice until the pending subscription to its chat knows where it begins.
    pub(crate) fn hold_notice(&self, chat: ChatId, seq: Seq, frame: Bytes) {
        let mut rare = self.rare.borrow_mut();
        let held = &mut rare.get_or_insert_default().held_notices;
        if held.len() == NOTICES {
            held.pop_front();
        }
        held.push_back((chat, seq, frame));
    }

    /// The notices that were kept for a chat.
    pub(crate) fn take_notices(&self, chat: ChatId) -> Vec<(Seq, Bytes)> {
        let mut rare = self.rare.borrow_mut();
        let Some(rare) = rare.as_mut() else { return Vec::new() };
        let (of_chat, others) = rare.held_notices.drain(..).partition::<VecDeque<_>, _>(|(of, ..)| *of == chat);
        rare.held_notices = others;
        of_chat.into_iter().map(|(_, seq, frame)| (seq, frame)).collect()
    }

    /// Remembers where a subscription stood that ends.
    pub(crate) fn left_off(&self, chat: ChatId, sub: &Sub) {
        let mut rare = self.rare.borrow_mut();
        let left = &mut rare.get_or_insert_default().left_off;
        left.retain(|(of, _)| *of != chat);
        if left.len() == 16 {
            left.pop_front();
        }
        left.push_back((chat, sub.cursor));
    }

    /// Whether an earlier subscription brought this event.
    pub(crate) fn had(&self, chat: ChatId, seq: Seq) -> bool {
        self.rare
            .borrow()
            .as_ref()
            .is_some_and(|rare| rare.left_off.iter().any(|(of, up_to)| *of == chat && seq <= *up_to))
    }
}

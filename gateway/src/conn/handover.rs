//! The handover between a chat's notices and a subscription that begins or ends: each message
//! comes by one of them, and by one only.

use super::Conn;
use bytes::Bytes;
use messenger_common::id::{ChatId, Seq};
use std::collections::VecDeque;

/// Ended subscriptions that are remembered.
const ENDED_REMEMBERED: usize = 16;

/// Notices on hold, and where ended subscriptions left off.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// Notices of chats whose subscription begins.
    held: VecDeque<(ChatId, Seq, Bytes)>,
    held_bytes: usize,
    /// Up to where ended subscriptions brought their events: no notice repeats them.
    left_off: VecDeque<(ChatId, Seq)>,
}

impl Handover {
    /// Holds a notice. The caller bounds what is [held](Self::held).
    pub(super) fn hold(&mut self, chat: ChatId, seq: Seq, frame: Bytes) {
        self.held_bytes += frame.len();
        self.held.push_back((chat, seq, frame));
    }

    /// How many notices are on hold, and bytes of them.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.held.len(), self.held_bytes)
    }

    fn release(&mut self, chat: ChatId) -> Vec<(Seq, Bytes)> {
        let (of_chat, others) = self.held.drain(..).partition::<VecDeque<_>, _>(|(of, ..)| *of == chat);
        self.held = others;
        self.held_bytes -= of_chat.iter().map(|(.., frame)| frame.len()).sum::<usize>();
        of_chat.into_iter().map(|(_, seq, frame)| (seq, frame)).collect()
    }

    fn ended(&mut self, chat: ChatId, cursor: Seq) {
        self.left_off.retain(|(of, _)| *of != chat);
        if self.left_off.len() == ENDED_REMEMBERED {
            self.left_off.pop_front();
        }
        self.left_off.push_back((chat, cursor));
    }

    fn brought(&self, chat: ChatId, seq: Seq) -> bool {
        self.left_off.iter().any(|(of, up_to)| *of == chat && seq <= *up_to)
    }
}

impl Conn {
    /// Takes the notices that were kept for a chat.
    pub(crate) fn take_notices(&self, chat: ChatId) -> Vec<(Seq, Bytes)> {
        self.extras.borrow_mut().as_mut().map(|extras| extras.handover.release(chat)).unwrap_or_default()
    }

    /// Remembers where a subscription ended.
    pub(crate) fn left_off(&self, chat: ChatId, cursor: Seq) {
        self.with_extras(|extras| extras.handover.ended(chat, cursor));
    }

    /// Forgets that of some chats: their numbers may be given anew.
    pub(crate) fn forget_left_off(&self, is_it: impl Fn(ChatId) -> bool) {
        if let Some(extras) = self.extras.borrow_mut().as_mut() {
            extras.handover.left_off.retain(|(chat, _)| !is_it(*chat));
        }
    }

    /// Whether an earlier subscription brought this event.
    pub(crate) fn had(&self, chat: ChatId, seq: Seq) -> bool {
        self.extras.borrow().as_ref().is_some_and(|extras| extras.handover.brought(chat, seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_released_by_chat() {
        let mut handover = Handover::default();
        for seq in 0..70 {
            handover.hold(ChatId(seq % 2), Seq(seq), Bytes::from_static(b"text"));
        }
        assert_eq!(handover.held(), (70, 280));
        let even: Vec<i64> = handover.release(ChatId(0)).into_iter().map(|(seq, _)| seq.0).collect();
        assert_eq!(even, (0..70).step_by(2).collect::<Vec<_>>());
        assert!(handover.release(ChatId(0)).is_empty());
        assert_eq!((handover.release(ChatId(1)).len(), handover.held()), (35, (0, 0)));
    }

    #[test]
    fn what_an_ended_subscription_brought_is_remembered_of_the_last_sixteen() {
        let mut handover = Handover::default();
        handover.ended(ChatId(0), Seq(3));
        handover.ended(ChatId(0), Seq(5));
        assert!(handover.brought(ChatId(0), Seq(5)) && !handover.brought(ChatId(0), Seq(6)));
        assert!(!handover.brought(ChatId(1), Seq(1)));
        (1..=16).for_each(|chat| handover.ended(ChatId(chat), Seq(1)));
        assert!(!handover.brought(ChatId(0), Seq(5)));
        assert!(handover.brought(ChatId(1), Seq(1)));
    }

    #[tokio::test]
    async fn where_a_subscription_left_off_is_forgotten_with_its_history() {
        let conn = crate::conn::testing::Pair::new(64).await.conn;
        (1..=2).for_each(|chat| conn.left_off(ChatId(chat), Seq(3)));
        conn.forget_left_off(|chat| chat == ChatId(1));
        assert!(!conn.had(ChatId(1), Seq(2)) && conn.had(ChatId(2), Seq(2)));
    }
}

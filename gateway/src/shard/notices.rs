//! Notices: to every connection of a user, told once each although publishers reorder and the relay repeats.

use super::Shard;
use crate::conn::{Conn, Push};
use crate::feed::Phase;
use bytes::Bytes;
use messenger_common::event::EventKind;
use messenger_common::id::{ChatId, Seq, UserId};
use std::collections::VecDeque;
use std::rc::Rc;

/// A user's connections here.
#[derive(Default)]
pub(crate) struct LocalUser {
    pub(crate) conns: Vec<Rc<Conn>>,
    /// What was told of messages, by chat.
    messages: VecDeque<(ChatId, Told)>,
    /// The newest coming or going told, by chat.
    memberships: VecDeque<(ChatId, Seq)>,
}

/// Which of a chat's newest numbers were told.
#[derive(Clone, Copy, Debug)]
struct Told {
    newest: Seq,
    /// Bit `n` stands for `newest - n`.
    before: u64,
}

impl Told {
    /// Whether this number was not told yet; it is from now on. Further back than what is remembered counts as told.
    fn is_news(&mut self, seq: Seq) -> bool {
        if seq > self.newest {
            let by = u32::try_from(seq.0 - self.newest.0).unwrap_or(u32::MAX);
            self.before = self.before.checked_shl(by).unwrap_or(0) | 1;
            self.newest = seq;
            return true;
        }
        let bit = u32::try_from(self.newest.0 - seq.0).ok().and_then(|back| 1_u64.checked_shl(back));
        let news = bit.is_some_and(|bit| self.before & bit == 0);
        self.before |= bit.unwrap_or(0);
        news
    }
}

impl LocalUser {
    /// Chats of which it is remembered what was told.
    const CHATS: usize = 64;

    /// Whether this notice is news. Messages come in any order and each is told; of comings and goings a late one says what no longer is.
    fn is_news(&mut self, chat: ChatId, seq: Seq, kind: EventKind) -> bool {
        if let EventKind::Unknown(_) = kind {
            // Of a newer release, about neither: it is passed on, at worst twice.
            return true;
        }
        if kind != EventKind::NewMessage {
            let before = take(&mut self.memberships, chat);
            let news = before.is_none_or(|last| seq > last);
            put(&mut self.memberships, chat, before.map_or(seq, |last| last.max(seq)));
            return news;
        }
        let (news, told) = match take(&mut self.messages, chat) {
            None => (true, Told { newest: seq, before: 1 }),
            Some(mut told) => (told.is_news(seq), told),
        };
        put(&mut self.messages, chat, told);
        news
    }
}

fn take<T>(of: &mut VecDeque<(ChatId, T)>, chat: ChatId) -> Option<T> {
    let at = of.iter().position(|(of, _)| *of == chat)?;
    of.remove(at).map(|(_, told)| told)
}

fn put<T>(of: &mut VecDeque<(ChatId, T)>, chat: ChatId, told: T) {
    if of.len() == LocalUser::CHATS {
        of.pop_front();
    }
    of.push_back((chat, told));
}

impl Shard {
    pub(super) fn on_notice(&self, user: UserId, chat: ChatId, seq: Seq, kind: EventKind, frame: &Bytes) {
        let mut users = self.users.borrow_mut();
        let Some(local) = users.get_mut(&user) else { return };
        if !local.is_news(chat, seq, kind) {
            return;
        }
        let chats = self.chats.borrow();
        let mut told = 0;
        for conn in &local.conns {
            let sub = conn.sub(chat).and_then(|at| chats.get(&chat)?.subs.get(at));
            match sub.map(|sub| (sub.phase, sub.began)) {
                _ if kind == EventKind::NewMessage && conn.had(chat, seq) => {}
                // A message comes to a subscription by its cursor; the notice is for who has none, or began after it.
                Some((Phase::Live | Phase::Behind, began)) if kind == EventKind::NewMessage && seq > began => {}
                Some((Phase::Pending, _)) if kind == EventKind::NewMessage => {
                    conn.hold_notice(chat, seq, frame.clone());
                }
                _ => {
                    if self.push(conn, frame) == Push::Taken {
                        told += 1;
                    }
                }
            }
        }
        self.hub.metrics.ws_deliveries(kind).inc_by(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: ChatId = ChatId(1);

    fn news(user: &mut LocalUser, kind: EventKind, seqs: &[i64]) -> Vec<bool> {
        seqs.iter().map(|seq| user.is_news(CHAT, Seq(*seq), kind)).collect()
    }

    #[test]
    fn messages_out_of_order_are_each_told_once() {
        let mut user = LocalUser::default();
        let told = news(&mut user, EventKind::NewMessage, &[6, 5, 6, 5, 8, 7, 7, 70, 8, 9, 9, 6, 5]);
        assert_eq!(told, [true, true, false, false, true, true, false, true, false, true, false, false, false]);
    }

    #[test]
    fn a_leap_forgets_no_more_than_it_must() {
        let mut user = LocalUser::default();
        assert_eq!(
            news(&mut user, EventKind::NewMessage, &[1, 64, 1, 65, 1, 1000, 64, 937]),
            [true, true, false, true, false, true, false, true]
        );
    }

    #[test]
    fn a_late_coming_or_going_is_not_told() {
        let mut user = LocalUser::default();
        assert_eq!(news(&mut user, EventKind::ChatAdded, &[3]), [true]);
        assert_eq!(news(&mut user, EventKind::ChatRemoved, &[5, 5]), [true, false]);
        assert_eq!(news(&mut user, EventKind::ChatAdded, &[3, 7]), [false, true]);
    }

    #[test]
    fn a_message_does_not_hide_that_the_chat_was_added() {
        let mut user = LocalUser::default();
        assert_eq!(news(&mut user, EventKind::NewMessage, &[1]), [true]);
        assert_eq!(news(&mut user, EventKind::ChatAdded, &[0]), [true]);
    }

    #[test]
    fn it_is_remembered_of_a_bounded_number_of_chats() {
        let mut user = LocalUser::default();
        for chat in 0..200 {
            assert!(user.is_news(ChatId(chat), Seq(1), EventKind::NewMessage));
        }
        assert_eq!(user.messages.len(), LocalUser::CHATS);
        assert!(!user.is_news(ChatId(199), Seq(1), EventKind::NewMessage));
    }
}

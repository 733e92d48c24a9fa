//! Notices: to every connection of a user, each once although publishers reorder and the relay
//! repeats.

use super::Shard;
use super::delivered::Delivered;
use crate::conn::Conn;
use crate::feed::{Phase, Push};
use crate::inbox::NoticeFrame;
use crate::protocol::CloseCode;
use bytes::Bytes;
use messenger_common::dispatch::{EventSink, SinkEvent};
use messenger_common::event::{Envelope, EventKind, Notice};
use messenger_common::id::{ChatId, Seq, UserId};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// A user's connections here.
#[derive(Default)]
pub(crate) struct LocalUser {
    pub(crate) conns: Vec<Rc<Conn>>,
    /// The messages that were delivered, by chat.
    messages: VecDeque<(ChatId, Delivered)>,
    /// The mentions that were delivered, by chat.
    mentions: VecDeque<(ChatId, Delivered)>,
    /// The newest change of membership that was delivered, by chat.
    memberships: VecDeque<(ChatId, Seq)>,
    /// The user's view of a chat as it was delivered last.
    views: VecDeque<(ChatId, Bytes)>,
}

/// A notice is of a connection's time from so many milliseconds before it came: a commit comes
/// after the time that it bears.
const LATE_MILLIS: u64 = 250;

/// The number of a notice that no commit gave. Any commit's is higher, so that one which speaks of
/// the user in the chat is newer.
const BEFORE_ALL_COMMITS: Seq = Seq(-1);

impl LocalUser {
    /// Chats whose numbers are remembered: as many may bring something within the seconds that are
    /// read again after an outage of the bus. They are few bytes each.
    const CHATS: usize = 1024;
    /// Chats whose view is remembered, with its frame.
    const VIEWS: usize = 64;

    /// Forgets what was delivered of some chats: their numbers may be given anew.
    fn forget(&mut self, is_it: impl Fn(ChatId) -> bool) {
        self.messages.retain(|(chat, _)| !is_it(*chat));
        self.mentions.retain(|(chat, _)| !is_it(*chat));
        self.memberships.retain(|(chat, _)| !is_it(*chat));
        self.conns.iter().for_each(|conn| conn.forget_left_off(&is_it));
    }

    /// Whether a view differs from the last one that was delivered. After an outage the same one is
    /// read again, and published again by whoever relays it, in any order.
    fn is_another_view(&mut self, chat: ChatId, frame: &Bytes) -> bool {
        let same = take(&mut self.views, chat).is_some_and(|last| last == *frame);
        put(&mut self.views, Self::VIEWS, chat, frame.clone());
        !same
    }

    /// Whether this notice is new. Messages come in any order, and each is delivered. A change of
    /// membership that comes late says what is no longer so.
    fn is_news(&mut self, chat: ChatId, seq: Seq, kind: EventKind) -> bool {
        let messages = match kind {
            // Of a newer release, about neither: it is passed on, at worst twice. A member's own
            // view has no number.
            EventKind::Unknown(_) | EventKind::ChatSettings => return true,
            EventKind::NewMessage => Some(&mut self.messages),
            EventKind::Mentioned => Some(&mut self.mentions),
            _ => None,
        };
        let Some(messages) = messages else {
            let before = take(&mut self.memberships, chat);
            let news = before.is_none_or(|last| seq > last);
            put(&mut self.memberships, Self::CHATS, chat, before.map_or(seq, |last| last.max(seq)));
            return news;
        };
        let mut delivered = take(messages, chat).unwrap_or_default();
        let news = delivered.is_news(seq);
        put(messages, Self::CHATS, chat, delivered);
        news
    }
}

fn take<T>(of: &mut VecDeque<(ChatId, T)>, chat: ChatId) -> Option<T> {
    // The newest stand behind.
    let at = of.iter().rposition(|(of, _)| *of == chat)?;
    of.remove(at).map(|(_, value)| value)
}

fn put<T>(of: &mut VecDeque<(ChatId, T)>, most: usize, chat: ChatId, value: T) {
    if of.len() == most {
        of.pop_front();
    }
    of.push_back((chat, value));
}

impl Shard {
    /// Forgets what the users of a chat had of it: its history went back.
    pub(super) fn forget_notices(&self, chat: ChatId, of: &[UserId]) {
        let mut users = self.users.borrow_mut();
        for user in of {
            if let Some(local) = users.get_mut(user) {
                local.forget(|of| of == chat);
            }
        }
    }

    /// The same for all chats: of most there is no feed that could find out.
    pub(crate) fn forget_all_notices(&self) {
        self.users.borrow_mut().values_mut().for_each(|local| local.forget(|_| true));
    }

    /// The present history does not have the user in the chat, or does not have the chat. No commit
    /// says so.
    pub(crate) fn no_longer_in(&self, user_id: UserId, chat_id: ChatId) {
        let json = Notice::ChatRemoved { chat_id }.to_json();
        let removed =
            Envelope::Notice { user_id, chat_id, seq: BEFORE_ALL_COMMITS, kind: EventKind::ChatRemoved, json };
        let hub = Arc::clone(&self.hub);
        self.spawn("notice of a lost chat", async move { hub.handle(vec![SinkEvent::Envelope(removed)]).await });
    }

    /// Delivers a notice; `happened` where it is of a time when the node did not hear the bus.
    pub(super) fn on_notice(&self, notice: &NoticeFrame, happened: Option<u64>) {
        let NoticeFrame { user_id: user, chat_id: chat, seq, kind, ref frame } = *notice;
        if kind == EventKind::MessageRead {
            let delivered = self.deliver_to_reader(chat, user, frame);
            return self.hub.ctx.metrics.ws_deliveries(kind).inc_by(delivered);
        }
        let mut users = self.users.borrow_mut();
        let Some(local) = users.get_mut(&user) else { return };
        if !local.is_news(chat, seq, kind) || kind == EventKind::ChatSettings && !local.is_another_view(chat, frame) {
            return;
        }
        let chats = self.chats.borrow();
        let (mut delivered, mut full) = (0, Vec::new());
        let mut note = |conn: &Rc<Conn>, pushed| match pushed {
            Push::Taken => delivered += 1,
            Push::Full => full.push(Rc::clone(conn)),
            Push::Gone => {}
        };
        for conn in &local.conns {
            let sub = conn.sub(chat).and_then(|key| chats.get(&chat)?.feed.sub(key));
            match sub.map(|sub| (sub.phase(), sub.starts_after())) {
                _ if happened.is_some_and(|happened| conn.seat.opened > happened + LATE_MILLIS) => {}
                _ if kind == EventKind::NewMessage && conn.had(chat, seq) => {}
                // A subscription brings the messages after its beginning; the notice is for all
                // others.
                Some((Phase::Live | Phase::Behind, starts_after))
                    if kind == EventKind::NewMessage && seq > starts_after => {}
                Some((Phase::Pending, _)) if kind == EventKind::NewMessage => {
                    note(conn, conn.hold_notice(chat, seq, frame));
                }
                _ => note(conn, conn.deliver_notice(frame)),
            }
        }
        drop((users, chats));
        for conn in &full {
            self.close(conn, CloseCode::TooManyNotices);
        }
        self.traces.borrow_mut().handed(Some(user), chat, seq, delivered);
        self.hub.ctx.metrics.ws_deliveries(kind).inc_by(delivered);
    }

    /// Ends the hold of a chat's notices: the subscription knows that it begins after `up_to`, or
    /// it failed (`None`). Delivers the notices up to there, or all. The subscription brings the
    /// others itself.
    pub(crate) fn release_held(&self, conn: &Rc<Conn>, chat: ChatId, up_to: Option<Seq>) {
        let is_due = |seq| up_to.is_none_or(|up_to| seq <= up_to);
        for (_, frame) in conn.take_notices(chat).into_iter().filter(|(seq, _)| is_due(*seq)) {
            if conn.deliver_notice(&frame) == Push::Full {
                self.close(conn, CloseCode::TooManyNotices);
            }
        }
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
        let sent = news(&mut user, EventKind::NewMessage, &[6, 5, 6, 5, 8, 7, 7, 70, 8, 9, 9, 6, 5]);
        assert_eq!(sent, [true, true, false, false, true, true, false, true, false, true, false, false, false]);
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
    fn a_mention_comes_once_beside_its_message() {
        let mut user = LocalUser::default();
        assert_eq!(news(&mut user, EventKind::NewMessage, &[5]), [true]);
        assert_eq!(news(&mut user, EventKind::Mentioned, &[5, 5, 4]), [true, false, true]);
        assert_eq!(news(&mut user, EventKind::ChatSettings, &[5, 5]), [true, true]);
    }

    #[test]
    fn the_same_view_is_told_once() {
        let mut user = LocalUser::default();
        let told = [b"a", b"a", b"b", b"a"].map(|view| user.is_another_view(CHAT, &Bytes::from_static(view)));
        assert_eq!(told, [true, false, true, true]);
    }

    #[test]
    fn it_is_remembered_of_a_bounded_number_of_chats() {
        let mut user = LocalUser::default();
        for chat in 0..3000 {
            assert!(user.is_news(ChatId(chat), Seq(1), EventKind::NewMessage));
        }
        assert_eq!(user.messages.len(), LocalUser::CHATS);
        assert!((2000..3000).all(|chat| !user.is_news(ChatId(chat), Seq(1), EventKind::NewMessage)));
    }
}

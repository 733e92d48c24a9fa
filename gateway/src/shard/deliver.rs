//! Delivery: what the bus or the log brings, to the feed or the connections that it concerns.

use super::Shard;
use crate::feed::{Event, Feed, Known, Piece, Progress, Repair};
use crate::inbox::Delivery;
use messenger_common::id::{ChatId, Seq};
use messenger_common::metrics::GapCause;

impl Shard {
    /// Delivers a publication. Returns the repair that its feed is due.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Option<(ChatId, Repair)> {
        self.batch.begin_fan_out();
        match delivery {
            Delivery::Log(chat, event) => {
                let mut handed = |event: &Event, readers| self.handed(chat, event, readers);
                let due = self.with_feed(chat, |feed| feed.on_event(&event, self.ticks.get(), &mut handed));
                due.flatten().map(|due| (chat, due))
            }
            Delivery::ChannelUp(chat) => self.on_channel_up(chat).map(|due| (chat, due)),
            Delivery::Reached(chat, seq) => self.on_reached(chat, seq).map(|due| (chat, due)),
            Delivery::Ephemeral { chat_id, user_id, kind, frame } => {
                self.on_ephemeral(chat_id, user_id, kind, frame);
                None
            }
            Delivery::Notice(notice) => {
                self.on_notice(&notice, None);
                None
            }
            Delivery::PastNotice { notice, happened } => {
                self.on_notice(&notice, Some(happened));
                None
            }
            Delivery::Traced(arrival) => {
                self.traces.borrow_mut().expect(arrival);
                None
            }
            Delivery::Status(changes) => {
                self.on_statuses(&changes);
                None
            }
        }
    }

    /// Takes an event that a feed has handed on.
    fn handed(&self, chat: ChatId, event: &Event, readers: u64) {
        if event.kind.rewrites_history() {
            self.hub.reads.log.forget(chat);
        }
        if readers > 0 {
            self.traces.borrow_mut().handed(None, chat, event.seq, readers);
            self.count(event, readers);
        }
        self.batch.begin_fan_out();
    }

    /// Delivers what is held in a feed and whose turn has come.
    pub(crate) fn go_on(&self, chat: ChatId) {
        let mut handed = |event: &Event, readers| self.handed(chat, event, readers);
        self.with_feed(chat, |feed| feed.go_on(self.ticks.get(), &mut handed));
    }

    /// Delivers a piece of the log that was read because of a gap. `None`: nobody wants the feed
    /// any more.
    pub(crate) fn on_piece(&self, chat: ChatId, piece: &Piece) -> Option<Progress> {
        let mut progress = None;
        let mut handed = |event: &Event, readers| self.handed(chat, event, readers);
        self.batch.run(|| {
            progress = self.with_feed(chat, |feed| feed.on_piece(piece, self.ticks.get(), &mut handed));
        });
        progress
    }

    /// Goes on behind a gap that the log cannot give.
    pub(crate) fn jump(&self, chat: ChatId) -> Progress {
        let jumped = self.with_feed(chat, Feed::jump_the_gap).unwrap_or(Progress::Moved);
        self.go_on(chat);
        jumped
    }

    /// Compares what a feed knew with the store's answer. Where the history went back, forgets what
    /// was read and delivered of the lost one.
    pub(crate) fn compare(&self, chat: ChatId, known: Known, head: Seq, committed_at: Option<i64>) {
        if self.with_feed(chat, |feed| feed.compare(known, head, committed_at)) == Some(true) {
            self.history_went_back(chat, head);
        }
    }

    /// The store does not know a chat that was followed: its history went back to before the chat.
    pub(crate) fn chat_is_lost(&self, chat: ChatId, known: Known) {
        if self.with_feed(chat, |feed| feed.chat_is_lost(known)) == Some(true) {
            self.history_went_back(chat, Seq(0));
        }
    }

    fn history_went_back(&self, chat: ChatId, head: Seq) {
        self.hub.reads.log.forget(chat);
        let losses = Some(self.losses());
        if self.forgot_at.replace(losses) == losses {
            let users = self.with_feed(chat, |feed| feed.users().collect::<Vec<_>>());
            self.forget_notices(chat, &users.unwrap_or_default());
        } else {
            // It is the first of them. The others went back with it, those without a feed too.
            self.forget_all_notices();
        }
        self.hub.history_went_back(chat, head);
    }

    /// The log has that number. A feed that is elsewhere compares its head, unless that is being
    /// done: either an event is still on its way, or it was lost.
    fn on_reached(&self, chat: ChatId, seq: Seq) -> Option<Repair> {
        self.with_feed(chat, |feed| {
            let is_elsewhere = feed.head().is_some_and(|head| head != seq);
            is_elsewhere.then(|| feed.head_due_once(GapCause::HeadCheck)).flatten()
        })
        .flatten()
    }

    fn on_channel_up(&self, chat: ChatId) -> Option<Repair> {
        let mut chats = self.chats.borrow_mut();
        let chat = chats.get_mut(&chat)?;
        // The receiver may have hung up.
        chat.waiting.drain(..).for_each(|waiting| waiting.send(()).unwrap_or(()));
        chat.feed.on_channel_up()
    }
}

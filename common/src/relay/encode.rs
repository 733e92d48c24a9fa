//! A committed transaction as publications.

use crate::bus::Publication;
use crate::event::{Envelope, EventKind, LogEvent, Notice};
use crate::model::Chat;
use crate::store::{Committed, NoticeBody, UserNotice};
use bytes::Bytes;
use std::sync::Arc;

/// The publications, made one by one as they are asked for: the events in their order, then the
/// notices. A large change is never whole in memory as publications.
pub(super) struct Telling<'a> {
    committed: &'a Committed,
    /// The traces of the events: before these, on the same topics.
    traces: std::vec::IntoIter<Publication>,
    next: usize,
    /// The frames of the events so far: a private message's notices bear the same.
    frames: Vec<Bytes>,
    /// The last chat that was announced, and its frame: newcomers see the same one.
    added: Option<(&'a Arc<Chat>, Bytes)>,
}

impl<'a> Telling<'a> {
    pub(super) fn of(committed: &'a Committed) -> Self {
        Self { committed, traces: traces(committed).into_iter(), next: 0, frames: Vec::new(), added: None }
    }

    /// The envelopes of the notices alone.
    pub(super) fn notices(mut self) -> Vec<Envelope> {
        let committed = self.committed;
        committed.notices.iter().map(|notice| self.notice(notice)).collect()
    }

    fn event(&mut self, event: &LogEvent) -> Publication {
        let envelope = event.to_envelope();
        let publication = Publication::from(&envelope);
        self.frames.push(match envelope {
            Envelope::Log { json, .. } => json,
            _ => Bytes::new(),
        });
        publication
    }

    fn notice(&mut self, notice: &'a UserNotice) -> Envelope {
        let (kind, json) = match &notice.body {
            NoticeBody::ChatAdded(chat) => (EventKind::ChatAdded, self.added_frame(chat)),
            NoticeBody::ChatRemoved => {
                (EventKind::ChatRemoved, Notice::ChatRemoved { chat_id: notice.chat_id }.to_json())
            }
            NoticeBody::NewMessage(_) => (EventKind::NewMessage, self.message_frame(notice)),
            NoticeBody::Mentioned(message) => {
                let mentioned = Notice::Mentioned { chat_id: notice.chat_id, seq: notice.seq, message };
                (EventKind::Mentioned, mentioned.to_json())
            }
            NoticeBody::Settings(settings) => {
                (EventKind::ChatSettings, Notice::ChatSettings { chat_id: notice.chat_id, settings }.to_json())
            }
        };
        let (user_id, chat_id, seq) = (notice.user_id, notice.chat_id, notice.seq);
        Envelope::Notice { user_id, chat_id, seq, kind, json }
    }

    fn added_frame(&mut self, chat: &'a Arc<Chat>) -> Bytes {
        if let Some((last, frame)) = &self.added
            && Arc::ptr_eq(last, chat)
        {
            return frame.clone();
        }
        let frame = Notice::ChatAdded { chat }.to_json();
        self.added = Some((chat, frame.clone()));
        frame
    }

    /// The same frame as its event's: serialised once, where the event is of the same transaction.
    fn message_frame(&self, notice: &UserNotice) -> Bytes {
        let same = |event: &LogEvent| event.chat_id == notice.chat_id && event.seq == notice.seq;
        if let Some(frame) = self.committed.events.iter().position(same).and_then(|at| self.frames.get(at)) {
            return frame.clone();
        }
        let NoticeBody::NewMessage(message) = &notice.body else { return Bytes::new() };
        let event = LogEvent {
            chat_id: notice.chat_id,
            seq: notice.seq,
            committed_at: message.created_at,
            body: crate::event::EventBody::NewMessage { message: (**message).clone() },
        };
        event.to_json()
    }
}

fn traces(committed: &Committed) -> Vec<Publication> {
    let mut publications = Vec::new();
    for traced in &committed.traced {
        let is_of = |notice: &&UserNotice| {
            let of_message = matches!(notice.body, NoticeBody::NewMessage(_) | NoticeBody::Mentioned(_));
            of_message && (notice.chat_id, notice.seq) == (traced.chat_id, traced.seq)
        };
        let users = committed.notices.iter().filter(is_of).map(|notice| Some(notice.user_id));
        let envelopes = std::iter::once(None).chain(users).map(|user_id| Envelope::Traced { user_id, traced: *traced });
        publications.extend(envelopes.map(|envelope| Publication::from(&envelope)));
    }
    publications
}

impl Iterator for Telling<'_> {
    type Item = Publication;

    fn next(&mut self) -> Option<Publication> {
        if let Some(trace) = self.traces.next() {
            return Some(trace);
        }
        let (at, committed) = (self.next, self.committed);
        self.next += 1;
        if let Some(event) = committed.events.get(at) {
            return Some(self.event(event));
        }
        committed.notices.get(at - committed.events.len()).map(|notice| Publication::from(&self.notice(notice)))
    }
}

//! What a committed transaction tells, as publications.

use crate::bus::{Publication, Topic};
use crate::event::{Envelope, EventKind, LogEvent, Notice};
use crate::store::{Committed, NoticeBody, UserNotice};
use bytes::Bytes;

/// Adds to `publications` what is to be told: the events in their order, then the notices.
pub(super) fn encode(committed: &Committed, publications: &mut Vec<Publication>) {
    let jsons: Vec<Bytes> = committed.events.iter().map(|event| log(event, publications)).collect();
    for notice in &committed.notices {
        let json = match &notice.body {
            NoticeBody::ChatAdded(chat) => Notice::ChatAdded { chat }.to_json(),
            NoticeBody::ChatRemoved => Notice::ChatRemoved { chat_id: notice.chat_id }.to_json(),
            NoticeBody::NewMessage(_) => message_json(committed, notice, &jsons),
        };
        let kind = match &notice.body {
            NoticeBody::ChatAdded(_) => EventKind::ChatAdded,
            NoticeBody::ChatRemoved => EventKind::ChatRemoved,
            NoticeBody::NewMessage(_) => EventKind::NewMessage,
        };
        let (user_id, chat_id, seq) = (notice.user_id, notice.chat_id, notice.seq);
        let envelope = Envelope::Notice { user_id, chat_id, seq, kind, json };
        publications.push(Publication { topic: Topic::User(user_id), payload: envelope.encode() });
    }
}

fn log(event: &LogEvent, publications: &mut Vec<Publication>) -> Bytes {
    let envelope = event.to_envelope();
    publications.push(Publication { topic: Topic::Chat(event.chat_id), payload: envelope.encode() });
    match envelope {
        Envelope::Log { json, .. } => json,
        _ => Bytes::new(),
    }
}

/// The same frame as its event's: serialised once, where the event is of the same transaction.
fn message_json(committed: &Committed, notice: &UserNotice, jsons: &[Bytes]) -> Bytes {
    let same = |event: &LogEvent| event.chat_id == notice.chat_id && event.seq == notice.seq;
    if let Some(at) = committed.events.iter().position(same) {
        return jsons[at].clone();
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

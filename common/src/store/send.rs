//! The outcome of a batch of sends, the same for both back ends.

use super::outbox::{mention_notices, private_notices};
use super::{Committed, Mention, NewMessage, OutboxId, Sent, SentBatch};
use crate::error::{Error, Result};
use crate::event::{EventBody, LogEvent};
use crate::id::{MessageId, Seq, UserId};
use crate::model::Message;
use time::OffsetDateTime;

/// The outcome of one entry.
pub(super) enum Outcome {
    /// Stored now.
    Stored(Stored, Option<[UserId; 2]>),
    /// Stored before: the message as it stands now.
    Retry(Box<Message>),
    /// Not stored.
    Refused(Error),
}

/// The values that storing gave a message.
pub(super) struct Stored {
    pub(super) id: MessageId,
    pub(super) seq: Seq,
    pub(super) at: OffsetDateTime,
    /// Those of the mentioned who were members then.
    pub(super) mentions: Vec<UserId>,
    /// The author's name for people.
    pub(super) display_name: Option<String>,
}

/// Refuses entries that a database would not take: Postgres allows no NUL in a text.
pub(super) fn refuse(entry: &NewMessage) -> Option<Error> {
    if entry.text.contains('\0') {
        Some(Error::invalid("text", "must not contain a NUL character"))
    } else if entry.client_message_id.as_ref().is_some_and(|id| id.contains('\0')) {
        Some(Error::invalid("client_message_id", "must not contain a NUL character"))
    } else {
        None
    }
}

pub(super) fn bad_reply() -> Error {
    Error::invalid("reply_to_id", "is not a message of this chat")
}

/// A 64-bit FNV-1a digest. It distinguishes a retry from another text under the same id, and
/// keeps no copy of the text.
pub(super) fn digest(text: &str) -> i64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash.cast_signed()
}

/// The members that a text mentions.
pub(super) fn mentioned(mentions: &[Mention]) -> Vec<UserId> {
    mentions.iter().map(|one| one.user_id).collect()
}

/// Those of them who are notified: members still, and not the author.
pub(super) fn notified(mentions: &[Mention], author: UserId, members: &[UserId]) -> Vec<UserId> {
    let notified = mentions.iter().filter(|one| one.notify).map(|one| one.user_id);
    notified.filter(|user| *user != author && members.contains(user)).collect()
}

/// Those who are counted as mentioned: all but the author.
pub(super) fn counted(mentioned: &[UserId], author: UserId) -> Vec<UserId> {
    mentioned.iter().copied().filter(|user| *user != author).collect()
}

/// Makes the batch's answer of the outcomes.
pub(super) fn batch(entries: &[NewMessage], outcomes: Vec<Outcome>, outbox: Option<OutboxId>) -> SentBatch {
    let mut committed = Committed { outbox, ..Committed::default() };
    let results = entries.iter().zip(outcomes).map(|(entry, outcome)| sent(entry, outcome, &mut committed)).collect();
    SentBatch { results, committed }
}

fn sent(entry: &NewMessage, outcome: Outcome, committed: &mut Committed) -> Result<Sent> {
    match outcome {
        Outcome::Stored(stored, pair) => {
            let message = message(entry, &stored);
            if let Some(pair) = pair {
                committed.notices.extend(private_notices(&message, pair));
            }
            let notified = notified(&entry.mentions, entry.author_id, &message.mentions);
            committed.notices.extend(mention_notices(&message, stored.seq, notified));
            committed.events.push(LogEvent {
                chat_id: entry.chat_id,
                seq: stored.seq,
                committed_at: stored.at,
                body: EventBody::NewMessage { message: message.clone() },
            });
            Ok(Sent { message, created: true })
        }
        Outcome::Retry(message) => Ok(Sent { message: *message, created: false }),
        Outcome::Refused(error) => Err(error),
    }
}

fn message(entry: &NewMessage, stored: &Stored) -> Message {
    Message {
        id: stored.id,
        chat_id: entry.chat_id,
        author_id: entry.author_id,
        author_username: entry.author_username.clone(),
        author_display_name: stored.display_name.clone(),
        text: entry.text.clone(),
        created_at: stored.at,
        is_edited: false,
        edited_at: None,
        is_deleted: false,
        seq: stored.seq,
        client_message_id: entry.client_message_id.clone(),
        reply_to_id: entry.reply_to_id,
        reactions: Vec::new(),
        mentions: stored.mentions.clone(),
    }
}

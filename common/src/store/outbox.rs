//! An entry of the outbox, and how a relay rebuilds its transaction; the same for both back ends.

use super::{Committed, NoticeBody, OutboxId, UserNotice};
use crate::error::{Error, Result};
use crate::event::{EventBody, LogEvent};
use crate::id::{ChatId, Seq, UserId};
use crate::model::{Chat, Message};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// How many events and notices a relay claims at once. A single entry may have more.
pub(super) const EVENTS_PER_CLAIM: i64 = 5_000;

/// An entry's content: names of events and notices, never a text.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutboxPayload {
    /// Chat, first and last number.
    pub(super) events: Vec<(ChatId, Seq, Seq)>,
    /// In the order made.
    pub(super) notices: Vec<StoredNotice>,
    /// Chat, the number of the event that mentions, and the users who are notified of it. A relay
    /// of an older release passes over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) mentioned: Vec<(ChatId, Seq, Vec<UserId>)>,
    /// The members who changed their own view of a chat. A relay of an older release passes over
    /// it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) settings: Vec<(ChatId, UserId)>,
}

impl OutboxPayload {
    /// Reads an entry's row. One that cannot be read is logged and passed over.
    pub(super) fn read(id: i64, payload: &str) -> Option<(OutboxId, Self)> {
        match serde_json::from_str(payload) {
            Ok(payload) => Some((OutboxId(id), payload)),
            Err(error) => {
                tracing::error!(outbox.id = id, %error, "an outbox entry cannot be read");
                None
            }
        }
    }

    /// How many events and notices it names.
    pub(super) fn size(&self) -> i64 {
        let events: i64 = self.events.iter().map(|(_, first, last)| last.0 - first.0 + 1).sum();
        let notices: usize = self.notices.iter().map(|notice| notice.users.len()).sum();
        let mentioned: usize = self.mentioned.iter().map(|(_, _, users)| users.len()).sum();
        let others = notices + mentioned + self.settings.len();
        events.saturating_add(i64::try_from(others).unwrap_or(i64::MAX))
    }

    /// The column that it is kept in.
    pub(super) fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    /// The chats that its notices show, each with the user who sees it.
    pub(super) fn shown(&self) -> impl Iterator<Item = (ChatId, UserId)> + '_ {
        let added = self.notices.iter().filter(|notice| notice.kind == StoredNoticeKind::Added);
        let added = added.flat_map(|notice| notice.users.iter().map(|user| (notice.chat, *user)));
        let mentioned = self.mentioned.iter().flat_map(|(chat, _, users)| users.iter().map(|user| (*chat, *user)));
        added.chain(mentioned).chain(self.settings.iter().copied())
    }
}

/// Notices of one kind because of one event. A private chat's `NewMessage` is not stored: the
/// event implies it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredNotice {
    pub(super) kind: StoredNoticeKind,
    pub(super) chat: ChatId,
    pub(super) seq: Seq,
    pub(super) users: Vec<UserId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StoredNoticeKind {
    Added,
    Removed,
}

/// The names of these notices.
pub(super) fn stored_notices(notices: &[UserNotice]) -> Vec<StoredNotice> {
    let mut stored: Vec<StoredNotice> = Vec::new();
    for notice in notices {
        let kind = match notice.body {
            NoticeBody::ChatAdded(_) => StoredNoticeKind::Added,
            NoticeBody::ChatRemoved => StoredNoticeKind::Removed,
            NoticeBody::NewMessage(_) | NoticeBody::Mentioned(_) | NoticeBody::Settings(_) => continue,
        };
        match stored.last_mut() {
            Some(last) if (last.kind, last.chat, last.seq) == (kind, notice.chat_id, notice.seq) => {
                last.users.push(notice.user_id);
            }
            _ => stored.push(StoredNotice { kind, chat: notice.chat_id, seq: notice.seq, users: vec![notice.user_id] }),
        }
    }
    stored
}

/// Whom these notices say that they are mentioned.
pub(super) fn stored_mentions(notices: &[UserNotice]) -> Vec<(ChatId, Seq, Vec<UserId>)> {
    let mut stored: Vec<(ChatId, Seq, Vec<UserId>)> = Vec::new();
    for notice in notices.iter().filter(|notice| matches!(notice.body, NoticeBody::Mentioned(_))) {
        match stored.last_mut() {
            Some((chat, seq, users)) if (*chat, *seq) == (notice.chat_id, notice.seq) => users.push(notice.user_id),
            _ => stored.push((notice.chat_id, notice.seq, vec![notice.user_id])),
        }
    }
    stored
}

/// Rebuilds what an entry stands for: its events as they are now, the notices that it names, and
/// those that the events imply.
pub(super) fn rebuilt(
    outbox: OutboxId,
    payload: &OutboxPayload,
    events: Vec<LogEvent>,
    seen: &HashMap<(ChatId, UserId), Chat>,
    pairs: &HashMap<ChatId, [UserId; 2]>,
) -> Committed {
    let mut notices = Vec::new();
    for event in &events {
        if let (EventBody::NewMessage { message }, Some(pair)) = (&event.body, pairs.get(&event.chat_id)) {
            notices.extend(private_notices(message, *pair));
        }
    }
    for (chat, seq, users) in &payload.mentioned {
        let event = events.iter().find(|event| event.chat_id == *chat && event.seq == *seq);
        let message = event.and_then(|event| match &event.body {
            EventBody::NewMessage { message } | EventBody::MessageEdited { message } => Some(message),
            _ => None,
        });
        if let Some(message) = message.filter(|message| !message.is_deleted) {
            // The text is as of now: a user who has left since does not see it.
            let is_member = |user: &UserId| seen.get(&(*chat, *user)).is_some_and(|chat| chat.role.is_some());
            notices.extend(mention_notices(message, *seq, users.iter().copied().filter(is_member)));
        }
    }
    let mut shared: Option<Arc<Chat>> = None;
    for stored in &payload.notices {
        for user in &stored.users {
            let body = match stored.kind {
                StoredNoticeKind::Removed => NoticeBody::ChatRemoved,
                // A user who has left since gets nothing: the removal has its own entry.
                StoredNoticeKind::Added => match seen.get(&(stored.chat, *user)) {
                    Some(chat) if chat.role.is_some() => {
                        let chat = chat.clone().for_all();
                        let view = shared.take().filter(|last| **last == chat);
                        let view = view.unwrap_or_else(|| Arc::new(chat));
                        shared = Some(view.clone());
                        NoticeBody::ChatAdded(view)
                    }
                    _ => continue,
                },
            };
            notices.push(UserNotice { user_id: *user, chat_id: stored.chat, seq: stored.seq, body });
        }
    }
    notices.extend(payload.settings.iter().filter_map(|key| settings_notice(key.1, seen.get(key)?)));
    Committed { events, notices, outbox: Some(outbox), traced: Vec::new() }
}

/// A member's own view goes to that member. `None` for a user who is none.
pub(super) fn settings_notice(user_id: UserId, chat: &Chat) -> Option<UserNotice> {
    let body = NoticeBody::Settings(chat.settings?);
    Some(UserNotice { user_id, chat_id: chat.id, seq: chat.seq, body })
}

/// The users whom a message mentions are notified beside the sequence.
pub(super) fn mention_notices(
    message: &Message,
    seq: Seq,
    users: impl IntoIterator<Item = UserId>,
) -> impl Iterator<Item = UserNotice> {
    users.into_iter().map(move |user_id| UserNotice {
        user_id,
        chat_id: message.chat_id,
        seq,
        body: NoticeBody::Mentioned(Box::new(message.clone())),
    })
}

/// A private chat's message goes to both users beside the sequence.
pub(super) fn private_notices(message: &Message, pair: [UserId; 2]) -> impl Iterator<Item = UserNotice> + '_ {
    pair.into_iter().map(|user_id| UserNotice {
        user_id,
        chat_id: message.chat_id,
        seq: message.seq,
        body: NoticeBody::NewMessage(Box::new(message.clone())),
    })
}

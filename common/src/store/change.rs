//! A change of one chat under its lock: which events and notices it makes, the same for both back ends; and the rights to make it.

use super::row::{ChatRow, MemberRow, MessageRow, Time, role_number};
use super::{ChatPatch, Committed, NoticeBody, OutboxId, UserNotice};
use crate::error::{Error, Result};
use crate::event::{EventBody, LogEvent};
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::{Chat, Member, Message, Role};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A chat as it stands under its lock, and what the transaction makes of it.
pub(super) struct Change {
    /// The row as it is to be written.
    pub(super) chat: ChatRow,
    /// The role of who acts.
    pub(super) role: Option<Role>,
    /// The database's time, taken after the lock.
    pub(super) at: Time,
    events: Vec<LogEvent>,
    notices: Vec<UserNotice>,
}

impl Change {
    /// Of a chat that was read under its lock; `ChatNotFound` where it is deleted, or private and not the user's.
    pub(super) fn new(chat: Option<ChatRow>, role: Option<Role>, at: Time) -> Result<Self> {
        match chat {
            Some(chat) if !chat.is_deleted && (chat.is_group || role.is_some()) => {
                Ok(Self { chat, role, at, events: Vec::new(), notices: Vec::new() })
            }
            _ => Err(Error::ChatNotFound),
        }
    }

    /// `NotAMember`.
    pub(super) fn require_member(&self) -> Result<Role> {
        self.role.ok_or(Error::NotAMember)
    }

    /// `PrivateChat`.
    pub(super) fn require_group(&self) -> Result<()> {
        if self.chat.is_group { Ok(()) } else { Err(Error::PrivateChat) }
    }

    /// `NotAMember`, `PrivateChat`, `NotOwner`.
    pub(super) fn require_owner(&self) -> Result<()> {
        let role = self.require_member()?;
        self.require_group()?;
        if role == Role::Owner { Ok(()) } else { Err(Error::NotOwner) }
    }

    /// `NotAuthor`; of an author who left `NotAMember`, and of someone else who may not see the message `MessageNotFound`.
    pub(super) fn require_author(&self, message: &MessageRow, user: UserId) -> Result<()> {
        match (message.author_id == user, self.role) {
            (true, Some(_)) => Ok(()),
            (true, None) => Err(Error::NotAMember),
            (false, Some(_)) => Err(Error::NotAuthor),
            (false, None) => Err(Error::MessageNotFound),
        }
    }

    /// Appends an event under the chat's next number.
    pub(super) fn push(&mut self, body: EventBody) -> Seq {
        self.chat.seq = self.chat.seq.next();
        self.events.push(LogEvent { chat_id: self.chat.id, seq: self.chat.seq, committed_at: self.at.0, body });
        self.chat.seq
    }

    /// Tells a user beside the sequence, because of the newest event.
    pub(super) fn notify(&mut self, user_id: UserId, body: NoticeBody) {
        self.notices.push(UserNotice { user_id, chat_id: self.chat.id, seq: self.chat.seq, body });
    }

    /// Adds those asked for who are not members yet, in the order asked. `Invalid` on `user_ids` where one is neither a member
    /// nor a candidate, `GroupFull`.
    pub(super) fn admit(
        &mut self,
        ids: &[UserId],
        present: HashMap<UserId, MemberRow>,
        candidates: Vec<MemberRow>,
        max: i64,
    ) -> Result<Admission> {
        let room = max - self.chat.member_count;
        let mut known = present;
        let mut fresh: HashSet<UserId> = HashSet::new();
        for candidate in candidates {
            fresh.insert(candidate.user_id);
            known.insert(candidate.user_id, candidate);
        }
        let mut admission = Admission::default();
        for id in ids {
            let Some(member) = known.get(id) else {
                return Err(Error::invalid("user_ids", format!("{id} is not a user")));
            };
            if fresh.remove(id) {
                let seq = self.joined(member);
                admission.newcomers.push((member.clone(), seq.0));
            }
            admission.asked.push(member.clone().into());
        }
        if i64::try_from(admission.newcomers.len()).unwrap_or(i64::MAX) > room.max(0) {
            return Err(Error::GroupFull);
        }
        Ok(admission)
    }

    /// Someone came in: the event. The notice follows once the chat can be seen ([`Self::welcome`]).
    pub(super) fn joined(&mut self, member: &MemberRow) -> Seq {
        self.chat.member_count += 1;
        self.push(EventBody::MemberJoined(member.change()))
    }

    /// Someone went, by whosever will. The last one's going deletes the chat.
    pub(super) fn left(&mut self, member: &MemberRow) {
        self.chat.member_count -= 1;
        self.push(EventBody::MemberLeft(member.change()));
        self.notify(member.user_id, NoticeBody::ChatRemoved);
        if self.chat.member_count == 0 {
            self.deleted();
        }
    }

    /// The chat is gone, with its last event.
    pub(super) fn deleted(&mut self) {
        self.chat.member_count = 0;
        self.chat.is_deleted = true;
        let chat = Chat { seq: self.chat.seq.next(), ..self.chat.to_shared() };
        self.push(EventBody::ChatDeleted { chat });
    }

    /// Name or description change; whether they do.
    pub(super) fn patch(&mut self, patch: &ChatPatch) -> bool {
        let (name, description) = (self.chat.name.clone(), self.chat.description.clone());
        if let Some(name) = &patch.name {
            self.chat.name.clone_from(name);
        }
        if let Some(description) = &patch.description {
            self.chat.description.clone_from(description);
        }
        let changed = (name, description) != (self.chat.name.clone(), self.chat.description.clone());
        if changed {
            let chat = Chat { seq: self.chat.seq.next(), ..self.chat.to_shared() };
            self.push(EventBody::ChatUpdated { chat });
        }
        changed
    }

    /// Whether anything is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.notices.is_empty()
    }

    /// The columns of the events.
    pub(super) fn columns(&self) -> impl Iterator<Item = EventColumns> + '_ {
        self.events.iter().map(EventColumns::from)
    }

    /// What the outbox keeps of it.
    pub(super) fn payload(&self) -> OutboxPayload {
        let events = match (self.events.first(), self.events.last()) {
            (Some(first), Some(last)) => vec![(self.chat.id, first.seq, last.seq)],
            _ => Vec::new(),
        };
        OutboxPayload { events, notices: stored_notices(&self.notices) }
    }

    /// How much of it there is.
    pub(super) fn size(&self) -> i64 {
        i64::try_from(self.events.len() + self.notices.len()).unwrap_or(i64::MAX)
    }

    /// What is to be told, once committed.
    pub(super) fn into_committed(self, outbox: Option<OutboxId>) -> Committed {
        Committed { events: self.events, notices: self.notices, outbox }
    }

    /// Gives each newcomer's notice, with the chat as it stands after the whole change.
    pub(super) fn welcome(&mut self, newcomers: impl IntoIterator<Item = (UserId, Seq)>, view: &Chat) {
        let (chat_id, view) = (self.chat.id, Arc::new(view.clone()));
        self.notices.extend(newcomers.into_iter().map(|(user_id, seq)| UserNotice {
            user_id,
            chat_id,
            seq,
            body: NoticeBody::ChatAdded(view.clone()),
        }));
    }
}

/// Who was let in.
#[derive(Default)]
pub(super) struct Admission {
    /// Everyone asked for, in that order.
    pub(super) asked: Vec<Member>,
    /// Those who were not members before, with the number of the event that let them in.
    pub(super) newcomers: Vec<(MemberRow, i64)>,
}

/// The columns of an event's row.
pub(super) struct EventColumns {
    pub(super) seq: Seq,
    pub(super) kind: i16,
    pub(super) message_id: Option<MessageId>,
    pub(super) user_id: Option<UserId>,
    pub(super) role: Option<i16>,
}

impl From<&LogEvent> for EventColumns {
    fn from(event: &LogEvent) -> Self {
        let (message_id, member) = match &event.body {
            EventBody::NewMessage { message } | EventBody::MessageEdited { message } => (Some(message.id), None),
            EventBody::MessageDeleted { message_id } => (Some(*message_id), None),
            EventBody::MemberJoined(change) | EventBody::MemberLeft(change) | EventBody::MemberUpdated(change) => {
                (None, Some(change))
            }
            EventBody::ChatUpdated { .. } | EventBody::ChatDeleted { .. } | EventBody::Unknown { .. } => (None, None),
        };
        Self {
            seq: event.seq,
            kind: i16::from(event.kind().byte()),
            message_id,
            user_id: member.map(|change| change.user_id),
            role: member.map(|change| role_number(change.role)),
        }
    }
}

/// What the outbox keeps: names of events and notices, never a text.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OutboxPayload {
    /// Chat, first and last number.
    pub(super) events: Vec<(ChatId, Seq, Seq)>,
    /// In the order told.
    pub(super) notices: Vec<StoredNotice>,
}

impl OutboxPayload {
    /// What an entry's row says; `None`, and told to the log, where it cannot be read.
    pub(super) fn read(id: i64, payload: &str) -> Option<(OutboxId, Self)> {
        match serde_json::from_str(payload) {
            Ok(payload) => Some((OutboxId(id), payload)),
            Err(error) => {
                tracing::error!(outbox.id = id, %error, "an outbox entry cannot be read");
                None
            }
        }
    }
}

/// Notices of one kind because of one event. A private chat's `NewMessage` is not stored: the event implies it.
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

/// What the outbox keeps of these.
pub(super) fn stored_notices(notices: &[UserNotice]) -> Vec<StoredNotice> {
    let mut stored: Vec<StoredNotice> = Vec::new();
    for notice in notices {
        let kind = match notice.body {
            NoticeBody::ChatAdded(_) => StoredNoticeKind::Added,
            NoticeBody::ChatRemoved => StoredNoticeKind::Removed,
            NoticeBody::NewMessage(_) => continue,
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

/// What a relay tells of an entry that it found: its events as they stand now, the notices kept of it, and those that the events imply.
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
    let mut shared: Option<Arc<Chat>> = None;
    for stored in &payload.notices {
        for user in &stored.users {
            let body = match stored.kind {
                StoredNoticeKind::Removed => NoticeBody::ChatRemoved,
                // Who has left since is told nothing: the removal has its own entry.
                StoredNoticeKind::Added => match seen.get(&(stored.chat, *user)) {
                    Some(chat) if chat.role.is_some() => {
                        let view = shared.take().filter(|last| **last == *chat);
                        let view = view.unwrap_or_else(|| Arc::new(chat.clone()));
                        shared = Some(view.clone());
                        NoticeBody::ChatAdded(view)
                    }
                    _ => continue,
                },
            };
            notices.push(UserNotice { user_id: *user, chat_id: stored.chat, seq: stored.seq, body });
        }
    }
    Committed { events, notices, outbox: Some(outbox) }
}

/// A private chat's message is told to both users beside the sequence.
pub(super) fn private_notices(message: &Message, pair: [UserId; 2]) -> impl Iterator<Item = UserNotice> + '_ {
    pair.into_iter().map(|user_id| UserNotice {
        user_id,
        chat_id: message.chat_id,
        seq: message.seq,
        body: NoticeBody::NewMessage(Box::new(message.clone())),
    })
}

/// Rights to read a chat's content: `ChatNotFound` (also a private chat of others), `NotAMember`.
pub(super) fn may_read(is_group: bool, is_member: bool) -> Result<()> {
    match (is_member, is_group) {
        (true, _) => Ok(()),
        (false, true) => Err(Error::NotAMember),
        (false, false) => Err(Error::ChatNotFound),
    }
}

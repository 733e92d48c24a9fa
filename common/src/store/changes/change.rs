//! A change of one chat under its lock: the rights to make it, its events and its notices.

use crate::error::{Error, Result};
use crate::event::{EventBody, LogEvent, MemberChange};
use crate::id::{Seq, UserId};
use crate::model::{Chat, Member, Message, Role};
use crate::store::chats::ChatRow;
use crate::store::entry::EventColumns;
use crate::store::messages::stored_users;
use crate::store::outbox::{OutboxPayload, stored_mentions, stored_notices};
use crate::store::stored_time::Time;
use crate::store::{ChatPatch, Committed, NoticeBody, OutboxId, UserNotice};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A chat as it stands under its lock, and what the transaction makes of it.
pub(in crate::store) struct Change {
    /// The row as it will be written.
    pub(in crate::store) chat: ChatRow,
    /// The role of the user who acts.
    pub(super) role: Option<Role>,
    /// The database's time, read after the lock.
    pub(in crate::store) at: Time,
    events: Vec<LogEvent>,
    notices: Vec<UserNotice>,
}

impl Change {
    /// Of a chat that was read under its lock. `ChatNotFound` where it is deleted, or where it
    /// exists for its members only and the user is none.
    pub(super) fn new(chat: Option<ChatRow>, role: Option<Role>, at: Time) -> Result<Self> {
        match chat {
            Some(chat) if !chat.is_deleted && (chat.is_open() || role.is_some()) => {
                Ok(Self { chat, role, at, events: Vec::new(), notices: Vec::new() })
            }
            _ => Err(Error::ChatNotFound),
        }
    }

    /// The same for a user who holds an invitation. `InviteNotFound` where the chat is deleted, or
    /// no group.
    pub(super) fn invited(chat: Option<ChatRow>, role: Option<Role>, at: Time) -> Result<Self> {
        match chat {
            Some(chat) if !chat.is_deleted && chat.is_group => {
                Ok(Self { chat, role, at, events: Vec::new(), notices: Vec::new() })
            }
            _ => Err(Error::InviteNotFound),
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

    /// An owner of a group, either user of a private chat. `NotAMember`, `NotOwner`.
    pub(super) fn require_host(&self) -> Result<()> {
        let role = self.require_member()?;
        if role == Role::Owner || !self.chat.is_group { Ok(()) } else { Err(Error::NotOwner) }
    }

    /// `NotAMember`, `PrivateChat`, `NotOwner`.
    pub(super) fn require_owner(&self) -> Result<()> {
        let role = self.require_member()?;
        self.require_group()?;
        if role == Role::Owner { Ok(()) } else { Err(Error::NotOwner) }
    }

    /// `NotAuthor`. `NotAMember` for an author who left, `MessageNotFound` for anyone else who may
    /// not see the message.
    pub(super) fn require_author(&self, message: &Message, user: UserId) -> Result<()> {
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

    /// Notifies a user beside the sequence, because of the newest event.
    pub(super) fn notify(&mut self, user_id: UserId, body: NoticeBody) {
        self.notices.push(UserNotice { user_id, chat_id: self.chat.id, seq: self.chat.seq, body });
    }

    /// Adds those asked for who are not members yet, in the order asked. `Invalid` on `user_ids`
    /// where one is neither a member nor a candidate, `GroupFull`.
    pub(super) fn admit(
        &mut self,
        ids: &[UserId],
        present: Vec<Member>,
        candidates: Vec<Member>,
        max_members: i64,
    ) -> Result<Admission> {
        let room = max_members - self.chat.member_count;
        let mut fresh: HashSet<UserId> = candidates.iter().map(|member| member.user_id).collect();
        let known: HashMap<UserId, Member> =
            present.into_iter().chain(candidates).map(|member| (member.user_id, member)).collect();
        let mut admission = Admission::default();
        for id in ids {
            let Some(member) = known.get(id) else {
                return Err(Error::invalid("user_ids", format!("{id} is not a user")));
            };
            if fresh.remove(id) {
                let seq = self.joined(member);
                admission.newcomers.push((member.clone(), seq));
            }
            admission.asked.push(member.clone());
        }
        if i64::try_from(admission.newcomers.len()).unwrap_or(i64::MAX) > room.max(0) {
            return Err(Error::GroupFull);
        }
        Ok(admission)
    }

    /// A user joined: the event. The notice follows once the user sees the chat
    /// ([`Self::welcome`]).
    pub(super) fn joined(&mut self, member: &Member) -> Seq {
        self.chat.member_count += 1;
        self.push(EventBody::MemberJoined(MemberChange::from(member)))
    }

    /// A member left or was removed. When the last one leaves, the chat is deleted.
    pub(super) fn left(&mut self, member: &Member) {
        self.chat.member_count -= 1;
        self.push(EventBody::MemberLeft(MemberChange::from(member)));
        self.notify(member.user_id, NoticeBody::ChatRemoved);
        if self.chat.member_count == 0 {
            self.deleted();
        }
    }

    /// Deletes the chat: its last event.
    pub(super) fn deleted(&mut self) {
        self.chat.member_count = 0;
        self.chat.is_deleted = true;
        let chat = Chat { seq: self.chat.seq.next(), ..self.chat.to_shared() };
        self.push(EventBody::ChatDeleted { chat });
    }

    /// Changes name and description. False: they were the same before.
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
    pub(in crate::store) fn columns(&self) -> impl Iterator<Item = EventColumns> + '_ {
        self.events.iter().map(|event| {
            let deletes = matches!(event.body, EventBody::ChatDeleted { .. });
            EventColumns {
                notified: deletes.then(|| self.removed_by(event.seq)).flatten(),
                ..EventColumns::from(event)
            }
        })
    }

    /// The users who lose the chat by that event.
    fn removed_by(&self, seq: Seq) -> Option<String> {
        let removed = self.notices.iter().filter(|one| one.seq == seq && one.body == NoticeBody::ChatRemoved);
        stored_users(&removed.map(|one| one.user_id).collect::<Vec<_>>())
    }

    /// Its outbox entry.
    pub(super) fn payload(&self) -> OutboxPayload {
        let events = match (self.events.first(), self.events.last()) {
            (Some(first), Some(last)) => vec![(self.chat.id, first.seq, last.seq)],
            _ => Vec::new(),
        };
        let (notices, mentioned) = (stored_notices(&self.notices), stored_mentions(&self.notices));
        OutboxPayload { events, notices, mentioned, settings: Vec::new() }
    }

    /// Its events and notices, to be published once committed.
    pub(super) fn into_committed(self, outbox: OutboxId) -> Committed {
        Committed { events: self.events, notices: self.notices, outbox: Some(outbox), traced: Vec::new() }
    }

    /// Notifies each newcomer, with the chat as it stands after the whole change.
    pub(super) fn welcome(&mut self, newcomers: impl IntoIterator<Item = (UserId, Seq)>, view: &Chat) {
        let (chat_id, view) = (self.chat.id, Arc::new(view.clone().for_all()));
        self.notices.extend(newcomers.into_iter().map(|(user_id, seq)| UserNotice {
            user_id,
            chat_id,
            seq,
            body: NoticeBody::ChatAdded(view.clone()),
        }));
    }
}

/// The users who were let in.
#[derive(Default)]
pub(super) struct Admission {
    /// Everyone asked for, in that order.
    pub(super) asked: Vec<Member>,
    /// Those who were not members before, with the number of the event that let them in.
    pub(super) newcomers: Vec<(Member, Seq)>,
}

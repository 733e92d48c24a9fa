//! An entry of the log and the row that keeps it: one codec, the same for both back ends.

use super::log::LogPage;
use super::members::{role, role_number};
use super::messages::MessageRow;
use super::stored_time::Time;
use crate::event::{EventBody, EventKind, LogEvent, MemberChange, PinChange, ReactionChange};
use crate::id::{ChatId, MessageId, Seq, UserId};
use crate::model::Chat;
use sqlx::FromRow;

// The columns that a [`LogRow`] reads: of an event `e`, its chat `c`, its message `x` by `a`, its
// user `u`. The texts of a deleted chat count as erased, although pruning has not come to them
// yet.
macro_rules! log_columns {
    () => {
        concat!(
            "c.id as chat_id, c.seq as head, c.floor, e.seq, e.kind, e.created_at as committed_at, e.message_id, e.user_id,
             u.username, e.role, e.emoji, e.emoji_count,
             case when e.kind in ",
            $crate::store::kinds::kinds!(of_the_chat),
            " then c.name end as chat_name, case when e.kind in ",
            $crate::store::kinds::kinds!(of_the_chat),
            " then c.description end as chat_description, case when e.kind in ",
            $crate::store::kinds::kinds!(of_the_chat),
            " then c.is_group end as chat_is_group, case when e.kind in ",
            $crate::store::kinds::kinds!(of_the_chat),
            " then c.is_public end as chat_is_public, case when e.kind in ",
            $crate::store::kinds::kinds!(of_the_chat),
            " then c.created_at end as chat_created_at, case when e.kind in ",
            $crate::store::kinds::kinds!(of_the_chat),
            " then c.member_count end as chat_member_count, ",
            $crate::store::messages::message_columns!(
                "case when c.deleted_at is null and x.deleted_at is null then x.text else '' end",
                "(x.deleted_at is not null or c.deleted_at is not null)"
            )
        )
    };
}
pub(super) use log_columns;

/// The columns of an event's row.
pub(super) struct EventColumns {
    pub(super) seq: Seq,
    pub(super) kind: i16,
    pub(super) message_id: Option<MessageId>,
    pub(super) user_id: Option<UserId>,
    pub(super) role: Option<i16>,
    pub(super) emoji: Option<String>,
    pub(super) emoji_count: Option<i64>,
    /// The users whom it notifies beside those that it names, as JSON.
    pub(super) notified: Option<String>,
}

impl From<&LogEvent> for EventColumns {
    fn from(event: &LogEvent) -> Self {
        let (message_id, member) = match &event.body {
            EventBody::NewMessage { message } | EventBody::MessageEdited { message } => (Some(message.id), None),
            EventBody::MemberJoined(change) | EventBody::MemberLeft(change) | EventBody::MemberUpdated(change) => {
                (None, Some(change))
            }
            EventBody::MessageDeleted { message_id }
            | EventBody::ReactionAdded(ReactionChange { message_id, .. })
            | EventBody::ReactionRemoved(ReactionChange { message_id, .. })
            | EventBody::MessagePinned(PinChange { message_id, .. })
            | EventBody::MessageUnpinned(PinChange { message_id, .. }) => (Some(*message_id), None),
            EventBody::ChatUpdated { .. } | EventBody::ChatDeleted { .. } | EventBody::Unknown { .. } => (None, None),
        };
        let (actor, reaction) = match &event.body {
            EventBody::ReactionAdded(change) | EventBody::ReactionRemoved(change) => {
                (Some(change.user_id), Some(change))
            }
            EventBody::MessagePinned(change) | EventBody::MessageUnpinned(change) => (Some(change.user_id), None),
            _ => (None, None),
        };
        Self {
            seq: event.seq,
            kind: i16::from(event.kind().byte()),
            message_id,
            user_id: member.map(|change| change.user_id).or(actor),
            role: member.map(|change| role_number(change.role)),
            emoji: reaction.map(|change| change.emoji.clone()),
            emoji_count: reaction.map(|change| change.count),
            notified: None,
        }
    }
}

/// One entry of the log, joined with what it speaks of as that stands now.
#[derive(FromRow)]
pub(super) struct LogRow {
    pub(super) chat_id: ChatId,
    pub(super) head: Seq,
    pub(super) floor: Seq,
    seq: Option<Seq>,
    kind: Option<i16>,
    committed_at: Option<Time>,
    message_id: Option<MessageId>,
    user_id: Option<UserId>,
    username: Option<String>,
    role: Option<i16>,
    emoji: Option<String>,
    emoji_count: Option<i64>,
    chat_name: Option<String>,
    chat_description: Option<String>,
    chat_is_group: Option<bool>,
    chat_is_public: Option<bool>,
    chat_created_at: Option<Time>,
    chat_member_count: Option<i64>,
    #[sqlx(flatten)]
    message: MessageRow,
}

/// The page of a piece's rows, which name its chat even where it is empty; `None` without any.
pub(super) fn page(rows: impl IntoIterator<Item = LogRow>) -> Option<LogPage> {
    let mut rows = rows.into_iter().peekable();
    let (head, floor) = rows.peek().map(|row| (row.head, row.floor))?;
    Some(LogPage { events: rows.filter_map(LogRow::into_event).collect(), head, floor })
}

impl LogRow {
    /// `None` where the outer join found no event. An entry that this release cannot read becomes
    /// [`EventBody::Unknown`]: a number left out would stop the chat for good on every gateway that
    /// reads it.
    pub(super) fn into_event(self) -> Option<LogEvent> {
        let (chat_id, seq, number, committed_at) = (self.chat_id, self.seq?, self.kind?, self.committed_at?.0);
        let byte = u8::try_from(number).unwrap_or(u8::MAX);
        let kind = EventKind::from_byte(byte);
        let Some(body) = self.into_body(kind, seq) else {
            if EventKind::KNOWN.contains(&kind) {
                tracing::error!(chat.id = %chat_id, %seq, event.kind = number, "an entry of the log lacks its columns");
            }
            // A stand-in ends no subscription. A removal that cannot be read stays a hole instead:
            // gateways read everyone's rights anew behind it (G6).
            let removes = matches!(kind, EventKind::MemberLeft | EventKind::ChatDeleted);
            let body = EventBody::Unknown { kind: byte };
            return (!removes).then_some(LogEvent { chat_id, seq, committed_at, body });
        };
        Some(LogEvent { chat_id, seq, committed_at, body })
    }

    /// `None` for a kind that the log of this release does not have, and where a column that the
    /// kind needs is missing.
    fn into_body(self, kind: EventKind, seq: Seq) -> Option<EventBody> {
        Some(match kind {
            EventKind::NewMessage => EventBody::NewMessage { message: self.message.into_message(self.chat_id)? },
            EventKind::MessageEdited => EventBody::MessageEdited { message: self.message.into_message(self.chat_id)? },
            EventKind::MessageDeleted => EventBody::MessageDeleted { message_id: self.message_id? },
            EventKind::MemberJoined => EventBody::MemberJoined(self.into_member_change()?),
            EventKind::MemberLeft => EventBody::MemberLeft(self.into_member_change()?),
            EventKind::MemberUpdated => EventBody::MemberUpdated(self.into_member_change()?),
            EventKind::ChatUpdated => EventBody::ChatUpdated { chat: self.into_chat(seq)? },
            EventKind::ChatDeleted => EventBody::ChatDeleted { chat: self.into_chat(seq)? },
            EventKind::ReactionAdded => EventBody::ReactionAdded(self.into_reaction()?),
            EventKind::ReactionRemoved => EventBody::ReactionRemoved(self.into_reaction()?),
            EventKind::MessagePinned => EventBody::MessagePinned(self.into_pin()?),
            EventKind::MessageUnpinned => EventBody::MessageUnpinned(self.into_pin()?),
            EventKind::ChatAdded
            | EventKind::ChatRemoved
            | EventKind::UserStatus
            | EventKind::Typing
            | EventKind::MessageRead
            | EventKind::Mentioned
            | EventKind::ChatSettings
            | EventKind::Unknown(_) => return None,
        })
    }

    fn into_member_change(self) -> Option<MemberChange> {
        Some(MemberChange { user_id: self.user_id?, username: self.username?, role: role(self.role?) })
    }

    fn into_reaction(self) -> Option<ReactionChange> {
        Some(ReactionChange {
            message_id: self.message_id?,
            user_id: self.user_id?,
            emoji: self.emoji?,
            count: self.emoji_count?,
        })
    }

    fn into_pin(self) -> Option<PinChange> {
        Some(PinChange { message_id: self.message_id?, user_id: self.user_id? })
    }

    fn into_chat(self, seq: Seq) -> Option<Chat> {
        Some(Chat {
            id: self.chat_id,
            name: self.chat_name?,
            description: self.chat_description,
            is_group: self.chat_is_group?,
            is_public: self.chat_is_public?,
            created_at: self.chat_created_at?.0,
            seq,
            role: None,
            member_count: self.chat_member_count?,
            last_message: None,
            unread_count: None,
            mention_count: None,
            settings: None,
            peer: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::model::{Message, Reaction, Role};
    use crate::store::kinds::kinds;
    use time::OffsetDateTime;

    const CHAT: ChatId = ChatId(7);
    const SEQ: Seq = Seq(9);
    const AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn message() -> Message {
        Message {
            id: MessageId(3),
            chat_id: CHAT,
            author_id: UserId(4),
            author_username: "ann".into(),
            author_display_name: Some("Ann".into()),
            text: "text".into(),
            created_at: AT,
            is_edited: true,
            edited_at: Some(AT),
            is_deleted: false,
            seq: Seq(2),
            client_message_id: Some("key".into()),
            reply_to_id: Some(MessageId(1)),
            reactions: vec![Reaction { emoji: "👍".into(), count: 2, me: None }],
            mentions: vec![UserId(5)],
        }
    }

    fn member(role: Role) -> MemberChange {
        MemberChange { user_id: UserId(5), username: "ben".into(), role }
    }

    fn chat() -> Chat {
        Chat {
            id: CHAT,
            name: "group".into(),
            description: Some("about".into()),
            is_group: true,
            is_public: true,
            created_at: AT,
            seq: SEQ,
            role: None,
            member_count: 2,
            last_message: None,
            unread_count: None,
            mention_count: None,
            settings: None,
            peer: None,
        }
    }

    /// The row that a replay reads for these columns: it joins the message, the user and the chat,
    /// each only where the kind asks for it.
    fn joined(columns: &EventColumns) -> LogRow {
        let kind = columns.kind.to_string();
        let listed = |list: &str| list.trim_matches(['(', ')']).split(", ").any(|one| one == kind);
        let (with_message, with_chat) = (listed(kinds!(of_a_message)), listed(kinds!(of_the_chat)));
        let message = columns.message_id.filter(|_| with_message).map(|_| message());
        let chat = with_chat.then(chat);
        LogRow {
            chat_id: CHAT,
            head: SEQ,
            floor: Seq(0),
            seq: Some(columns.seq),
            kind: Some(columns.kind),
            committed_at: Some(Time(AT)),
            message_id: columns.message_id,
            user_id: columns.user_id,
            username: columns.user_id.map(|_| "ben".into()),
            role: columns.role,
            emoji: columns.emoji.clone(),
            emoji_count: columns.emoji_count,
            chat_name: chat.as_ref().map(|chat| chat.name.clone()),
            chat_description: chat.as_ref().and_then(|chat| chat.description.clone()),
            chat_is_group: chat.as_ref().map(|chat| chat.is_group),
            chat_is_public: chat.as_ref().map(|chat| chat.is_public),
            chat_created_at: chat.as_ref().map(|chat| Time(chat.created_at)),
            chat_member_count: chat.map(|chat| chat.member_count),
            message: MessageRow::of(message.as_ref()),
        }
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        let bodies = [
            EventBody::NewMessage { message: message() },
            EventBody::MessageEdited { message: message() },
            EventBody::MessageDeleted { message_id: MessageId(3) },
            EventBody::MemberJoined(member(Role::Member)),
            EventBody::MemberLeft(member(Role::Owner)),
            EventBody::MemberUpdated(member(Role::Owner)),
            EventBody::ChatUpdated { chat: chat() },
            EventBody::ChatDeleted { chat: chat() },
        ];
        let reaction = ReactionChange { message_id: MessageId(3), user_id: UserId(5), emoji: "👍".into(), count: 2 };
        let pin = PinChange { message_id: MessageId(3), user_id: UserId(5) };
        let later = [
            (14, EventBody::ReactionAdded(reaction.clone())),
            (15, EventBody::ReactionRemoved(reaction)),
            (16, EventBody::MessagePinned(pin.clone())),
            (17, EventBody::MessageUnpinned(pin)),
            (20, EventBody::Unknown { kind: 20 }),
            (255, EventBody::Unknown { kind: 255 }),
        ];
        for (number, body) in (1..).zip(bodies).chain(later) {
            let event = LogEvent { chat_id: CHAT, seq: SEQ, committed_at: AT, body };
            let columns = EventColumns::from(&event);
            assert_eq!(columns.kind, number, "the kinds are tried in order, none is left out");
            assert_eq!(joined(&columns).into_event(), Some(event));
        }
        for kind in [20, 255] {
            let event = LogEvent { chat_id: CHAT, seq: SEQ, committed_at: AT, body: EventBody::Unknown { kind } };
            assert_eq!(joined(&EventColumns::from(&event)).into_event(), Some(event));
        }
    }
}

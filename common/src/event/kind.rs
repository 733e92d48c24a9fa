//! The kinds of event: one row a word. From this list come the bytes of the log and of the
//! envelope, the client's `type`, and the label of `messenger_ws_deliveries_total`.

use crate::label::label;

label!(
    /// The kind of a frame that a gateway delivers. The next new one gets byte 20.
    ///
    /// Bytes are for ever, and each stands for one kind whether it is sequenced or not. An older
    /// gateway delivers a kind that it does not know and does nothing else with it: an event that
    /// ends subscriptions stays `member_left` or `chat_deleted`.
    #[allow(missing_docs, reason = "each is the client's event of that name")]
    EventKind "type" {
        NewMessage = 1 "new_message",
        MessageEdited = 2 "message_edited",
        MessageDeleted = 3 "message_deleted",
        MemberJoined = 4 "member_joined",
        MemberLeft = 5 "member_left",
        MemberUpdated = 6 "member_updated",
        ChatUpdated = 7 "chat_updated",
        ChatDeleted = 8 "chat_deleted",
        ChatAdded = 9 "chat_added",
        ChatRemoved = 10 "chat_removed",
        UserStatus = 11 "user_status",
        Typing = 12 "typing",
        MessageRead = 13 "message_read",
        ReactionAdded = 14 "reaction_added",
        ReactionRemoved = 15 "reaction_removed",
        MessagePinned = 16 "message_pinned",
        MessageUnpinned = 17 "message_unpinned",
        Mentioned = 18 "mentioned",
        ChatSettings = 19 "chat_settings",
    } else Unknown = "unknown"
);

impl EventKind {
    /// Whether it has a number in its chat's sequence. Of an unknown one only its envelope says so:
    /// taken for sequenced.
    pub const fn is_sequenced(self) -> bool {
        match self {
            Self::NewMessage
            | Self::MessageEdited
            | Self::MessageDeleted
            | Self::MemberJoined
            | Self::MemberLeft
            | Self::MemberUpdated
            | Self::ChatUpdated
            | Self::ChatDeleted
            | Self::ReactionAdded
            | Self::ReactionRemoved
            | Self::MessagePinned
            | Self::MessageUnpinned
            | Self::Unknown(_) => true,
            Self::ChatAdded
            | Self::ChatRemoved
            | Self::UserStatus
            | Self::Typing
            | Self::MessageRead
            | Self::Mentioned
            | Self::ChatSettings => false,
        }
    }

    /// Whether a replay bears earlier events otherwise than they were delivered: kept copies of
    /// them are no longer true. An unknown kind may do so. A reaction does not: its event bears the
    /// count of its time and follows the message in every replay.
    pub const fn rewrites_history(self) -> bool {
        matches!(self, Self::MessageEdited | Self::MessageDeleted | Self::ChatUpdated | Self::Unknown(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_kind_and_comes_back() {
        for byte in 0..=u8::MAX {
            let kind = EventKind::from_byte(byte);
            assert_eq!(kind.byte(), byte);
            assert_eq!(EventKind::KNOWN.contains(&kind), (1..=19).contains(&byte), "{kind:?}");
        }
    }

    #[test]
    fn twelve_kinds_are_sequenced_and_an_unknown_one_is_treated_with_care() {
        let sequenced: Vec<u8> = EventKind::KNOWN.iter().filter(|kind| kind.is_sequenced()).map(|k| k.byte()).collect();
        assert_eq!(sequenced, [1, 2, 3, 4, 5, 6, 7, 8, 14, 15, 16, 17]);
        assert!(EventKind::Unknown(99).is_sequenced() && EventKind::Unknown(99).rewrites_history());
    }
}

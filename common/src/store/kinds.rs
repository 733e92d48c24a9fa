//! The kinds of events as statements name them. A test holds them against [`EventKind`].
//!
//! [`EventKind`]: crate::event::EventKind

macro_rules! kinds {
    // A message that was sent.
    (sent) => {
        "1"
    };
    // A new text of a message.
    (edited) => {
        "2"
    };
    // A user who came into a chat.
    (joined) => {
        "4"
    };
    // Those that a replay joins with their message.
    (of_a_message) => {
        "(1, 2)"
    };
    // Those that a replay joins with their chat.
    (of_the_chat) => {
        "(7, 8)"
    };
    // Those by which a chat is added to users or taken from them.
    (of_coming_and_going) => {
        "(4, 5, 8)"
    };
}
pub(super) use kinds;

#[cfg(test)]
mod tests {
    use crate::event::EventKind::{
        self, ChatDeleted, ChatUpdated, MemberJoined, MemberLeft, MessageEdited, NewMessage,
    };

    #[test]
    fn statements_name_the_kinds_by_their_bytes() {
        let one = |kind: EventKind| kind.byte().to_string();
        let list =
            |kinds: &[EventKind]| format!("({})", kinds.iter().map(|kind| one(*kind)).collect::<Vec<_>>().join(", "));
        assert_eq!(kinds!(sent), one(NewMessage));
        assert_eq!(kinds!(edited), one(MessageEdited));
        assert_eq!(kinds!(joined), one(MemberJoined));
        assert_eq!(kinds!(of_a_message), list(&[NewMessage, MessageEdited]));
        assert_eq!(kinds!(of_the_chat), list(&[ChatUpdated, ChatDeleted]));
        assert_eq!(kinds!(of_coming_and_going), list(&[MemberJoined, MemberLeft, ChatDeleted]));
    }
}

//! The kinds of events, and the reasons of notices, as statements name them. Tests hold them
//! against [`EventKind`] and [`reason`].
//!
//! [`EventKind`]: crate::event::EventKind
//! [`reason`]: super::notices::reason

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

// Why a row of a window is a notice.
macro_rules! reasons {
    (added) => {
        "1"
    };
    (removed) => {
        "2"
    };
    (message) => {
        "3"
    };
    (mentioned) => {
        "4"
    };
    (settings) => {
        "5"
    };
}
pub(super) use reasons;

#[cfg(test)]
mod tests {
    use crate::event::EventKind::{
        self, ChatDeleted, ChatUpdated, MemberJoined, MemberLeft, MessageEdited, NewMessage,
    };
    use crate::store::notices::reason;

    #[test]
    fn statements_name_the_reasons_by_their_numbers() {
        let named = [reasons!(added), reasons!(removed), reasons!(message), reasons!(mentioned), reasons!(settings)];
        let numbers = [reason::ADDED, reason::REMOVED, reason::MESSAGE, reason::MENTIONED, reason::SETTINGS];
        assert_eq!(named, numbers.map(|number| number.to_string()));
    }

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

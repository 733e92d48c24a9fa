//! The words of the WebSocket beside its events: a client's commands, and the codes with which a
//! connection closes.
//!
//! One row a word. The gateway, the metrics and the AsyncAPI document all take them from here.

use crate::event::RevocationReason;
use crate::label::label;

label!(
    /// A client's command.
    CommandType "type" {
        /// `subscribe_chat`.
        SubscribeChat = "subscribe_chat",
        /// `subscribe_chats`.
        SubscribeChats = "subscribe_chats",
        /// `unsubscribe_chat`.
        UnsubscribeChat = "unsubscribe_chat",
        /// `private_message`.
        PrivateMessage = "private_message",
        /// `send_message`.
        SendMessage = "send_message",
        /// `typing`.
        Typing = "typing",
        /// `read`.
        Read = "read",
        /// `authenticate`.
        Authenticate = "authenticate",
        /// `ping`.
        Ping = "ping",
        /// A frame that is no command, or an unknown one.
        Unknown = "unknown",
    }
);

/// The client's next step after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Reconnect after a random wait.
    Reconnect,
    /// Refresh the access token, then reconnect.
    Refresh,
    /// Do not reconnect: the same would happen again.
    Stop,
}

impl Advice {
    /// The same in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Reconnect => "Reconnect after a random wait.",
            Self::Refresh => "Refresh the token, then reconnect.",
            Self::Stop => "Do not reconnect.",
        }
    }
}

macro_rules! close_codes {
    ($($(#[doc = $about:literal])+ $variant:ident = $number:literal $advice:ident $reason:literal,)*) => {
        /// Why a connection ends. From 4000 on the range decides what the client does: up to
        /// 4499 it comes back, above it does not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode {
            $($(#[doc = $about])+ $variant = $number,)*
        }

        impl CloseCode {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The number in digits.
            pub const fn digits(self) -> &'static str {
                match self { $(Self::$variant => stringify!($number),)* }
            }

            /// The text in the close frame.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$variant => $reason,)* }
            }

            /// Its meaning, in a sentence or two.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($about),+),)* }
            }

            /// The client's next step.
            pub const fn advice(self) -> Advice {
                match self { $(Self::$variant => Advice::$advice,)* }
            }
        }
    };
}

close_codes! {
    /// The client closed the connection.
    Normal = 1000 Stop "",
    /// The server or the page is going away.
    GoingAway = 1001 Reconnect "going away",
    /// A frame broke the WebSocket protocol (RFC 6455).
    Protocol = 1002 Stop "protocol error",
    /// A binary frame came. Send text frames only.
    Binary = 1003 Stop "text frames only",
    /// The close frame had no code.
    NoCode = 1005 Reconnect "",
    /// The connection broke without a close frame.
    Lost = 1006 Reconnect "",
    /// The text of a frame was not UTF-8.
    NotUtf8 = 1007 Stop "text must be UTF-8",
    /// A frame was over the limit.
    TooBig = 1009 Stop "frame over the limit",
    /// The server failed.
    Failed = 1011 Reconnect "internal error",
    /// This node is shutting down. The reason is `{"reconnect_after_ms": N}`: wait that long.
    Draining = 1012 Reconnect "draining",
    /// The access token has expired.
    TokenExpired = 4401 Refresh "token expired",
    /// No pong came in time.
    Silent = 4408 Reconnect "no pong in time",
    /// The client read nothing for too long.
    SlowReader = 4409 Reconnect "nothing read for too long",
    /// More notices waited for the client than may be queued, and some are lost. After you
    /// reconnect, fetch your chats over REST.
    TooManyNotices = 4410 Reconnect "too many notices wait",
    /// The client sent too many commands for too long.
    TooManyCommands = 4429 Reconnect "too many commands",
    /// The token is missing or invalid.
    TokenInvalid = 4501 Stop "token missing or invalid",
    /// The session has ended: a logout, a new password, or a refresh token that was used twice.
    SessionEnded = 4502 Stop "session ended",
    /// The account is disabled.
    AccountDisabled = 4503 Stop "account disabled",
    /// The user has too many connections on this gateway, and this one was silent the longest.
    TooManyConnections = 4504 Stop "too many connections",
}

impl CloseCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The one of that number, if the contract has it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

impl From<RevocationReason> for CloseCode {
    fn from(reason: RevocationReason) -> Self {
        match reason {
            RevocationReason::SessionEnded => Self::SessionEnded,
            RevocationReason::AccountDisabled => Self::AccountDisabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_close_code_says_whether_the_client_comes_back() {
        assert!(CloseCode::ALL.is_sorted_by_key(|code| code.number()));
        for &code in CloseCode::ALL {
            assert_eq!(CloseCode::from_number(code.number()), Some(code));
            assert_eq!(code.digits(), code.number().to_string());
            if code.number() >= 4000 {
                assert_eq!(code.advice() == Advice::Stop, code.number() >= 4500, "{code:?}");
                assert!(!code.reason().is_empty() && code.reason().len() <= 123, "{code:?}");
            }
        }
        assert_eq!(CloseCode::from_number(3999), None);
    }
}

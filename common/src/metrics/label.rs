//! The labels of the metrics: closed sets, so that every series stands at 0 from the start.

use crate::label::{Label, label};

label!(
    /// A client's command.
    CommandType "type" {
        /// `subscribe_chat`.
        SubscribeChat = "subscribe_chat",
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

label!(
    /// What came of a command.
    CommandResult "result" {
        /// Done.
        Ok = "ok",
        /// Answered with an error that the client caused.
        Error = "error",
        /// Over the rate.
        RateLimited = "rate_limited",
        /// A back end was away, or a fault of our own.
        Failed = "failed",
    }
);

label!(
    /// What came of a publication.
    PublishResult "result" {
        /// The bus took it.
        Ok = "ok",
        /// It did not; the relay will try again.
        Error = "error",
        /// The publisher's queue was full; the relay will publish it.
        Dropped = "dropped",
    }
);

label!(
    /// Why a gateway read the log.
    GapCause "cause" {
        /// A number jumped.
        Jump = "jump",
        /// The bus link came back.
        LinkRestored = "link_restored",
        /// A head was compared and found ahead.
        HeadCheck = "head_check",
        /// A slow reader reads again.
        CatchUp = "catch_up",
        /// A subscription with `after_seq`.
        Replay = "replay",
    }
);

label!(
    /// What came of an attempt to log in, refresh, or come in with a token.
    AuthResult "result" {
        /// Let in.
        Ok = "ok",
        /// Wrong name or password.
        BadCredentials = "bad_credentials",
        /// The account is deactivated.
        AccountDisabled = "account_disabled",
        /// A token that is none of ours, or of an ended session.
        TokenInvalid = "token_invalid",
        /// A token past its time.
        TokenExpired = "token_expired",
        /// A spent refresh token.
        TokenReused = "token_reused",
        /// Over the rate.
        RateLimited = "rate_limited",
        /// A back end was away, or a fault of our own.
        Failed = "failed",
    }
);

label!(
    /// A limit of section 5 that is counted.
    RateLimit "limit" {
        /// `RATE_MESSAGES_PER_SECOND`.
        Messages = "messages",
        /// `RATE_COMMANDS_PER_SECOND`.
        Commands = "commands",
        /// `RATE_LOGINS_PER_MINUTE`.
        Logins = "logins",
        /// `RATE_REGISTRATIONS_PER_MINUTE`.
        Registrations = "registrations",
        /// Any other.
        Other = "other",
    }
);

impl RateLimit {
    /// The limit of that name.
    pub fn named(name: &str) -> Self {
        Self::ALL.iter().copied().find(|limit| limit.value() == name).unwrap_or(Self::Other)
    }
}

label!(
    /// What a pool's connection does.
    PoolUse "state" {
        /// Working.
        InUse = "in_use",
        /// Open and waiting.
        Idle = "idle",
    }
);

/// How a WebSocket ended: its close code, as far as it is one that the contract knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(usize);

const CLOSE_CODES: [(u16, &str); 18] = [
    (1000, "1000"),
    (1001, "1001"),
    (1002, "1002"),
    (1003, "1003"),
    (1005, "1005"),
    (1006, "1006"),
    (1007, "1007"),
    (1009, "1009"),
    (1011, "1011"),
    (1012, "1012"),
    (4401, "4401"),
    (4408, "4408"),
    (4409, "4409"),
    (4429, "4429"),
    (4501, "4501"),
    (4502, "4502"),
    (4503, "4503"),
    (4504, "4504"),
];
const OTHER_CODE: usize = CLOSE_CODES.len();

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(CLOSE_CODES.iter().position(|(known, _)| *known == code).unwrap_or(OTHER_CODE))
    }
}

impl Label for CloseCode {
    const NAME: &'static str = "code";
    const ALL: &'static [Self] = &{
        let mut all = [Self(0); OTHER_CODE + 1];
        let mut i = 0;
        while i <= OTHER_CODE {
            all[i] = Self(i);
            i += 1;
        }
        all
    };
    fn value(self) -> &'static str {
        CLOSE_CODES.get(self.0).map_or("other", |(_, text)| text)
    }
    fn index(self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    fn indices_are_places<L: Label>() {
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place, "{}", label.value());
        }
    }

    #[test]
    fn every_index_is_its_place() {
        indices_are_places::<CommandType>();
        indices_are_places::<CommandResult>();
        indices_are_places::<PublishResult>();
        indices_are_places::<GapCause>();
        indices_are_places::<AuthResult>();
        indices_are_places::<RateLimit>();
        indices_are_places::<PoolUse>();
        indices_are_places::<EventKind>();
        indices_are_places::<CloseCode>();
    }

    #[test]
    fn an_unknown_close_code_is_other() {
        assert_eq!(CloseCode::from(4409).value(), "4409");
        assert_eq!(CloseCode::from(3999).value(), "other");
    }
}

//! The labels of the metrics: those that only they have. All are closed sets, so that every series
//! stands at 0 from the start.

use crate::label::{Label, label};
use crate::wire::CloseCode;

label!(
    /// The outcome of a command.
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
    /// The outcome of a publication.
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
    /// The outcome of an attempt to log in, refresh, or come in with a token.
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
        /// `RATE_REQUESTS_PER_SECOND`.
        Requests = "requests",
        /// `RATE_COMMANDS_PER_SECOND`.
        Commands = "commands",
        /// `RATE_FRAMES_PER_SECOND`.
        Frames = "frames",
        /// `MAX_CONNECTIONS_PER_ADDRESS`.
        Connections = "connections",
        /// `RATE_LOGINS_PER_MINUTE`.
        Logins = "logins",
        /// `RATE_REGISTRATIONS_PER_MINUTE`.
        Registrations = "registrations",
        /// `RATE_WRONG_PASSWORDS_PER_HOUR`.
        Passwords = "passwords",
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
    /// The state of a pool's connection.
    PoolUse "state" {
        /// Working.
        InUse = "in_use",
        /// Open and waiting.
        Idle = "idle",
    }
);

label!(
    /// What became of a span.
    SpanResult "result" {
        /// The collector took it.
        Exported = "exported",
        /// The collector was away, or refused it.
        Failed = "failed",
        /// Too many waited already.
        Dropped = "dropped",
    }
);

/// How a WebSocket ended: by a close code of the contract, or with another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended(Option<CloseCode>);

impl From<u16> for Ended {
    fn from(number: u16) -> Self {
        Self(CloseCode::from_number(number))
    }
}

impl Label for Ended {
    const NAME: &'static str = "code";
    const ALL: &'static [Self] = &{
        let mut all = [Self(None); CloseCode::ALL.len() + 1];
        let mut i = 0;
        while i < CloseCode::ALL.len() {
            all[i] = Self(Some(CloseCode::ALL[i]));
            i += 1;
        }
        all
    };
    fn value(self) -> &'static str {
        self.0.map_or("other", CloseCode::digits)
    }
    fn index(self) -> usize {
        let known = self.0.and_then(|code| CloseCode::ALL.iter().position(|one| *one == code));
        known.unwrap_or(CloseCode::ALL.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;
    use crate::wire::CommandType;

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
        indices_are_places::<Ended>();
    }

    #[test]
    fn an_unknown_close_code_is_other() {
        assert_eq!(Ended::from(4409).value(), "4409");
        assert_eq!(Ended::from(3999).value(), "other");
    }
}

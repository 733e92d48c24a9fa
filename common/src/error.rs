//! The one error of the rules: a variant is a code of the contract, and REST and WebSocket render
//! the same.
//!
//! Faults of the inside keep their source, are logged once at the edge and answer nothing but a
//! request id.

use crate::event::RevocationReason;
use crate::model::{MAX_INVITES, MAX_PINS, MAX_REACTIONS};
use std::time::Duration;

/// The result of every rule and every back end.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field's name as you wrote it.
    pub field: String,
    /// The fault, in a sentence.
    pub message: String,
}

impl FieldError {
    /// A fault of that field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The faults; each variant has its stable code and its HTTP status.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says it")]
pub enum Error {
    #[error("the body is not valid JSON: {0}")]
    BadJson(String),
    #[error("the request is not valid: {0}")]
    BadRequest(&'static str),
    #[error("log in first: send `Authorization: Bearer <access token>`")]
    Unauthenticated,
    #[error("the token is not valid")]
    TokenInvalid,
    #[error("the token has expired")]
    TokenExpired,
    #[error("this refresh token was used before; its session has ended")]
    TokenReused,
    #[error("the session has ended; log in again")]
    SessionEnded(RevocationReason),
    #[error("the username or the password is wrong")]
    BadCredentials,
    #[error("the account is disabled")]
    AccountDisabled,
    #[error("the current password is wrong")]
    WrongPassword,
    #[error("this path does not exist")]
    NotFound,
    #[error("there is no such chat")]
    ChatNotFound,
    #[error("there is no such invitation; it may have expired, been used up or revoked")]
    InviteNotFound,
    #[error("you cannot register here, or only with an invitation")]
    RegistrationClosed,
    #[error("there is no such message")]
    MessageNotFound,
    #[error("there is no such user")]
    UserNotFound,
    #[error("you have no such session")]
    SessionNotFound,
    #[error("the user is not a member of this chat")]
    MemberNotFound,
    #[error("this path does not accept this method")]
    MethodNotAllowed,
    #[error("the body did not come in time")]
    RequestTimeout,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the path and the query are too long")]
    UriTooLong,
    #[error("the headers are too large or too many")]
    HeadersTooLarge,
    #[error("the body's media type must be {0}")]
    UnsupportedMediaType(&'static str),
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    #[error("the username is taken")]
    UsernameTaken,
    #[error("the e-mail address is taken")]
    EmailTaken,
    #[error("you are not a member of this chat")]
    NotAMember,
    #[error("only an owner of the chat may do this")]
    NotOwner,
    #[error("only the author may do this")]
    NotAuthor,
    #[error("you cannot join, leave or manage a private chat")]
    PrivateChat,
    #[error("a user whom this concerns has blocked you")]
    Blocked,
    #[error("a message takes at most {} different emoji", MAX_REACTIONS)]
    TooManyReactions,
    #[error("a chat takes at most {} pins", MAX_PINS)]
    TooManyPins,
    #[error("a group takes at most {} open invitations: revoke one", MAX_INVITES)]
    TooManyInvites,
    #[error("the group is full")]
    GroupFull,
    #[error("you used this client_message_id for another text")]
    ClientMessageIdReused,
    #[error("you used this Idempotency-Key for another request")]
    IdempotencyKeyReused,
    #[error("the first request with this Idempotency-Key is still running; repeat yours in a second")]
    InProgress,
    #[error("too many requests; try again later")]
    RateLimited { limit: &'static str, retry_after: Duration },
    #[error("you are not subscribed to this chat")]
    NotSubscribed,
    #[error("this connection has too many subscriptions")]
    TooManySubscriptions,
    #[error("this command type is unknown")]
    UnknownType,
    #[error("this path accepts WebSocket upgrades only (version 13)")]
    UpgradeRequired,
    #[error("pages of this origin must not connect")]
    OriginNotAllowed,
    #[error("the service is unavailable; try again soon")]
    Unavailable(#[source] Source),
    #[error("something went wrong on the server")]
    Internal(#[source] Source),
}

/// Where an error of the inside came from.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// One faulty field.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// A back end that is away: 503.
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }

    /// A fault of our own: 500.
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::Internal(source.into())
    }

    /// The contract's word for it.
    pub fn code(&self) -> &'static str {
        self.contract().1
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.contract().0
    }

    /// The text for the client: for a fault of the inside, nothing of the inside.
    pub fn detail(&self) -> String {
        match self {
            Self::Invalid(errors) => {
                let all: Vec<_> = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
                all.join("; ")
            }
            other => other.to_string(),
        }
    }

    /// The source of a fault of the inside, for the log.
    pub fn inside(&self) -> Option<&Source> {
        match self {
            Self::Internal(source) | Self::Unavailable(source) => Some(source),
            _ => None,
        }
    }

    /// The words for a line of the log: the internal fault with all its sources, or its own
    /// words.
    pub fn cause(&self) -> String {
        self.inside().map_or_else(|| self.detail(), |source| chain(&**source))
    }
}

/// The HTTP status and the stable code of each variant, one row each, with an example of what it
/// holds.
macro_rules! contract {
    ($($status:literal $code:literal $variant:ident $(($($value:tt)*))? $({$($field:tt)*})?,)*) => {
        impl Error {
            /// The HTTP status, and the contract's word.
            pub const fn contract(&self) -> (u16, &'static str) {
                match self { $(Self::$variant { .. } => ($status, $code),)* }
            }

            /// One of each variant, in the order of their statuses: the examples of the documents.
            pub fn one_of_each() -> Vec<Self> {
                vec![$(Self::$variant $(($($value)*))? $({$($field)*})?,)*]
            }
        }
    };
}

contract! {
    400 "bad_json" BadJson("EOF while parsing an object at line 1 column 9".to_owned()),
    400 "bad_request" BadRequest("a request bears `Host` once"),
    400 "unknown_type" UnknownType,
    400 "not_subscribed" NotSubscribed,
    400 "too_many_subscriptions" TooManySubscriptions,
    401 "unauthenticated" Unauthenticated,
    401 "token_invalid" TokenInvalid,
    401 "token_invalid" SessionEnded(RevocationReason::SessionEnded),
    401 "token_expired" TokenExpired,
    401 "token_reused" TokenReused,
    401 "bad_credentials" BadCredentials,
    403 "account_disabled" AccountDisabled,
    403 "wrong_password" WrongPassword,
    403 "not_a_member" NotAMember,
    403 "not_owner" NotOwner,
    403 "not_author" NotAuthor,
    403 "private_chat" PrivateChat,
    403 "blocked" Blocked,
    403 "origin_not_allowed" OriginNotAllowed,
    403 "registration_closed" RegistrationClosed,
    404 "not_found" NotFound,
    404 "chat_not_found" ChatNotFound,
    404 "message_not_found" MessageNotFound,
    404 "user_not_found" UserNotFound,
    404 "member_not_found" MemberNotFound,
    404 "invite_not_found" InviteNotFound,
    404 "session_not_found" SessionNotFound,
    405 "method_not_allowed" MethodNotAllowed,
    408 "request_timeout" RequestTimeout,
    409 "username_taken" UsernameTaken,
    409 "email_taken" EmailTaken,
    409 "group_full" GroupFull,
    409 "too_many_reactions" TooManyReactions,
    409 "too_many_pins" TooManyPins,
    409 "too_many_invites" TooManyInvites,
    409 "client_message_id_reused" ClientMessageIdReused,
    409 "in_progress" InProgress,
    413 "too_large" TooLarge(262_144),
    414 "uri_too_long" UriTooLong,
    415 "unsupported_media_type" UnsupportedMediaType("application/json"),
    422 "invalid" Invalid(vec![FieldError::new("field", "is required")]),
    422 "idempotency_key_reused" IdempotencyKeyReused,
    426 "upgrade_required" UpgradeRequired,
    429 "rate_limited" RateLimited { limit: "messages", retry_after: Duration::from_secs(1) },
    431 "headers_too_large" HeadersTooLarge,
    500 "internal" Internal("logged, and shown to nobody".into()),
    503 "unavailable" Unavailable("logged, and shown to nobody".into()),
}

/// An error and all its sources on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let more = source.to_string();
        // Many say their source's words themselves.
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = source.source();
    }
    text.replace(['\n', '\r'], " ")
}

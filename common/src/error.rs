//! The one error of the rules: a variant is a code of the contract, and REST and WebSocket render the same.
//!
//! Faults of the inside keep their source, are logged once at the edge and answer nothing but a request id.

use crate::event::RevocationReason;
use std::time::Duration;

/// The result of every rule and every back end.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One fault of a request that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field's name as the client wrote it.
    pub field: String,
    /// What is wrong with it, in a sentence.
    pub message: String,
}

impl FieldError {
    /// A fault of that field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// What can go wrong; each variant has its stable code and its HTTP status.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says it")]
pub enum Error {
    #[error("the body is not valid JSON: {0}")]
    BadJson(String),
    #[error("log in first: send `Authorization: Bearer <access token>`")]
    Unauthenticated,
    #[error("the token is not valid")]
    TokenInvalid,
    #[error("the token has expired")]
    TokenExpired,
    #[error("the refresh token was used before; its session is ended")]
    TokenReused,
    #[error("the session has ended; log in again")]
    SessionEnded(RevocationReason),
    #[error("username or password is wrong")]
    BadCredentials,
    #[error("the account is disabled")]
    AccountDisabled,
    #[error("the current password is wrong")]
    WrongPassword,
    #[error("there is nothing at this path")]
    NotFound,
    #[error("there is no such chat")]
    ChatNotFound,
    #[error("there is no such message")]
    MessageNotFound,
    #[error("there is no such user")]
    UserNotFound,
    #[error("the user is not a member of this chat")]
    MemberNotFound,
    #[error("this path does not take that method")]
    MethodNotAllowed,
    #[error("the body is over the limit of {0} bytes")]
    TooLarge(usize),
    #[error("the body's media type must be {0}")]
    UnsupportedMediaType(&'static str),
    #[error("the request does not fit")]
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
    #[error("a private chat is neither joined, left nor administered")]
    PrivateChat,
    #[error("the group has as many members as it may")]
    GroupFull,
    #[error("this client_message_id was used for another text")]
    ClientMessageIdReused,
    #[error("too many requests; try again later")]
    RateLimited { limit: &'static str, retry_after: Duration },
    #[error("you are not subscribed to this chat")]
    NotSubscribed,
    #[error("this connection has as many subscriptions as it may")]
    TooManySubscriptions,
    #[error("there is no command of this type")]
    UnknownType,
    #[error("this path is a WebSocket's, version 13")]
    UpgradeRequired,
    #[error("pages of this origin may not connect")]
    OriginNotAllowed,
    #[error("the service cannot answer now; try again soon")]
    Unavailable(#[source] Source),
    #[error("something went wrong inside")]
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
        match self {
            Self::BadJson(_) => "bad_json",
            Self::Unauthenticated => "unauthenticated",
            Self::TokenInvalid | Self::SessionEnded(_) => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::TokenReused => "token_reused",
            Self::BadCredentials => "bad_credentials",
            Self::AccountDisabled => "account_disabled",
            Self::WrongPassword => "wrong_password",
            Self::NotFound => "not_found",
            Self::ChatNotFound => "chat_not_found",
            Self::MessageNotFound => "message_not_found",
            Self::UserNotFound => "user_not_found",
            Self::MemberNotFound => "member_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge(_) => "too_large",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::Invalid(_) => "invalid",
            Self::UsernameTaken => "username_taken",
            Self::EmailTaken => "email_taken",
            Self::NotAMember => "not_a_member",
            Self::NotOwner => "not_owner",
            Self::NotAuthor => "not_author",
            Self::PrivateChat => "private_chat",
            Self::GroupFull => "group_full",
            Self::ClientMessageIdReused => "client_message_id_reused",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotSubscribed => "not_subscribed",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::UnknownType => "unknown_type",
            Self::UpgradeRequired => "upgrade_required",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadJson(_) | Self::UnknownType | Self::NotSubscribed | Self::TooManySubscriptions => 400,
            Self::Unauthenticated
            | Self::TokenInvalid
            | Self::TokenExpired
            | Self::TokenReused
            | Self::SessionEnded(_)
            | Self::BadCredentials => 401,
            Self::AccountDisabled
            | Self::WrongPassword
            | Self::NotAMember
            | Self::NotOwner
            | Self::NotAuthor
            | Self::OriginNotAllowed
            | Self::PrivateChat => 403,
            Self::NotFound | Self::ChatNotFound | Self::MessageNotFound | Self::UserNotFound | Self::MemberNotFound => {
                404
            }
            Self::MethodNotAllowed => 405,
            Self::UsernameTaken | Self::EmailTaken | Self::GroupFull | Self::ClientMessageIdReused => 409,
            Self::TooLarge(_) => 413,
            Self::UnsupportedMediaType(_) => 415,
            Self::UpgradeRequired => 426,
            Self::Invalid(_) => 422,
            Self::RateLimited { .. } => 429,
            Self::Internal(_) => 500,
            Self::Unavailable(_) => 503,
        }
    }

    /// What a client may read of it: for a fault of the inside, nothing of the inside.
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

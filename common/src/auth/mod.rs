//! The caller: tokens, passwords, and revocations of ended sessions.
//!
//! Imports `dispatch`, `store`, `lifecycle` and what lies below them. Keeps the part of G6 (access
//! ends at once) that every program shares.

mod cost;
mod holders;
mod jose;
mod keys;
mod passwords;
mod revocations;
mod tokens;

pub use holders::Holders;
pub use keys::Keys;
pub use passwords::{Asker, PasswordFault, Passwords};
pub use revocations::Revocations;
pub use tokens::{AccessClaims, Tokens};

use crate::id::{SessionId, UserId};
use time::OffsetDateTime;

/// The caller, as a valid access token names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthUser {
    /// The user.
    pub user_id: UserId,
    /// The user's name (names never change).
    pub username: String,
    /// The session that the token belongs to.
    pub session_id: SessionId,
    /// When the token ends, by the second.
    pub expires_at: OffsetDateTime,
}

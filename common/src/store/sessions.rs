//! Login sessions: opened, rotated, ended.

use super::cursor::PageRequest;
use super::stored_time::Time;
use crate::error::Result;
use crate::id::{SessionId, UserId};
use crate::model::{Page, User};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

/// A spent refresh token is taken once more within this time: its answer may have been lost.
pub(super) const REFRESH_REPEATED_WITHIN: Duration = Duration::from_secs(30);
/// A session ends this long after its login, however often it is refreshed.
pub(super) const LONGEST_SESSION: Duration = Duration::from_hours(90 * 24);

/// The random part of a session's tokens. The store keeps its hash: who reads the database holds
/// no token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey([u8; 16]);

impl SessionKey {
    /// A key of these random bytes.
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The form that the store keeps.
    pub fn hash(self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey")
    }
}

impl Serialize for SessionKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(de::Error::custom)?;
        bytes.try_into().map(Self).map_err(|_| de::Error::custom("16 bytes"))
    }
}

/// Sessions of a user that go on at once. Programs that log in at each start never log out; what
/// they leave is kept, listed and ended in bounds.
pub const MOST_SESSIONS: u16 = 500;
/// What a login ends of more. A user may have any number from an earlier release; the next logins
/// end the rest.
pub(super) const ENDED_BY_A_LOGIN: u16 = 100;

/// A session as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user_id: UserId,
    /// The random part of its tokens.
    pub key: SessionKey,
    /// How many refresh tokens were issued before the present one; part of the token.
    pub generation: i64,
}

/// The outcome of spending a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The session goes on under its next generation.
    Rotated(Session, User),
    /// The token was spent before. The session is ended now.
    Reused(Session),
    /// There is no such session, or it has ended or expired.
    Ended,
    /// The account is deactivated.
    Disabled,
}

/// A session as a token's holder is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its user.
    pub user_id: UserId,
    /// The hash of the random part of its tokens; `None` for a session of an earlier release.
    pub key_hash: Option<[u8; 32]>,
    /// Whether it has ended.
    pub ended: bool,
    /// Whether it ended because the account was deactivated.
    pub disabled: bool,
}

/// A session that has ended, for nodes that missed its revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// The session.
    pub id: SessionId,
    /// Its user.
    pub user_id: UserId,
    /// Whether because the account was deactivated.
    pub disabled: bool,
}

/// A session that goes on, as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// The session.
    pub id: SessionId,
    /// When it was opened.
    pub created_at: OffsetDateTime,
    /// When it was opened or last rotated.
    pub last_used_at: OffsetDateTime,
    /// The program that opened it, as it named itself.
    pub user_agent: Option<String>,
}

/// Login sessions. See the store's obligations.
#[async_trait]
pub trait Sessions: Send + Sync + 'static {
    /// Opens a session of generation 0, for a user whose password fitted the hash `verified`. Of
    /// more than [`MOST_SESSIONS`] that go on, some end: first those that were never refreshed,
    /// then those that were the longest ago.
    /// `AccountDisabled`. `BadCredentials` where the account has another hash by now: no session
    /// outlives a change of password.
    async fn create_session(
        &self,
        user: UserId,
        verified: &str,
        key: SessionKey,
        ttl: Duration,
        user_agent: Option<&str>,
    ) -> Result<Session>;
    /// Spends a refresh token: of that user, session, key and generation. Of calls at once one is
    /// `Rotated` to the next generation. The token before the present one is taken once more within
    /// 30 s, for the same next generation; any other spent token ends the session: `Reused`.
    async fn rotate_session(&self, token: Session, ttl: Duration) -> Result<Rotation>;
    /// Ends a session. To end it again is no error.
    async fn end_session(&self, session: SessionId) -> Result<()>;
    /// The user's sessions that have neither ended nor expired, the newest first.
    async fn sessions_of(&self, user: UserId, page: &PageRequest) -> Result<Page<OpenSession>>;
    /// Ends a session of that user. False: the user has no such session that goes on.
    async fn end_session_of(&self, user: UserId, session: SessionId) -> Result<bool>;
    /// Ends all sessions of that user but `keep`, and answers those that went on until now.
    async fn end_other_sessions(&self, user: UserId, keep: SessionId) -> Result<Vec<SessionId>>;
    /// The rows that the tokens of these sessions are checked against, in the order asked; `None`
    /// where there is none.
    async fn sessions(&self, sessions: &[SessionId]) -> Result<Vec<Option<Holder>>>;
    /// The sessions that ended within this period, by the database's clock.
    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>>;
}

/// A row of [`OpenSession`].
#[derive(FromRow)]
pub(super) struct OpenSessionRow {
    pub(super) id: SessionId,
    pub(super) created_at: Time,
    pub(super) last_used_at: Time,
    pub(super) user_agent: Option<String>,
}

impl From<OpenSessionRow> for OpenSession {
    fn from(row: OpenSessionRow) -> Self {
        Self { id: row.id, created_at: row.created_at.0, last_used_at: row.last_used_at.0, user_agent: row.user_agent }
    }
}

/// A row of [`Holder`].
#[derive(FromRow)]
pub(super) struct HolderRow {
    id: SessionId,
    user_id: UserId,
    key_hash: Option<Vec<u8>>,
    ended: bool,
    disabled: bool,
}

/// The holders of these sessions, each as often as it was asked for.
pub(super) fn in_order(asked: &[SessionId], rows: Vec<HolderRow>) -> Vec<Option<Holder>> {
    let holders = rows.into_iter().map(|row| {
        let HolderRow { id, user_id, key_hash, ended, disabled } = row;
        let key_hash = key_hash.and_then(|hash| hash.try_into().ok());
        (id, Holder { user_id, key_hash, ended, disabled })
    });
    let holders: HashMap<_, _> = holders.collect();
    asked.iter().map(|session| holders.get(session).copied()).collect()
}

/// A session that is being rotated, read under its lock.
#[derive(FromRow)]
pub(super) struct SessionRow {
    pub(super) user_id: UserId,
    pub(super) key_hash: Option<Vec<u8>>,
    pub(super) generation: i64,
    /// Neither ended nor expired.
    pub(super) live: bool,
    /// The token before the present one may be taken now.
    pub(super) repeatable: bool,
}

/// The outcome of spending a token.
pub(super) enum Step {
    Next,
    Repeat,
    Reuse,
    Ended,
}

impl SessionRow {
    /// Whether a token is this session's at all.
    pub(super) fn is_of(&self, token: &Session) -> bool {
        self.user_id == token.user_id && self.key_hash.as_deref() == Some(&token.key.hash()[..])
    }

    pub(super) fn step(&self, token: &Session) -> Step {
        match self.generation - token.generation {
            _ if !self.live => Step::Ended,
            0 => Step::Next,
            1 if self.repeatable => Step::Repeat,
            spent if spent > 0 => Step::Reuse,
            _ => Step::Ended,
        }
    }
}

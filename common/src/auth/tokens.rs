//! JSON Web Tokens (RFC 7519): short-lived access tokens and refresh tokens that one use spends.

use super::AuthUser;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::model::User;
use crate::store::{Session, SessionKey};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Our tokens have some 250 bytes. A longer one than this is not read.
const MAX_TOKEN_BYTES: usize = 2048;

/// Issues and verifies tokens under the one secret of the cluster. Cloning shares the keys, which
/// are made once.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    header: Header,
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    access_ttl: Duration,
    refresh_ttl: Duration,
    clock: Clock,
}

/// The claims of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// The caller.
    pub user: AuthUser,
    /// The random part of the session's tokens.
    pub key: SessionKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    Access,
    Refresh,
}

/// `sub` is a string, as RFC 7519 section 4.1.2 wants it.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    sid: SessionId,
    key: SessionKey,
    iat: i64,
    exp: i64,
    typ: Type,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "gen")]
    generation: Option<i64>,
}

impl Tokens {
    /// Tokens under this secret.
    pub fn new(secret: &[u8], access_ttl: Duration, refresh_ttl: Duration, clock: Clock) -> Self {
        // The algorithm is pinned: a token's own header chooses nothing. Expiry is checked below,
        // against our clock and without the leeway that the library would add.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let inner = Inner {
            header: Header::new(Algorithm::HS256),
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            access_ttl,
            refresh_ttl,
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The life of an access token.
    pub fn access_ttl(&self) -> Duration {
        self.inner.access_ttl
    }

    /// The life of a session that is not refreshed.
    pub fn refresh_ttl(&self) -> Duration {
        self.inner.refresh_ttl
    }

    /// An access token, and when it ends.
    pub fn issue_access(&self, user: &User, session: &Session) -> Result<(String, OffsetDateTime)> {
        let (iat, exp) = self.span(self.inner.access_ttl);
        let token = self.encode(&Claims {
            sub: user.id.to_string(),
            name: user.username.clone(),
            sid: session.id,
            key: session.key,
            iat,
            exp,
            typ: Type::Access,
            generation: None,
        })?;
        Ok((token, OffsetDateTime::from_unix_timestamp(exp).map_err(Error::internal)?))
    }

    /// The refresh token of the session's present generation.
    pub fn issue_refresh(&self, session: &Session) -> Result<String> {
        let (iat, exp) = self.span(self.inner.refresh_ttl);
        self.encode(&Claims {
            sub: session.user_id.to_string(),
            name: String::new(),
            sid: session.id,
            key: session.key,
            iat,
            exp,
            typ: Type::Refresh,
            generation: Some(session.generation),
        })
    }

    /// The user that an access token speaks for: `TokenInvalid` or `TokenExpired` otherwise.
    /// [`super::Holders`] says whether its session is there, [`super::Revocations`] whether it has
    /// ended.
    pub fn verify_access(&self, token: &str) -> Result<AccessClaims> {
        let claims = self.decode(token, Type::Access)?;
        let user = AuthUser {
            user_id: subject(&claims)?,
            session_id: claims.sid,
            expires_at: OffsetDateTime::from_unix_timestamp(claims.exp).map_err(|_| Error::TokenInvalid)?,
            username: claims.name,
        };
        Ok(AccessClaims { user, key: claims.key })
    }

    /// The session that a refresh token is of, at the token's generation: `TokenInvalid` or
    /// `TokenExpired` otherwise.
    pub fn verify_refresh(&self, token: &str) -> Result<Session> {
        let claims = self.decode(token, Type::Refresh)?;
        let generation = claims.generation.ok_or(Error::TokenInvalid)?;
        Ok(Session { id: claims.sid, user_id: subject(&claims)?, key: claims.key, generation })
    }

    /// Whole seconds, the end rounded up: no token expires before its answer's `expires_in`.
    fn span(&self, ttl: Duration) -> (i64, i64) {
        let now = self.inner.clock.now();
        let end = now + ttl;
        (now.unix_timestamp(), end.unix_timestamp() + i64::from(end.nanosecond() > 0))
    }

    fn encode(&self, claims: &Claims) -> Result<String> {
        jsonwebtoken::encode(&self.inner.header, claims, &self.inner.encoding).map_err(Error::internal)
    }

    fn decode(&self, token: &str, typ: Type) -> Result<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::TokenInvalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.inner.decoding, &self.inner.validation)
            .map_err(|_| Error::TokenInvalid)?
            .claims;
        if claims.typ != typ {
            return Err(Error::TokenInvalid);
        }
        // RFC 7519 section 4.1.4: not accepted on or after `exp`.
        if self.inner.clock.now().unix_timestamp() >= claims.exp {
            return Err(Error::TokenExpired);
        }
        Ok(claims)
    }
}

fn subject(claims: &Claims) -> Result<UserId> {
    claims.sub.parse().map_err(|_| Error::TokenInvalid)
}

#[cfg(test)]
mod tests;

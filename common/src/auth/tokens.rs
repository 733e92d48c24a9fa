//! JSON Web Tokens (RFC 7519): short-lived access tokens and refresh tokens that one use spends.
//!
//! They follow the advice of RFC 8725: the algorithm is the key's, the header's `typ` names the
//! two kinds apart, and `iss` and `aud` name the deployment and the service.

use super::{AuthUser, Keys};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::model::User;
use crate::store::{Session, SessionKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Header, crypto};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use time::OffsetDateTime;

/// Our tokens have some 400 bytes. A longer one than this is not read.
const MAX_TOKEN_BYTES: usize = 2048;
/// The service that all tokens are for.
const AUDIENCE: &str = "messenger";
/// The clocks of two nodes differ by less than this, in seconds. The memory of revocations may be
/// shorter: a node reads each session anew after a minute.
const SKEW: i64 = 900;

/// Issues and verifies the tokens of a deployment. Cloning shares the keys, which are made once.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Keys,
    issuer: String,
    access_ttl: Duration,
    refresh_ttl: Duration,
    clock: Clock,
    /// Nodes of different settings meet with every request: it is logged once.
    overlong: AtomicBool,
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

impl Type {
    /// The header's `typ`: of an access token as RFC 9068 has it.
    fn of_header(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "rt+jwt",
        }
    }
}

/// `sub` is a string, as RFC 7519 section 4.1.2 wants it. The claim `typ` is what nodes of the
/// release before distinguish the two kinds by.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    sub: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    sid: SessionId,
    key: SessionKey,
    iat: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    exp: i64,
    typ: Type,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "gen")]
    generation: Option<i64>,
}

impl Tokens {
    /// Tokens of the deployment with the id `issuer`.
    pub fn new(keys: Keys, issuer: &str, access_ttl: Duration, refresh_ttl: Duration, clock: Clock) -> Self {
        let issuer = issuer.to_owned();
        let overlong = AtomicBool::new(false);
        Self { inner: Arc::new(Inner { keys, issuer, access_ttl, refresh_ttl, clock, overlong }) }
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
        let claims = self.claims(Type::Access, user.username.clone(), session, None);
        let ends = OffsetDateTime::from_unix_timestamp(claims.exp).map_err(Error::internal)?;
        Ok((self.encode(&claims)?, ends))
    }

    /// The refresh token of the session's present generation.
    pub fn issue_refresh(&self, session: &Session) -> Result<String> {
        self.encode(&self.claims(Type::Refresh, String::new(), session, Some(session.generation)))
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

    fn claims(&self, typ: Type, name: String, session: &Session, generation: Option<i64>) -> Claims {
        let now = self.inner.clock.now();
        Claims {
            iss: Some(self.inner.issuer.clone()),
            aud: Some(AUDIENCE.to_owned()),
            sub: session.user_id.to_string(),
            name,
            sid: session.id,
            key: session.key,
            iat: now.unix_timestamp(),
            nbf: None,
            // Rounded up: no token expires before its answer's `expires_in`.
            exp: whole_seconds_up(now + self.life(typ)),
            typ,
            generation,
        }
    }

    fn life(&self, typ: Type) -> Duration {
        match typ {
            Type::Access => self.inner.access_ttl,
            Type::Refresh => self.inner.refresh_ttl,
        }
    }

    fn encode(&self, claims: &Claims) -> Result<String> {
        let (header, key) = self
            .inner
            .keys
            .sign_with(claims.typ.of_header())
            .ok_or_else(|| Error::internal("this program has no key that signs tokens"))?;
        jsonwebtoken::encode(&header, claims, key).map_err(Error::internal)
    }

    fn decode(&self, token: &str, typ: Type) -> Result<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::TokenInvalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Error::TokenInvalid)?;
        // RFC 7515 section 4.1.11: extensions that must be understood; none is.
        if header.crit.is_some() {
            return Err(Error::TokenInvalid);
        }
        let (key, algorithm) = self.inner.keys.verify_with(&header).ok_or(Error::TokenInvalid)?;
        let claims: Claims = signed_by(token, key, algorithm).ok_or(Error::TokenInvalid)?;
        if claims.typ != typ || !self.is_ours(&header, &claims) {
            return Err(Error::TokenInvalid);
        }
        self.in_its_time(&claims)?;
        Ok(claims)
    }

    /// Whether this deployment issued it, for this use.
    fn is_ours(&self, header: &Header, claims: &Claims) -> bool {
        let here = |claim: &Option<String>, ours: &str| claim.as_deref() == Some(ours);
        let (issued, meant) = (here(&claims.iss, &self.inner.issuer), here(&claims.aud, AUDIENCE));
        match header.typ.as_deref() {
            Some(typ) if typ == claims.typ.of_header() => issued && meant,
            // A node of the release before: it names neither, and knows the shared secret alone.
            Some("JWT") => header.alg == Algorithm::HS256 && claims.iss.is_none() && claims.aud.is_none(),
            _ => false,
        }
    }

    /// Whether it is valid now: by its own times, and by the lifetime that is set here.
    fn in_its_time(&self, claims: &Claims) -> Result<()> {
        let now = self.inner.clock.now().unix_timestamp();
        let (iat, exp) = (claims.iat, claims.exp);
        if OffsetDateTime::from_unix_timestamp(exp).is_err() || claims.nbf.is_some_and(|nbf| nbf > now) {
            return Err(Error::TokenInvalid);
        }
        // RFC 7519 section 4.1.4: not accepted on or after `exp`.
        if now >= exp {
            return Err(Error::TokenExpired);
        }
        // Issued under another lifetime, or by another clock. An access token would outlive the
        // memory that its session has ended: its holder gets a new one by the refresh token. A
        // refresh token is cut to the lifetime of now, so that a shorter one signs nobody out.
        let life = i64::try_from(self.life(claims.typ).as_secs()).unwrap_or(i64::MAX).saturating_add(1);
        let is_overlong = match claims.typ {
            Type::Access => exp.saturating_sub(iat) > life || exp.saturating_sub(now) > life.saturating_add(SKEW),
            Type::Refresh => now >= iat.saturating_add(life),
        };
        if is_overlong || iat > now.saturating_add(SKEW) {
            if claims.typ == Type::Access && !self.inner.overlong.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "a token lives longer than ACCESS_TOKEN_TTL_SECONDS of this node: it is another on other nodes, \
                     or was until lately, or their clocks differ"
                );
            }
            return Err(Error::TokenExpired);
        }
        Ok(())
    }
}

/// The claims of a token whose signature holds. The library's `decode` reads the header twice more
/// and the claims twice, and a token is checked with every request.
fn signed_by<T: DeserializeOwned>(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<T> {
    let (message, signature) = token.rsplit_once('.')?;
    if !crypto::verify(signature, message.as_bytes(), key, algorithm).ok()? {
        return None;
    }
    let (_, claims) = message.rsplit_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn whole_seconds_up(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() + i64::from(at.nanosecond() > 0)
}

/// Written as we write it: `+7` and `07` are not 7.
fn subject(claims: &Claims) -> Result<UserId> {
    let user: UserId = claims.sub.parse().map_err(|_| Error::TokenInvalid)?;
    if user.to_string() == claims.sub { Ok(user) } else { Err(Error::TokenInvalid) }
}

#[cfg(test)]
mod tests;

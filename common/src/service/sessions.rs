//! Sessions: login, refresh, logout.

use super::Context;
use super::input::{Fields, FromFields, Unchecked};
use crate::auth::AuthUser;
use crate::error::{Error, Result};
use crate::event::{Revocation, RevocationReason};
use crate::metrics::AuthResult;
use crate::model::{TokenPair, User};
use crate::rate_limit::Limit;
use crate::store::{Credentials, Rotation, Session, SessionKey};
use std::time::Duration;
use utoipa::ToSchema;

/// The credentials of a login.
#[derive(Clone, ToSchema)]
pub struct Login {
    /// The username or the e-mail address, without case.
    #[schema(example = "ann")]
    pub username: String,
    /// The password.
    #[schema(format = "password", example = "correct horse")]
    pub password: String,
}

impl FromFields for Login {
    fn read(fields: &mut Fields) -> Self {
        Self { username: fields.required("username"), password: fields.required("password") }
    }
}

/// The token that a session is refreshed with.
#[derive(Clone, ToSchema)]
pub struct Refresh {
    /// From the last login or refresh. One use spends it.
    pub refresh_token: String,
}

impl FromFields for Refresh {
    fn read(fields: &mut Fields) -> Self {
        Self { refresh_token: fields.required("refresh_token") }
    }
}

/// Opens a session. `BadCredentials`, with the same words and time for unknown users and wrong
/// passwords. `AccountDisabled` only with the right password. `RateLimited` by address, which
/// `from` names.
pub async fn login(ctx: &Context, from: &str, body: impl Into<Unchecked<Login>>) -> Result<TokenPair> {
    let (body, faults) = body.into().split();
    faults.none()?;
    counted(ctx, open(ctx, from, body).await)
}

async fn open(ctx: &Context, from: &str, body: Login) -> Result<TokenPair> {
    ctx.limited(logins(ctx), from).await?;
    let known = match body.username.as_str() {
        // No username holds a NUL, and no database takes one. The password is checked all the same,
        // so that the answer takes as long.
        name if name.contains('\0') => None,
        name => ctx.store.credentials(name).await?,
    };
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    let right = ctx.passwords.verify(body.password, hash).await?;
    let Credentials { user, password_hash } = known.filter(|_| right).ok_or(Error::BadCredentials)?;
    if !user.is_active {
        return Err(Error::AccountDisabled);
    }
    // With the hash that was checked: the password may have changed meanwhile.
    let key = SessionKey::new(crate::random::bytes());
    let session = ctx.store.create_session(user.id, &password_hash, key, ctx.tokens.refresh_ttl()).await?;
    ctx.holders.remember(&session);
    pair(ctx, &user, &session)
}

/// Spends a refresh token for a new pair. `TokenInvalid`, `TokenExpired`, `SessionEnded`.
/// `TokenReused` for a spent token, which ends the session, because either holder may be a thief;
/// the last one is taken once more within 30 s, because its answer may have been lost.
pub async fn refresh(ctx: &Context, body: impl Into<Unchecked<Refresh>>) -> Result<TokenPair> {
    let (body, faults) = body.into().split();
    faults.none()?;
    counted(ctx, rotate(ctx, body).await)
}

async fn rotate(ctx: &Context, body: Refresh) -> Result<TokenPair> {
    let token = ctx.tokens.verify_refresh(&body.refresh_token)?;
    match ctx.store.rotate_session(token, ctx.tokens.refresh_ttl()).await? {
        Rotation::Rotated(session, user) => pair(ctx, &user, &session),
        Rotation::Reused(session) => {
            ctx.revoke(Revocation {
                user_id: session.user_id,
                session_id: Some(session.id),
                reason: RevocationReason::SessionEnded,
            });
            Err(Error::TokenReused)
        }
        Rotation::Ended => Err(Error::SessionEnded(RevocationReason::SessionEnded)),
        Rotation::Disabled => Err(Error::AccountDisabled),
    }
}

fn counted(ctx: &Context, outcome: Result<TokenPair>) -> Result<TokenPair> {
    match &outcome {
        Ok(_) => ctx.metrics.auth_attempts(AuthResult::Ok).inc(),
        Err(error) => ctx.count_refused(error),
    }
    outcome
}

/// Ends the caller's session.
pub async fn logout(ctx: &Context, by: &AuthUser) -> Result<()> {
    ctx.store.end_session(by.session_id).await?;
    ctx.revoke(Revocation {
        user_id: by.user_id,
        session_id: Some(by.session_id),
        reason: RevocationReason::SessionEnded,
    });
    Ok(())
}

fn pair(ctx: &Context, user: &User, session: &Session) -> Result<TokenPair> {
    let (access_token, _) = ctx.tokens.issue_access(user, session)?;
    Ok(TokenPair {
        access_token,
        token_type: "bearer",
        expires_in: ctx.tokens.access_ttl().as_secs(),
        refresh_token: ctx.tokens.issue_refresh(session)?,
    })
}

pub(super) fn logins(ctx: &Context) -> Limit {
    let rate = ctx.limits.rate_logins_per_minute;
    Limit { name: "logins", rate, period: Duration::from_mins(1), burst: rate }
}

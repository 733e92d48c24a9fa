//! Sessions: login, refresh, logout, and the list of them.

use super::faults::leaves_line;
use super::guesses::{self, Guess};
use super::input::{Fields, FromFields, Unchecked};
use super::{Context, PageQuery, SecurityEvent, page};
use crate::auth::{Asker, AuthUser};
use crate::error::{Error, Result};
use crate::event::{Revocation, RevocationReason};
use crate::id::{SessionId, UserId};
use crate::metrics::AuthResult;
use crate::model::{Page, SessionInfo, TokenPair, User};
use crate::rate_limit::Limit;
use crate::store::{Credentials, Rotation, Session, SessionKey};
use std::net::IpAddr;
use std::time::Duration;
use utoipa::ToSchema;

/// Kept of the name that a program gives itself, in Unicode scalar values.
const MAX_USER_AGENT: usize = 256;
/// The name of the limit of logins by address.
const LOGINS: &str = "logins";

/// The credentials of a login.
#[derive(Clone, ToSchema)]
pub struct Login {
    /// The username, without case, or the e-mail address, in any spelling.
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
/// passwords. `AccountDisabled` only with the right password. `RateLimited` by address, and by
/// account. The session bears the name that the program gives itself.
pub async fn login(
    ctx: &Context,
    from: IpAddr,
    user_agent: Option<String>,
    body: impl Into<Unchecked<Login>>,
) -> Result<TokenPair> {
    let (body, faults) = body.into().split();
    ctx.sound(from, faults).await?;
    let mut user = None;
    let outcome = open(ctx, from, user_agent, body, &mut user).await;
    let event = match &outcome {
        Ok(_) => Some(SecurityEvent::LoggedIn),
        Err(Error::BadCredentials) => Some(SecurityEvent::LoginFailed),
        Err(Error::AccountDisabled) => Some(SecurityEvent::LoginDisabled),
        Err(Error::RateLimited { limit, .. }) if *limit == LOGINS => Some(SecurityEvent::AddressLimited),
        Err(Error::RateLimited { .. }) => Some(SecurityEvent::LoginLimited),
        Err(_) => None,
    };
    if let Some(event) = event {
        ctx.audit.note(event, user, outcome.as_ref().ok().map(|(session, _)| session.id));
    }
    counted(ctx, outcome.map(|(_, pair)| pair))
}

/// `tried` becomes the account's user, if there is one.
async fn open(
    ctx: &Context,
    from: IpAddr,
    user_agent: Option<String>,
    body: Login,
    tried: &mut Option<UserId>,
) -> Result<(Session, TokenPair)> {
    ctx.limited_at(logins(ctx), from).await?;
    let known = match body.username.as_str() {
        // No username holds a NUL, and no database takes one. The password is checked all the same,
        // so that the answer takes as long.
        name if name.contains('\0') => None,
        name => ctx.store.credentials(name).await?,
    };
    let hash = known.as_ref().map(|known| known.password_hash.clone());
    *tried = known.as_ref().map(|known| known.user.id);
    let guess = Guess::begin(ctx, &body.username, *tried, from).await?;
    let (asker, password) = (guess.asker(), body.password);
    let right = ctx.passwords.verify(password.clone(), hash, asker).await?;
    let Credentials { user, password_hash } = known.filter(|_| right).ok_or(Error::BadCredentials)?;
    guess.was_right(ctx, user.id).await;
    if !user.is_active {
        return Err(Error::AccountDisabled);
    }
    // With the hash that was checked: the password may have changed meanwhile.
    let key = SessionKey::new(crate::random::bytes());
    let agent: Option<String> =
        user_agent.map(|agent| agent.chars().filter(|&c| !leaves_line(c)).take(MAX_USER_AGENT).collect());
    let (ttl, begun) = (ctx.tokens.refresh_ttl(), ctx.holders.begin());
    let opened = ctx.store.create_session(user.id, &password_hash, key, ttl, agent.as_deref()).await;
    let (session, password_hash) = match opened {
        Err(Error::BadCredentials) => {
            let hash = hash_now(ctx, user.id, &password, asker).await?.ok_or(Error::BadCredentials)?;
            (ctx.store.create_session(user.id, &hash, key, ttl, agent.as_deref()).await?, hash)
        }
        other => (other?, password_hash),
    };
    renew(ctx, user.id, password, &password_hash).await;
    ctx.holders.remember(&session, begun);
    Ok((session, pair(ctx, &user, &session)?))
}

/// The account's hash as it is now, if the password fits it: another login may have renewed it
/// since it was read.
pub(super) async fn hash_now(ctx: &Context, user: UserId, password: &str, asker: Asker) -> Result<Option<String>> {
    let Some(Credentials { password_hash, .. }) = ctx.store.credentials_of(user).await? else { return Ok(None) };
    let fits = ctx.passwords.verify(password.to_owned(), Some(password_hash.clone()), asker).await?;
    Ok(fits.then_some(password_hash))
}

/// Makes a hash anew that is not of today's strength. Later logins do it too.
async fn renew(ctx: &Context, user: UserId, password: String, verified: &str) {
    if !ctx.passwords.is_outdated(verified) {
        return;
    }
    let renewed = async {
        let hash = ctx.passwords.hash(password, Asker::Known).await?;
        ctx.store.renew_hash(user, verified, &hash).await
    };
    if let Err(error) = renewed.await {
        tracing::debug!(%error, "a hash is not renewed");
    }
}

/// Spends a refresh token for a new pair. `RateLimited` by address.
/// `TokenInvalid`, `TokenExpired`, `SessionEnded`.
/// `TokenReused` for a spent token, which ends the session, because either holder may be a thief;
/// the last one is taken once more within 30 s, because its answer may have been lost.
pub async fn refresh(ctx: &Context, from: IpAddr, body: impl Into<Unchecked<Refresh>>) -> Result<TokenPair> {
    ctx.charge_address(from).await?;
    let (body, faults) = body.into().split();
    faults.none()?;
    counted(ctx, rotate(ctx, from, body).await)
}

async fn rotate(ctx: &Context, from: IpAddr, body: Refresh) -> Result<TokenPair> {
    let token = ctx.tokens.verify_refresh(&body.refresh_token)?;
    match ctx.store.rotate_session(token, ctx.tokens.refresh_ttl()).await? {
        Rotation::Rotated(session, user) => {
            guesses::remember(ctx, user.id, from).await;
            pair(ctx, &user, &session)
        }
        Rotation::Reused(session) => {
            ctx.audit.note(SecurityEvent::TokenReused, Some(session.user_id), Some(session.id));
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

/// Ends the caller's session. `Unavailable`.
pub async fn logout(ctx: &Context, by: &AuthUser) -> Result<()> {
    ctx.store.end_session(by.session_id).await?;
    revoke(ctx, by, by.session_id);
    Ok(())
}

/// The caller's sessions that go on, the newest first. `Invalid`.
pub async fn list(ctx: &Context, by: &AuthUser, query: impl Into<Unchecked<PageQuery>>) -> Result<Page<SessionInfo>> {
    let found = ctx.store.sessions_of(by.user_id, &page(query)?).await?;
    let shown = found.items.into_iter().map(|session| SessionInfo {
        id: session.id,
        created_at: session.created_at,
        last_used_at: session.last_used_at,
        user_agent: session.user_agent,
        is_current: session.id == by.session_id,
    });
    Ok(Page { items: shown.collect(), next_cursor: found.next_cursor })
}

/// Ends one of the caller's sessions, as [`logout`] does in it. `SessionNotFound`, also for
/// another user's.
pub async fn end(ctx: &Context, by: &AuthUser, session: SessionId) -> Result<()> {
    if !ctx.store.end_session_of(by.user_id, session).await? {
        return Err(Error::SessionNotFound);
    }
    revoke(ctx, by, session);
    Ok(())
}

/// Ends all the caller's sessions but the one that asks. `Unavailable`.
pub async fn end_others(ctx: &Context, by: &AuthUser) -> Result<()> {
    for session in ctx.store.end_other_sessions(by.user_id, by.session_id).await? {
        revoke(ctx, by, session);
    }
    Ok(())
}

/// Publishes that a session of the caller has ended.
pub(super) fn revoke(ctx: &Context, by: &AuthUser, session: SessionId) {
    ctx.audit.note(SecurityEvent::SessionEnded, Some(by.user_id), Some(session));
    let reason = RevocationReason::SessionEnded;
    ctx.revoke(Revocation { user_id: by.user_id, session_id: Some(session), reason });
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
    Limit { name: LOGINS, rate, period: Duration::from_mins(1), burst: rate }
}

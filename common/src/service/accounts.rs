//! Accounts: registration, the caller's own account, and the public part of others.

use super::guesses::{self, Guess};
use super::input::{Fields, FromFields, Unchecked};
use super::sessions::hash_now;
use super::{Context, Faults, PageQuery, SecurityEvent, network};
use crate::auth::{Asker, AuthUser};
use crate::closed_accounts;
use crate::config::Registration;
use crate::error::{Error, Result};
use crate::event::{Revocation, RevocationReason};
use crate::id::UserId;
use crate::model::{Page, PublicUser, User};
use crate::rate_limit::Limit;
use crate::store::{Kept, NewUser, ProfilePatch, REGISTRATION_REPEATED_WITHIN, UserPatch, UserRow};
use std::net::IpAddr;
use std::time::Duration;
use utoipa::ToSchema;

/// The longest wait for presence in an answer about users.
const PRESENCE_WAIT: Duration = Duration::from_millis(300);

/// A new account.
#[derive(Clone, ToSchema)]
pub struct Register {
    /// Letters, digits, `_`, `.` and `-`; unique without case.
    #[schema(min_length = 3, max_length = 32, pattern = "^[A-Za-z0-9_.-]+$", example = "cat")]
    pub username: String,
    /// Unique, in whatever case and form of Unicode it is spelled.
    #[schema(max_length = 254, format = "email", example = "cat@example.org")]
    pub email: String,
    /// Kept as an argon2id hash only.
    #[schema(min_length = 8, max_length = 128, format = "password", example = "correct horse")]
    pub password: String,
    /// The code of an invitation. With one into a group you are its member at once.
    pub invite: Option<String>,
}

impl FromFields for Register {
    fn read(fields: &mut Fields) -> Self {
        Self {
            username: fields.required("username"),
            email: fields.required("email"),
            password: fields.required("password"),
            invite: fields.optional("invite"),
        }
    }
}

/// A change of the caller's account.
#[derive(Clone, Default, ToSchema)]
pub struct UpdateMe {
    /// A new address.
    #[schema(max_length = 254, format = "email")]
    pub email: Option<String>,
    /// A new password; it ends all other sessions.
    #[schema(min_length = 8, max_length = 128, format = "password")]
    pub password: Option<String>,
    /// The name that people see; null: the username.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, example = "Ann")]
    pub display_name: Option<Option<String>>,
    /// A few words; null takes them away.
    #[schema(value_type = Option<String>, max_length = 280)]
    pub bio: Option<Option<String>>,
    /// Required with `email` or `password`.
    #[schema(format = "password")]
    pub current_password: Option<String>,
}

impl FromFields for UpdateMe {
    fn read(fields: &mut Fields) -> Self {
        Self {
            email: fields.optional("email"),
            password: fields.optional("password"),
            display_name: fields.change("display_name"),
            bio: fields.change("bio"),
            current_password: fields.optional("current_password"),
        }
    }
}

/// The question for users.
#[derive(Clone, Debug, Default)]
pub struct SearchUsers {
    /// The beginning of the username, without case. Empty: all users.
    pub q: String,
    /// The page.
    pub page: PageQuery,
}

impl FromFields for SearchUsers {
    fn read(fields: &mut Fields) -> Self {
        Self { q: fields.or("q", String::new()), page: PageQuery::read(fields) }
    }
}

/// Makes an account. Repeated word for word within ten minutes, it answers the same account.
/// `Invalid`, `UsernameTaken`, `EmailTaken`, `RegistrationClosed`, `InviteNotFound`, `GroupFull`;
/// `RateLimited` by address.
pub async fn register(ctx: &Context, from: IpAddr, body: impl Into<Unchecked<Register>>) -> Result<User> {
    let (body, mut faults) = body.into().split();
    faults.username("username", &body.username);
    faults.email("email", &body.email);
    faults.new_password("password", &body.password, &[&body.username, &body.email]);
    if let Some(code) = &body.invite {
        faults.no_nul("invite", code);
    }
    ctx.sound(from, faults).await?;
    ctx.limited_at(registrations(ctx), from).await?;
    match ctx.registration {
        Registration::Open => {}
        Registration::Invite if body.invite.is_some() => {}
        Registration::Invite | Registration::Closed => return Err(Error::RegistrationClosed),
    }
    // An invitation that lets nobody in says nothing of the names that are taken, in words or in
    // time. The registration that used it up may be repeated.
    if let Some(code) = &body.invite
        && ctx.store.invite(code).await?.is_none()
    {
        return repeated(ctx, from, body, Error::InviteNotFound).await;
    }
    let asker = Asker::Stranger(network::site(from));
    let password_hash = ctx.passwords.hash(body.password.clone(), asker).await?;
    let user = NewUser { username: body.username.clone(), email: body.email.clone(), password_hash };
    let made = match &body.invite {
        Some(code) => by_invite(ctx, user, code).await,
        None => ctx.store.create_user(user).await,
    };
    match made {
        Ok(user) => {
            ctx.audit.note(SecurityEvent::Registered, Some(user.id), None);
            guesses::remember(ctx, user.id, from).await;
            Ok(user)
        }
        Err(taken @ (Error::UsernameTaken | Error::EmailTaken)) => repeated(ctx, from, body, taken).await,
        other => other,
    }
}

async fn by_invite(ctx: &Context, user: NewUser, code: &str) -> Result<User> {
    let (user, committed) = ctx.store.register(user, code, ctx.limits.max_group_members).await?;
    ctx.publisher.publish(committed);
    Ok(user)
}

/// The account of the same registration a moment ago: its answer may have been lost. Any other is
/// refused. Where name and address are taken, databases differ in which one they find first: here
/// it is the name.
async fn repeated(ctx: &Context, from: IpAddr, body: Register, refusal: Error) -> Result<User> {
    let Some(known) = ctx.store.credentials(&body.username).await? else { return Err(refusal) };
    let refusal = if matches!(refusal, Error::EmailTaken) { Error::UsernameTaken } else { refusal };
    let user = known.user;
    let is_same = user.username == body.username && user.email == body.email && user.is_active;
    if !is_same || ctx.clock.now() - user.created_at > REGISTRATION_REPEATED_WITHIN {
        return Err(refusal);
    }
    let guess = Guess::begin(ctx, &body.username, Some(user.id), from).await?;
    if !ctx.passwords.verify(body.password, Some(known.password_hash), guess.asker()).await? {
        return Err(refusal);
    }
    guess.was_right(ctx, user.id).await;
    Ok(user)
}

/// The caller's account. `TokenInvalid` where it is not there.
pub async fn me(ctx: &Context, by: &AuthUser) -> Result<User> {
    // Only after a restored backup can a token be there without its account.
    let row = ctx.store.users(&[by.user_id]).await?.pop().ok_or(Error::TokenInvalid)?;
    Ok(row.user)
}

/// Changes e-mail, password or profile. `WrongPassword`, `EmailTaken`, `Invalid`, `RateLimited`.
pub async fn update_me(
    ctx: &Context,
    by: &AuthUser,
    from: IpAddr,
    body: impl Into<Unchecked<UpdateMe>>,
) -> Result<User> {
    let (body, mut faults) = body.into().split();
    if let Some(email) = &body.email {
        faults.email("email", email);
    }
    if let Some(password) = &body.password {
        let email = body.email.as_deref().unwrap_or_default();
        faults.new_password("password", password, &[&by.username, email]);
    }
    if let Some(Some(name)) = &body.display_name {
        faults.display_name("display_name", name);
    }
    if let Some(Some(bio)) = &body.bio {
        faults.bio("bio", bio);
    }
    faults.none()?;
    let profile = ProfilePatch { display_name: body.display_name.clone(), bio: body.bio.clone() };
    let changes_login = body.email.is_some() || body.password.is_some();
    if changes_login {
        return change_login(ctx, by, from, body, profile).await;
    }
    if profile.display_name.is_none() && profile.bio.is_none() {
        return me(ctx, by).await;
    }
    ctx.store.set_profile(by.user_id, profile).await?.ok_or(Error::TokenInvalid)
}

/// Changes what one logs in with, and the profile in the same transaction.
async fn change_login(
    ctx: &Context,
    by: &AuthUser,
    from: IpAddr,
    body: UpdateMe,
    profile: ProfilePatch,
) -> Result<User> {
    ctx.limited(super::sessions::logins(ctx), &format!("u{}", by.user_id)).await?;
    let known = ctx.store.credentials_of(by.user_id).await?.ok_or(Error::TokenInvalid)?;
    if let Some(password) = &body.password {
        let mut faults = Faults::default();
        faults.new_password("password", password, &[&known.user.email]);
        faults.none()?;
    }
    let current = body.current_password.ok_or(Error::WrongPassword)?;
    if !ctx.passwords.verify(current.clone(), Some(known.password_hash.clone()), Asker::Known).await? {
        ctx.count_refused(&Error::WrongPassword);
        ctx.audit.note(SecurityEvent::PasswordWrong, Some(by.user_id), Some(by.session_id));
        return Err(Error::WrongPassword);
    }
    let password_hash = match body.password {
        Some(password) => Some(ctx.passwords.hash(password, Asker::Known).await?),
        None => None,
    };
    let events = [
        password_hash.is_some().then_some(SecurityEvent::PasswordChanged),
        body.email.is_some().then_some(SecurityEvent::EmailChanged),
    ];
    let patch = UserPatch { email: body.email, password_hash, profile };
    let kept = Kept { session: by.session_id, network: network::stored(from) };
    let mut changed = ctx.store.update_user(by.user_id, &known.password_hash, patch.clone(), kept).await?;
    if changed.is_none()
        && let Some(hash) = hash_now(ctx, by.user_id, &current, Asker::Known).await?
    {
        changed = ctx.store.update_user(by.user_id, &hash, patch, kept).await?;
    }
    // Another change came first: the checked password is no longer the account's.
    let (user, ended) = changed.ok_or(Error::WrongPassword)?;
    guesses::remember(ctx, by.user_id, from).await;
    for event in events.into_iter().flatten() {
        ctx.audit.note(event, Some(by.user_id), Some(by.session_id));
    }
    for session in ended {
        super::sessions::revoke(ctx, by, session);
    }
    Ok(user)
}

/// Deactivates the caller's account and ends all its sessions. The groups that it alone owned get
/// another owner; one without another active member is deleted. The upkeep does the groups that the
/// first round leaves, or that fail. `Unavailable`.
pub async fn delete_me(ctx: &Context, by: &AuthUser) -> Result<()> {
    ctx.store.deactivate_user(by.user_id).await?;
    ctx.audit.note(SecurityEvent::Deactivated, Some(by.user_id), Some(by.session_id));
    ctx.revoke(Revocation { user_id: by.user_id, session_id: None, reason: RevocationReason::AccountDisabled });
    if let Err(error) =
        closed_accounts::pass_on(&*ctx.store, by.user_id, |committed| ctx.publisher.publish(committed)).await
    {
        tracing::debug!(%error, "groups of a closed account are left to the upkeep");
    }
    Ok(())
}

/// Active users by the beginning of their username. `Invalid`.
pub async fn search(ctx: &Context, query: impl Into<Unchecked<SearchUsers>>) -> Result<Page<PublicUser>> {
    let (query, mut faults) = query.into().split();
    faults.no_nul("q", &query.q);
    let page = query.page.check(&mut faults);
    faults.none()?;
    let rows = ctx.store.search_users(&query.q, &page).await?;
    Ok(Page { items: with_presence(ctx, rows.items).await, next_cursor: rows.next_cursor })
}

/// The public part of a user. `UserNotFound`.
pub async fn get(ctx: &Context, user: UserId) -> Result<PublicUser> {
    let rows = ctx.store.users(&[user]).await?;
    with_presence(ctx, rows).await.pop().ok_or(Error::UserNotFound)
}

/// Blocks a user, or no longer. The same again is no error. `UserNotFound`, `Invalid`.
pub async fn block(ctx: &Context, by: &AuthUser, user: UserId, block: bool) -> Result<()> {
    if user == by.user_id {
        return Err(Error::invalid("user_id", "must not be yourself"));
    }
    ctx.store.block(by.user_id, user, block).await
}

/// The users whom the caller blocked. `Invalid`.
pub async fn blocked(ctx: &Context, by: &AuthUser, query: impl Into<Unchecked<PageQuery>>) -> Result<Page<PublicUser>> {
    let rows = ctx.store.blocked(by.user_id, &super::page(query)?).await?;
    Ok(Page { items: with_presence(ctx, rows.items).await, next_cursor: rows.next_cursor })
}

/// Adds presence where it is known. If presence is away or slow, `online` is null.
async fn with_presence(ctx: &Context, rows: Vec<UserRow>) -> Vec<PublicUser> {
    let ids: Vec<_> = rows.iter().map(|row| row.user.id).collect();
    let asked = tokio::time::timeout(PRESENCE_WAIT, ctx.presence.online(&ids));
    let online = match asked.await {
        _ if ids.is_empty() => Vec::new(),
        Ok(Ok(online)) => online.into_iter().map(|since| Some(since.is_some())).collect(),
        Ok(Err(_)) | Err(_) => vec![None; rows.len()],
    };
    rows.into_iter()
        .zip(online.into_iter().chain(std::iter::repeat(None)))
        .map(|(row, online)| PublicUser {
            id: row.user.id,
            username: row.user.username,
            display_name: row.user.display_name,
            bio: row.user.bio,
            is_active: row.user.is_active,
            created_at: row.user.created_at,
            online,
            last_seen_at: row.last_seen_at,
        })
        .collect()
}

fn registrations(ctx: &Context) -> Limit {
    let rate = ctx.limits.rate_registrations_per_minute;
    Limit { name: "registrations", rate, period: Duration::from_mins(1), burst: rate }
}

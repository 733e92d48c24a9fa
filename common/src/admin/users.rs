//! The work on accounts and their sessions.

use super::answer::{Account, Answer};
use crate::auth::{Asker, Passwords};
use crate::closed_accounts;
use crate::config::{AdminTask, Config};
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::random;
use crate::store::{Erased, Kept, OpenSession, PageRequest, Store, UserPatch, UserRow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// No session or network has this number.
const NONE: i64 = 0;
/// Rows of one page of a list.
const PAGE: usize = 100;

pub(super) async fn run(config: &Config, store: &dyn Store, task: &AdminTask) -> Result<Answer> {
    match task {
        AdminTask::ListUsers { prefix, limit, cursor } => list(store, prefix, *limit, cursor.clone()).await,
        AdminTask::ShowUser(name) => {
            let user = find(store, name).await?;
            let sessions = sessions_of(store, user.user.id).await?;
            Ok(Answer::User { account: Account::of(user), sessions: Some(sessions) })
        }
        AdminTask::Activate(name) => {
            let user = find(store, name).await?.user.id;
            store.activate_user(user).await?;
            shown(store, user).await
        }
        AdminTask::Deactivate(name) => {
            let user = find(store, name).await?.user.id;
            closed_accounts::deactivate(store, user).await?;
            shown(store, user).await
        }
        AdminTask::ResetPassword(name) => {
            let user = find(store, name).await?;
            let password = secret();
            reset_password(config, store, &user, &password).await?;
            Ok(Answer::Password { account: Account::of(user), password })
        }
        AdminTask::DeleteUser(name) => {
            let user = find(store, name).await?.user.id;
            // Nobody can log in to it; a hash that cannot be read would be a fault.
            let password_hash = hash(config, secret()).await?;
            closed_accounts::deactivate(store, user).await?;
            let name = format!("deleted-{user}");
            let otherwise = format!("{name}-{:08x}", random::bits() >> 32);
            store.erase_user(user, Erased { names: [name, otherwise], password_hash }).await?;
            shown(store, user).await
        }
        AdminTask::EndSessions { user, session } => {
            let user = find(store, user).await?;
            let ended = end_sessions(store, user.user.id, *session).await?;
            Ok(Answer::Ended { account: Account::of(user), ended })
        }
    }
}

async fn list(store: &dyn Store, prefix: &str, limit: i64, cursor: Option<String>) -> Result<Answer> {
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=PAGE).contains(limit));
    let limit = limit.ok_or_else(|| Error::invalid("limit", "must be from 1 to 100"))?;
    let page = store.all_users(prefix, &PageRequest { cursor, limit }).await?;
    let items = page.items.into_iter().map(Account::of).collect();
    Ok(Answer::Users { items, next_cursor: page.next_cursor })
}

/// The account of a username, an e-mail address, or `id:` and a number.
async fn find(store: &dyn Store, name: &str) -> Result<UserRow> {
    let id = match name.strip_prefix("id:") {
        Some(number) => number.parse().ok().map(UserId),
        None => store.credentials(name).await?.map(|known| known.user.id),
    };
    let Some(id) = id else { return Err(Error::UserNotFound) };
    by_id(store, id).await
}

async fn by_id(store: &dyn Store, user: UserId) -> Result<UserRow> {
    store.users(&[user]).await?.pop().ok_or(Error::UserNotFound)
}

async fn shown(store: &dyn Store, user: UserId) -> Result<Answer> {
    Ok(Answer::User { account: Account::of(by_id(store, user).await?), sessions: None })
}

/// 120 random bits, as letters.
fn secret() -> String {
    URL_SAFE_NO_PAD.encode(random::bytes::<15>())
}

async fn hash(config: &Config, password: String) -> Result<String> {
    Passwords::new(config.argon2_memory_kib, 1).map_err(Error::internal)?.hash(password, Asker::Known).await
}

async fn reset_password(config: &Config, store: &dyn Store, user: &UserRow, password: &str) -> Result<()> {
    if !user.user.is_active {
        return Err(Error::invalid("USER", "is deactivated: activate the account first"));
    }
    let hash = hash(config, password.to_owned()).await?;
    let kept = Kept { session: SessionId(NONE), network: NONE };
    // The hash may be made anew by a login meanwhile.
    for _ in 0..3 {
        let known = store.credentials_of(user.user.id).await?.ok_or(Error::UserNotFound)?;
        let patch = UserPatch { password_hash: Some(hash.clone()), ..UserPatch::default() };
        if store.update_user(user.user.id, &known.password_hash, patch, kept).await?.is_some() {
            return Ok(());
        }
    }
    Err(Error::unavailable("the account keeps changing"))
}

async fn end_sessions(store: &dyn Store, user: UserId, session: Option<i64>) -> Result<Vec<SessionId>> {
    let Some(session) = session.map(SessionId) else {
        return store.end_other_sessions(user, SessionId(NONE)).await;
    };
    if store.end_session_of(user, session).await? {
        Ok(vec![session])
    } else {
        Err(Error::invalid("session", "is no session of that user that goes on"))
    }
}

async fn sessions_of(store: &dyn Store, user: UserId) -> Result<Vec<OpenSession>> {
    let mut all = Vec::new();
    let mut page = PageRequest { cursor: None, limit: PAGE };
    loop {
        let mut found = store.sessions_of(user, &page).await?;
        all.append(&mut found.items);
        match found.next_cursor {
            None => return Ok(all),
            cursor => page.cursor = cursor,
        }
    }
}

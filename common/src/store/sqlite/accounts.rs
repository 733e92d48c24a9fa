//! Accounts.

use super::{Database, SqliteStore, commit, json};
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::model::User;
use crate::store::fault::Fault;
use crate::store::row::{AccountRow, Time, fold};
use crate::store::{Accounts, Credentials, NewUser, PageRequest, Rows, UserRow, cursor};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use time::OffsetDateTime;

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.run(|| create_user(&self.database, &user)).await
    }

    async fn credentials(&self, login: &str) -> Result<Option<Credentials>> {
        self.run(|| credentials(&self.database, login)).await
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        self.run(|| credentials_of(&self.database, user)).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>> {
        self.run(|| users(&self.database, ids)).await
    }

    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Rows<UserRow>> {
        self.run(|| search_users(&self.database, prefix, page)).await
    }

    async fn update_user(
        &self,
        user: UserId,
        verified: &str,
        email: Option<String>,
        password_hash: Option<String>,
        keep: SessionId,
    ) -> Result<Option<(User, Vec<SessionId>)>> {
        let (email, password_hash) = (email.as_deref(), password_hash.as_deref());
        self.run(|| update_user(&self.database, user, verified, email, password_hash, keep)).await
    }

    async fn deactivate_user(&self, user: UserId) -> Result<()> {
        self.run(|| deactivate_user(&self.database, user)).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()> {
        self.run(|| set_last_seen(&self.database, seen)).await
    }
}

pub(super) async fn create_user(database: &Database, user: &NewUser) -> Result<User, Fault> {
    let mut transaction = database.begin().await?;
    let row: AccountRow = sqlx::query_as(
        "insert into users (username, username_lower, email, email_lower, password_hash, created_at)
         values ($1, $2, $3, $4, $5, $6)
         returning id, username, email, password_hash, is_active, created_at, last_seen_at",
    )
    .bind(&user.username)
    .bind(fold(&user.username))
    .bind(&user.email)
    .bind(fold(&user.email))
    .bind(&user.password_hash)
    .bind(database.now())
    .fetch_one(&mut *transaction)
    .await
    .map_err(taken)?;
    commit(transaction, row.into()).await
}

/// Names what a unique constraint found taken. SQLite tells the columns, not the constraint's name.
fn taken(error: sqlx::Error) -> Fault {
    let message =
        error.as_database_error().filter(|error| error.is_unique_violation()).map(sqlx::error::DatabaseError::message);
    match message {
        Some(message) if message.contains("users.username_lower") => Error::UsernameTaken.into(),
        Some(message) if message.contains("users.email_lower") => Error::EmailTaken.into(),
        _ => error.into(),
    }
}

pub(super) async fn credentials(database: &Database, login: &str) -> Result<Option<Credentials>, Fault> {
    if login.contains('\0') {
        return Ok(None);
    }
    // A username has no @ and an address has one: at most one row.
    let row: Option<AccountRow> = sqlx::query_as(
        "select id, username, email, password_hash, is_active, created_at, last_seen_at
         from users where username_lower = $1 or email_lower = $1",
    )
    .bind(fold(login))
    .fetch_optional(&database.reader)
    .await?;
    Ok(row.map(Credentials::from))
}

pub(super) async fn credentials_of(database: &Database, user: UserId) -> Result<Option<Credentials>, Fault> {
    let row: Option<AccountRow> = sqlx::query_as(
        "select id, username, email, password_hash, is_active, created_at, last_seen_at from users where id = $1",
    )
    .bind(user)
    .fetch_optional(&database.reader)
    .await?;
    Ok(row.map(Credentials::from))
}

pub(super) async fn users(database: &Database, ids: &[UserId]) -> Result<Vec<UserRow>, Fault> {
    let rows: Vec<AccountRow> = sqlx::query_as(
        "select id, username, email, password_hash, is_active, created_at, last_seen_at
         from users where id in (select value from json_each($1))",
    )
    .bind(json(&ids)?)
    .fetch_all(&database.reader)
    .await?;
    Ok(rows.into_iter().map(UserRow::from).collect())
}

pub(super) async fn search_users(
    database: &Database,
    prefix: &str,
    page: &PageRequest,
) -> Result<Rows<UserRow>, Fault> {
    let after = cursor::user(page.cursor.as_deref())?;
    if prefix.contains('\0') {
        return Ok(Rows { items: Vec::new(), next_cursor: None });
    }
    // A range in byte order, not a pattern: nothing in the prefix has a meaning. The last code point stands above all others.
    let rows: Vec<AccountRow> = sqlx::query_as(
        "select id, username, email, password_hash, is_active, created_at, last_seen_at
         from users
         where username_lower >= $1 and username_lower < $1 || char(1114111) and username_lower > $2 and is_active
         order by username_lower limit $3",
    )
    .bind(fold(prefix))
    .bind(after)
    .bind(cursor::one_more(page.limit))
    .fetch_all(&database.reader)
    .await?;
    Ok(cursor::page(rows, page.limit, |row| cursor::of_user(&fold(&row.username))))
}

pub(super) async fn update_user(
    database: &Database,
    user: UserId,
    verified: &str,
    email: Option<&str>,
    password_hash: Option<&str>,
    keep: SessionId,
) -> Result<Option<(User, Vec<SessionId>)>, Fault> {
    let mut transaction = database.begin().await?;
    let row: Option<AccountRow> = sqlx::query_as(
        "update users set email = coalesce($2, email), email_lower = coalesce($3, email_lower),
             password_hash = coalesce($4, password_hash)
         where id = $1 and is_active and password_hash = $5
         returning id, username, email, password_hash, is_active, created_at, last_seen_at",
    )
    .bind(user)
    .bind(email)
    .bind(email.map(fold))
    .bind(password_hash)
    .bind(verified)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(taken)?;
    let Some(row) = row else { return Ok(None) };
    let ended = match password_hash {
        Some(_) => end_sessions(&mut transaction, user, Some(keep), false, database.now()).await?,
        None => Vec::new(),
    };
    commit(transaction, Some((row.into(), ended))).await
}

async fn end_sessions(
    connection: &mut SqliteConnection,
    user: UserId,
    keep: Option<SessionId>,
    disabled: bool,
    now: Time,
) -> Result<Vec<SessionId>, sqlx::Error> {
    sqlx::query_scalar(
        "update sessions set ended_at = $4, disabled = $3
         where user_id = $1 and id is not $2 and ended_at is null
         returning id",
    )
    .bind(user)
    .bind(keep)
    .bind(disabled)
    .bind(now)
    .fetch_all(connection)
    .await
}

pub(super) async fn deactivate_user(database: &Database, user: UserId) -> Result<(), Fault> {
    let mut transaction = database.begin().await?;
    sqlx::query("update users set is_active = 0 where id = $1 and is_active")
        .bind(user)
        .execute(&mut *transaction)
        .await?;
    end_sessions(&mut transaction, user, None, true, database.now()).await?;
    commit(transaction, ()).await
}

pub(super) async fn set_last_seen(database: &Database, seen: &[(UserId, OffsetDateTime)]) -> Result<(), Fault> {
    let mut transaction = database.begin().await?;
    for (user, at) in seen {
        sqlx::query("update users set last_seen_at = $2 where id = $1 and (last_seen_at is null or last_seen_at < $2)")
            .bind(user)
            .bind(Time(*at))
            .execute(&mut *transaction)
            .await?;
    }
    commit(transaction, ()).await
}

//! Accounts.

use super::PostgresStore;
use super::pool::Pool;
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::model::User;
use crate::store::fault::Fault;
use crate::store::row::{AccountRow, fold};
use crate::store::{Accounts, Credentials, NewUser, PageRequest, Rows, UserRow, cursor};
use async_trait::async_trait;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;

#[async_trait]
impl Accounts for PostgresStore {
    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.run(|| create_user(&self.pool, &user)).await
    }

    async fn credentials(&self, login: &str) -> Result<Option<Credentials>> {
        self.run(|| credentials(&self.pool, login)).await
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        self.run(|| credentials_of(&self.pool, user)).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>> {
        self.run(|| users(&self.pool, ids)).await
    }

    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Rows<UserRow>> {
        self.run(|| search_users(&self.pool, prefix, page)).await
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
        self.run(|| update_user(&self.pool, user, verified, email, password_hash, keep)).await
    }

    async fn deactivate_user(&self, user: UserId) -> Result<()> {
        self.run(|| deactivate_user(&self.pool, user)).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()> {
        self.run(|| set_last_seen(&self.pool, seen)).await
    }
}

pub(super) async fn create_user(pool: &Arc<Pool>, user: &NewUser) -> Result<User, Fault> {
    let mut lease = pool.lease().await?;
    let row: Result<AccountRow, _> = sqlx::query_as(
        "insert into users (username, username_lower, email, email_lower, password_hash)
         values ($1, $2, $3, $4, $5)
         returning id, username, email, password_hash, is_active, created_at, last_seen_at",
    )
    .bind(&user.username)
    .bind(fold(&user.username))
    .bind(&user.email)
    .bind(fold(&user.email))
    .bind(&user.password_hash)
    .fetch_one(lease.connection())
    .await;
    lease.end_written(row).map(User::from).map_err(taken)
}

/// Names what a unique constraint found taken.
fn taken(fault: Fault) -> Fault {
    match fault.constraint() {
        Some("users_username_key") => Error::UsernameTaken.into(),
        Some("users_email_key") => Error::EmailTaken.into(),
        _ => fault,
    }
}

pub(super) async fn credentials(pool: &Arc<Pool>, login: &str) -> Result<Option<Credentials>, Fault> {
    if login.contains('\0') {
        return Ok(None);
    }
    let mut lease = pool.lease().await?;
    // A username has no @ and an address has one: at most one row.
    let row: Result<Option<AccountRow>, _> = sqlx::query_as(
        "select id, username, email, password_hash, is_active, created_at, last_seen_at
         from users where username_lower = $1 or email_lower = $1",
    )
    .bind(fold(login))
    .fetch_optional(lease.connection())
    .await;
    Ok(lease.end(row)?.map(Credentials::from))
}

pub(super) async fn credentials_of(pool: &Arc<Pool>, user: UserId) -> Result<Option<Credentials>, Fault> {
    let mut lease = pool.lease().await?;
    let row: Result<Option<AccountRow>, _> = sqlx::query_as(
        "select id, username, email, password_hash, is_active, created_at, last_seen_at from users where id = $1",
    )
    .bind(user)
    .fetch_optional(lease.connection())
    .await;
    Ok(lease.end(row)?.map(Credentials::from))
}

pub(super) async fn users(pool: &Arc<Pool>, ids: &[UserId]) -> Result<Vec<UserRow>, Fault> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let mut lease = pool.lease().await?;
    let rows: Result<Vec<AccountRow>, _> = sqlx::query_as(
        "select id, username, email, password_hash, is_active, created_at, last_seen_at
         from users where id = any ($1)",
    )
    .bind(ids)
    .fetch_all(lease.connection())
    .await;
    Ok(lease.end(rows)?.into_iter().map(UserRow::from).collect())
}

pub(super) async fn search_users(pool: &Arc<Pool>, prefix: &str, page: &PageRequest) -> Result<Rows<UserRow>, Fault> {
    let after = cursor::user(page.cursor.as_deref())?;
    if prefix.contains('\0') {
        return Ok(Rows { items: Vec::new(), next_cursor: None });
    }
    let mut lease = pool.lease().await?;
    // A range in byte order, not a pattern: nothing in the prefix has a meaning. The last code point stands above all others.
    let rows: Result<Vec<AccountRow>, _> = sqlx::query_as(
        "select id, username, email, password_hash, is_active, created_at, last_seen_at
         from users
         where username_lower >= $1 and username_lower < $1 || chr(1114111) and username_lower > $2 and is_active
         order by username_lower limit $3",
    )
    .bind(fold(prefix))
    .bind(after)
    .bind(cursor::one_more(page.limit))
    .fetch_all(lease.connection())
    .await;
    Ok(cursor::page(lease.end(rows)?, page.limit, |row| cursor::of_user(&fold(&row.username))))
}

pub(super) async fn update_user(
    pool: &Arc<Pool>,
    user: UserId,
    verified: &str,
    email: Option<&str>,
    password_hash: Option<&str>,
    keep: SessionId,
) -> Result<Option<(User, Vec<SessionId>)>, Fault> {
    let mut lease = pool.begin().await?;
    let connection = lease.connection();
    let updated = async {
        let Some(row) = write_user(connection, user, verified, email, password_hash).await? else {
            return Ok(None);
        };
        let ended = match password_hash {
            Some(_) => end_sessions(connection, user, Some(keep), false).await?,
            None => Vec::new(),
        };
        Ok(Some((row.into(), ended)))
    }
    .await;
    lease.end_transaction(updated).await.map_err(taken)
}

async fn write_user(
    connection: &mut PgConnection,
    user: UserId,
    verified: &str,
    email: Option<&str>,
    password_hash: Option<&str>,
) -> Result<Option<AccountRow>, sqlx::Error> {
    sqlx::query_as(
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
    .fetch_optional(connection)
    .await
}

async fn end_sessions(
    connection: &mut PgConnection,
    user: UserId,
    keep: Option<SessionId>,
    disabled: bool,
) -> Result<Vec<SessionId>, sqlx::Error> {
    sqlx::query_scalar(
        "update sessions set ended_at = clock_timestamp(), disabled = $3
         where user_id = $1 and id is distinct from $2 and ended_at is null
         returning id",
    )
    .bind(user)
    .bind(keep)
    .bind(disabled)
    .fetch_all(connection)
    .await
}

pub(super) async fn deactivate_user(pool: &Arc<Pool>, user: UserId) -> Result<(), Fault> {
    let mut lease = pool.begin().await?;
    let connection = lease.connection();
    let done = async {
        sqlx::query("update users set is_active = false where id = $1 and is_active")
            .bind(user)
            .execute(&mut *connection)
            .await?;
        end_sessions(connection, user, None, true).await?;
        Ok(())
    }
    .await;
    lease.end_transaction(done).await
}

pub(super) async fn set_last_seen(pool: &Arc<Pool>, seen: &[(UserId, OffsetDateTime)]) -> Result<(), Fault> {
    let mut latest = BTreeMap::new();
    for (user, at) in seen {
        let kept = latest.entry(user.0).or_insert(*at);
        *kept = (*kept).max(*at);
    }
    let (ids, times): (Vec<i64>, Vec<OffsetDateTime>) = latest.into_iter().unzip();
    let mut lease = pool.lease().await?;
    // Locked in the order of their ids, so that two nodes with the same users never wait for each other.
    let done = sqlx::query(
        "with seen as (select * from unnest($1::bigint[], $2::timestamptz[]) as s (id, at)),
              locked as (select id from users where id = any ($1) order by id for no key update)
         update users u set last_seen_at = s.at
         from seen s join locked l using (id)
         where u.id = s.id and (u.last_seen_at is null or u.last_seen_at < s.at)",
    )
    .bind(ids)
    .bind(times)
    .execute(lease.connection())
    .await;
    // Never moves back: to say it again does no harm.
    lease.end(done).map(drop)
}

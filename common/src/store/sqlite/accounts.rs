//! Accounts.

use super::SqliteStore;
use super::addresses::{is_new, keep_spelling};
use super::database::{commit, json};
use crate::address::spelling;
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::model::{Page, User};
use crate::store::accounts::{AccountRow, CREDENTIALS, NETWORK_KEPT, NETWORK_SEEN_EVERY, account_columns, fold};
use crate::store::fault::Fault;
use crate::store::stored_time::Time;
use crate::store::{Accounts, Credentials, Kept, NewUser, PageRequest, UserPatch, UserRow, cursor};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use time::OffsetDateTime;

#[async_trait]
impl Accounts for SqliteStore {
    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let user = insert_user(&mut transaction, &user, self.database.now()).await?;
            commit(transaction, user).await
        })
        .await
    }

    async fn credentials(&self, login: &str) -> Result<Option<Credentials>> {
        if login.contains('\0') {
            return Ok(None);
        }
        let statement = sqlx::query_as(CREDENTIALS).bind(fold(login)).bind(spelling(login));
        let row: Option<AccountRow> = self.row(statement).await?;
        Ok(row.map(Credentials::from))
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        let statement = sqlx::query_as(concat!("select ", account_columns!(), " from users where id = $1"));
        let row: Option<AccountRow> = self.row(statement.bind(user)).await?;
        Ok(row.map(Credentials::from))
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>> {
        let statement = sqlx::query_as(concat!(
            "select ",
            account_columns!(),
            " from users where id in (select value from json_each($1))"
        ));
        let rows: Vec<AccountRow> = self.rows(statement.bind(json(&ids)?)).await?;
        Ok(rows.into_iter().map(UserRow::from).collect())
    }

    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Page<UserRow>> {
        let after = cursor::user(page.cursor.as_deref())?;
        if prefix.contains('\0') {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        }
        // A range in byte order, not a pattern: nothing in the prefix has a meaning. The last code
        // point stands above all others.
        let statement = sqlx::query_as(concat!(
            "select ",
            account_columns!(),
            " from users
             where username_lower >= $1 and username_lower < $1 || char(1114111) and username_lower > $2 and is_active
             order by username_lower limit $3"
        ));
        let statement = statement.bind(fold(prefix)).bind(after).bind(cursor::one_more(page.limit));
        let rows: Vec<AccountRow> = self.rows(statement).await?;
        Ok(cursor::page(rows, page.limit, |row| cursor::of_user(&fold(&row.username))))
    }

    async fn update_user(
        &self,
        user: UserId,
        verified: &str,
        patch: UserPatch,
        keep: Kept,
    ) -> Result<Option<(User, Vec<SessionId>)>> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let new_address = match &patch.email {
                Some(email) if is_new(&mut transaction, user, email).await? => Some(email),
                _ => None,
            };
            let row: Option<AccountRow> = sqlx::query_as(concat!(
                "update users set email = coalesce($2, email), email_lower = coalesce($3, email_lower),
                     password_hash = coalesce($4, password_hash),
                     display_name = case when $6 then $7 else display_name end,
                     bio = case when $8 then $9 else bio end
                 where id = $1 and is_active and password_hash = $5
                 returning ",
                account_columns!()
            ))
            .bind(user)
            .bind(&patch.email)
            .bind(patch.email.as_deref().map(fold))
            .bind(&patch.password_hash)
            .bind(verified)
            .bind(patch.profile.display_name.is_some())
            .bind(patch.profile.display_name.flatten())
            .bind(patch.profile.bio.is_some())
            .bind(patch.profile.bio.flatten())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(taken)?;
            let Some(row) = row else { return Ok(None) };
            if let Some(email) = new_address {
                keep_spelling(&mut transaction, user, email).await?;
            }
            let ended = match patch.password_hash {
                Some(_) => {
                    sqlx::query("delete from networks where user_id = $1 and network <> $2")
                        .bind(user)
                        .bind(keep.network)
                        .execute(&mut *transaction)
                        .await?;
                    end_sessions(&mut transaction, user, Some(keep.session), false, self.database.now()).await?
                }
                None => Vec::new(),
            };
            commit(transaction, Some((row.into(), ended))).await
        })
        .await
    }

    async fn deactivate_user(&self, user: UserId) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            sqlx::query("update users set is_active = 0 where id = $1 and is_active")
                .bind(user)
                .execute(&mut *transaction)
                .await?;
            let departs = sqlx::query(
                "insert into departures (user_id, left_at) select id, $2 from users where id = $1
                 on conflict (user_id) do nothing",
            );
            departs.bind(user).bind(self.database.now()).execute(&mut *transaction).await?;
            end_sessions(&mut transaction, user, None, true, self.database.now()).await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn knows_network(&self, user: UserId, network: i64) -> Result<bool> {
        let statement =
            sqlx::query_as("select network from networks where user_id = $1 and network = $2 and seen_at > $3");
        let statement = statement.bind(user).bind(network).bind(self.database.before(NETWORK_KEPT));
        let row: Option<(i64,)> = self.row(statement).await?;
        Ok(row.is_some())
    }

    async fn remember_network(&self, user: UserId, network: i64) -> Result<()> {
        let statement =
            sqlx::query_as("select network from networks where user_id = $1 and network = $2 and seen_at >= $3");
        let statement = statement.bind(user).bind(network).bind(self.database.before(NETWORK_SEEN_EVERY));
        let fresh: Option<(i64,)> = self.row(statement).await?;
        if fresh.is_some() {
            return Ok(());
        }
        self.run(async {
            let mut transaction = self.database.begin().await?;
            sqlx::query(
                "insert into networks (user_id, network, seen_at) values ($1, $2, $3)
                 on conflict (user_id, network) do update set seen_at = excluded.seen_at",
            )
            .bind(user)
            .bind(network)
            .bind(self.database.now())
            .execute(&mut *transaction)
            .await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn renew_hash(&self, user: UserId, verified: &str, renewed: &str) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            sqlx::query("update users set password_hash = $3 where id = $1 and password_hash = $2")
                .bind(user)
                .bind(verified)
                .bind(renewed)
                .execute(&mut *transaction)
                .await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            for (user, at) in seen {
                sqlx::query(
                    "update users set last_seen_at = $2
                     where id = $1 and (last_seen_at is null or last_seen_at < $2)",
                )
                .bind(user)
                .bind(Time(*at))
                .execute(&mut *transaction)
                .await?;
            }
            commit(transaction, ()).await
        })
        .await
    }
}

/// Inserts an account within a transaction. `UsernameTaken`, `EmailTaken`.
pub(super) async fn insert_user(connection: &mut SqliteConnection, user: &NewUser, now: Time) -> Result<User, Fault> {
    let row: Option<AccountRow> = sqlx::query_as(concat!(
        "insert into users (username, username_lower, email, email_lower, email_spelling, password_hash, created_at)
         select $1, $2, $3, $4, $5, $6, $7 where not exists (select 1 from users where email_lower = $5)
         returning ",
        account_columns!()
    ))
    .bind(&user.username)
    .bind(fold(&user.username))
    .bind(&user.email)
    .bind(fold(&user.email))
    .bind(spelling(&user.email))
    .bind(&user.password_hash)
    .bind(now)
    .fetch_optional(connection)
    .await
    .map_err(taken)?;
    Ok(row.ok_or(Error::EmailTaken)?.into())
}

/// Names what a unique constraint found taken. SQLite names the columns, not the constraint.
fn taken(error: sqlx::Error) -> Fault {
    let message =
        error.as_database_error().filter(|error| error.is_unique_violation()).map(sqlx::error::DatabaseError::message);
    match message {
        Some(message) if message.contains("users.username_lower") => Error::UsernameTaken.into(),
        Some(message) if message.contains("users.email_") => Error::EmailTaken.into(),
        _ => error.into(),
    }
}

pub(super) async fn end_sessions(
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

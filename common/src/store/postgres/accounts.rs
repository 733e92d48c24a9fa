//! Accounts.

use super::PostgresStore;
use super::addresses::{is_new, keep_spelling, taken};
use super::connection::ServerConnection;
use crate::address::spelling;
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::model::{Page, User};
use crate::store::accounts::{AccountRow, CREDENTIALS, NETWORK_KEPT, NETWORK_SEEN_EVERY, account_columns, fold};
use crate::store::fault::Fault;
use crate::store::{Accounts, Credentials, Kept, NewUser, PageRequest, UserPatch, UserRow, cursor};
use async_trait::async_trait;
use std::collections::BTreeMap;
use time::OffsetDateTime;

#[async_trait]
impl Accounts for PostgresStore {
    async fn create_user(&self, user: NewUser) -> Result<User> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let row = insert_row(lease.connection(), &user).await;
            lease.end_written(row).await?.map(User::from).map_err(Fault::from)
        })
        .await
    }

    async fn credentials(&self, login: &str) -> Result<Option<Credentials>> {
        if login.contains('\0') {
            return Ok(None);
        }
        let row: Option<AccountRow> =
            self.row(|| sqlx::query_as(CREDENTIALS).bind(fold(login)).bind(spelling(login))).await?;
        Ok(row.map(Credentials::from))
    }

    async fn credentials_of(&self, user: UserId) -> Result<Option<Credentials>> {
        let row: Option<AccountRow> = self
            .row(|| sqlx::query_as(concat!("select ", account_columns!(), " from users where id = $1")).bind(user))
            .await?;
        Ok(row.map(Credentials::from))
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<UserRow>> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<AccountRow> = self
            .rows(|| {
                sqlx::query_as(concat!("select ", account_columns!(), " from users where id = any ($1)")).bind(&ids)
            })
            .await?;
        Ok(rows.into_iter().map(UserRow::from).collect())
    }

    async fn search_users(&self, prefix: &str, page: &PageRequest) -> Result<Page<UserRow>> {
        let after = cursor::user(page.cursor.as_deref())?;
        if prefix.contains('\0') {
            return Ok(Page { items: Vec::new(), next_cursor: None });
        }
        // A range in byte order, not a pattern: nothing in the prefix has a meaning. The last code
        // point stands above all others.
        let rows: Vec<AccountRow> = self
            .listed(|| {
                sqlx::query_as(concat!(
                    "select ",
                    account_columns!(),
                    " from users
                     where username_lower >= $1 and username_lower < $1 || chr(1114111) and username_lower > $2
                       and is_active
                     order by username_lower limit $3"
                ))
                .bind(fold(prefix))
                .bind(&after)
                .bind(cursor::one_more(page.limit))
            })
            .await?;
        Ok(cursor::page(rows, page.limit, |row| cursor::of_user(&fold(&row.username))))
    }

    async fn update_user(
        &self,
        user: UserId,
        verified: &str,
        patch: UserPatch,
        keep: Kept,
    ) -> Result<Option<(User, Vec<SessionId>)>> {
        self.run(|| async {
            let mut lease = self.pool.begin().await?;
            let connection = lease.connection();
            let updated = async {
                let new_address = match &patch.email {
                    Some(email) if is_new(connection, user, email).await? => Some(email),
                    _ => None,
                };
                let row = write_user(connection, user, verified, &patch).await?;
                let Some(row) = row else { return Ok(None) };
                if let Some(email) = new_address {
                    keep_spelling(connection, user, email).await?;
                }
                let ended = match patch.password_hash {
                    Some(_) => {
                        forget_networks(connection, user, keep.network).await?;
                        end_sessions(connection, user, Some(keep.session), false).await?
                    }
                    None => Vec::new(),
                };
                Ok(Some((row.into(), ended)))
            }
            .await;
            lease.end_transaction(updated).await.map_err(taken)
        })
        .await
    }

    async fn deactivate_user(&self, user: UserId) -> Result<()> {
        self.run(|| async {
            let mut lease = self.pool.begin().await?;
            let connection = lease.connection();
            let done = async {
                // Its lock comes first: an heir whose account must stay active holds it too.
                for statement in [
                    "update users set is_active = false where id = $1 and is_active",
                    "insert into departures (user_id) select id from users where id = $1
                     on conflict (user_id) do nothing",
                ] {
                    sqlx::query(statement).bind(user).execute(&mut *connection).await?;
                }
                end_sessions(connection, user, None, true).await?;
                Ok(())
            }
            .await;
            lease.end_transaction(done).await
        })
        .await
    }

    async fn knows_network(&self, user: UserId, network: i64) -> Result<bool> {
        let row: Option<(i64,)> = self
            .row(|| {
                sqlx::query_as(
                    "select network from networks
                     where user_id = $1 and network = $2 and seen_at > clock_timestamp() - make_interval(secs => $3)",
                )
                .bind(user)
                .bind(network)
                .bind(NETWORK_KEPT.as_secs_f64())
            })
            .await?;
        Ok(row.is_some())
    }

    async fn remember_network(&self, user: UserId, network: i64) -> Result<()> {
        let kept = self.row::<(i64,)>(|| {
            sqlx::query_as(
                // Not by the conflict alone: that locks the row, which is a write too.
                "insert into networks (user_id, network)
                 select $1::bigint, $2::bigint where not exists (
                     select from networks where user_id = $1 and network = $2
                         and seen_at >= clock_timestamp() - make_interval(secs => $3))
                 on conflict (user_id, network) do update set seen_at = excluded.seen_at
                 returning network",
            )
            .bind(user)
            .bind(network)
            .bind(NETWORK_SEEN_EVERY.as_secs_f64())
        });
        kept.await.map(drop)
    }

    async fn renew_hash(&self, user: UserId, verified: &str, renewed: &str) -> Result<()> {
        let renewed = self.row::<(i64,)>(|| {
            sqlx::query_as("update users set password_hash = $3 where id = $1 and password_hash = $2 returning id")
                .bind(user)
                .bind(verified)
                .bind(renewed)
        });
        renewed.await.map(drop)
    }

    async fn set_last_seen(&self, seen: &[(UserId, OffsetDateTime)]) -> Result<()> {
        let mut latest = BTreeMap::new();
        for (user, at) in seen {
            let kept = latest.entry(user.0).or_insert(*at);
            *kept = (*kept).max(*at);
        }
        let (ids, times): (Vec<i64>, Vec<OffsetDateTime>) = latest.into_iter().unzip();
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            // Locked in the order of their ids, so that two nodes with the same users never wait
            // for each other.
            let done = sqlx::query(
                "with seen as (select * from unnest($1::bigint[], $2::timestamptz[]) as s (id, at)),
                      locked as (select id from users where id = any ($1) order by id for no key update)
                 update users u set last_seen_at = s.at
                 from seen s join locked l using (id)
                 where u.id = s.id and (u.last_seen_at is null or u.last_seen_at < s.at)",
            )
            .bind(&ids)
            .bind(&times)
            .execute(lease.connection())
            .await;
            // Never moves back: to run it again does no harm.
            lease.end(done).await.map(drop)
        })
        .await
    }
}

/// The row, or the one of name and address that is taken. A violated constraint would write the
/// address to the server's log.
async fn insert_row(
    connection: &mut ServerConnection,
    user: &NewUser,
) -> Result<Result<AccountRow, Error>, sqlx::Error> {
    let row: Option<AccountRow> = sqlx::query_as(concat!(
        "insert into users (username, username_lower, email, email_lower, email_spelling, password_hash)
         select $1, $2, $3, $4, $5, $6 where not exists (select from users where email_lower = $5)
         on conflict do nothing returning ",
        account_columns!()
    ))
    .bind(&user.username)
    .bind(fold(&user.username))
    .bind(&user.email)
    .bind(fold(&user.email))
    .bind(spelling(&user.email))
    .bind(&user.password_hash)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = row {
        return Ok(Ok(row));
    }
    let named: bool = sqlx::query_scalar("select exists (select from users where username_lower = $1)")
        .bind(fold(&user.username))
        .fetch_one(connection)
        .await?;
    Ok(Err(if named { Error::UsernameTaken } else { Error::EmailTaken }))
}

/// Inserts an account within a transaction. `UsernameTaken`, `EmailTaken`.
pub(super) async fn insert_user(connection: &mut ServerConnection, user: &NewUser) -> Result<User, Fault> {
    Ok(insert_row(connection, user).await?.map(User::from)?)
}

async fn write_user(
    connection: &mut ServerConnection,
    user: UserId,
    verified: &str,
    patch: &UserPatch,
) -> Result<Option<AccountRow>, sqlx::Error> {
    sqlx::query_as(concat!(
        "update users set email = coalesce($2, email), email_lower = coalesce($3, email_lower),
             password_hash = coalesce($4, password_hash),
             display_name = case when $6 then $7 else display_name end, bio = case when $8 then $9 else bio end
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
    .bind(patch.profile.display_name.as_ref().and_then(Option::as_ref))
    .bind(patch.profile.bio.is_some())
    .bind(patch.profile.bio.as_ref().and_then(Option::as_ref))
    .fetch_optional(connection)
    .await
}

/// All but one.
async fn forget_networks(connection: &mut ServerConnection, user: UserId, keep: i64) -> Result<(), sqlx::Error> {
    let statement = sqlx::query("delete from networks where user_id = $1 and network <> $2");
    statement.bind(user).bind(keep).execute(connection).await.map(drop)
}

pub(super) async fn end_sessions(
    connection: &mut ServerConnection,
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

//! Login sessions.

use super::PostgresStore;
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::store::accounts::{AccountRow, account_columns};
use crate::store::fault::Fault;
use crate::store::sessions::SessionRow;
use crate::store::{EndedSession, Rotation, Session, Sessions};
use async_trait::async_trait;
use sqlx::PgConnection;
use std::time::Duration;

#[async_trait]
impl Sessions for PostgresStore {
    async fn create_session(&self, user: UserId, verified: &str, ttl: Duration) -> Result<Session> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            // The account's row is locked against a deactivation or a new password that would miss
            // the session.
            let opened: Result<Option<(bool, Option<SessionId>)>, _> = sqlx::query_as(
                "with account as materialized (
                     select id, is_active, password_hash = $3 as fits from users where id = $1 for share
                 ), opened as (
                     insert into sessions (user_id, expires_at)
                     select id, clock_timestamp() + make_interval(secs => $2) from account where is_active and fits
                     returning id
                 )
                 select is_active, (select id from opened) from account",
            )
            .bind(user)
            .bind(ttl.as_secs_f64())
            .bind(verified)
            .fetch_optional(lease.connection())
            .await;
            match lease.end_written(opened)? {
                Some((_, Some(id))) => Ok(Session { id, user_id: user, generation: 0 }),
                Some((true, None)) => Err(Error::BadCredentials.into()),
                Some((false, None)) | None => Err(Error::AccountDisabled.into()),
            }
        })
        .await
    }

    async fn rotate_session(&self, session: SessionId, generation: i64, ttl: Duration) -> Result<Rotation> {
        self.run(|| async {
            let mut lease = self.pool.begin().await?;
            let rotation = rotate(lease.connection(), session, generation, ttl).await;
            lease.end_transaction(rotation).await
        })
        .await
    }

    async fn end_session(&self, session: SessionId) -> Result<()> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let ended = end(lease.connection(), session).await;
            // To end it again does no harm.
            lease.end(ended)
        })
        .await
    }

    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>> {
        let rows: Vec<(SessionId, UserId, bool)> = self
            .rows(|| {
                sqlx::query_as(
                    "select id, user_id, disabled from sessions
                     where ended_at > clock_timestamp() - make_interval(secs => $1)",
                )
                .bind(period.as_secs_f64())
            })
            .await?;
        Ok(rows.into_iter().map(|(id, user_id, disabled)| EndedSession { id, user_id, disabled }).collect())
    }
}

async fn rotate(
    connection: &mut PgConnection,
    session: SessionId,
    generation: i64,
    ttl: Duration,
) -> Result<Rotation, Fault> {
    let Some(row) = lock_session(connection, session).await? else {
        return Ok(Rotation::Ended);
    };
    let user: AccountRow = sqlx::query_as(concat!("select ", account_columns!(), " from users where id = $1"))
        .bind(row.user_id)
        .fetch_one(&mut *connection)
        .await?;
    if !user.is_active {
        return Ok(Rotation::Disabled);
    }
    if !row.live || generation > row.generation {
        return Ok(Rotation::Ended);
    }
    if generation < row.generation {
        end(connection, session).await?;
        return Ok(Rotation::Reused(row.session(row.generation)));
    }
    sqlx::query(
        "update sessions set generation = generation + 1, expires_at = clock_timestamp() + make_interval(secs => $2)
         where id = $1",
    )
    .bind(session)
    .bind(ttl.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(Rotation::Rotated(row.session(generation + 1), user.into()))
}

async fn lock_session(connection: &mut PgConnection, session: SessionId) -> Result<Option<SessionRow>, sqlx::Error> {
    sqlx::query_as(
        "select id, user_id, generation, ended_at is null and expires_at > clock_timestamp() as live
         from sessions where id = $1 for no key update",
    )
    .bind(session)
    .fetch_optional(connection)
    .await
}

async fn end(connection: &mut PgConnection, session: SessionId) -> Result<(), sqlx::Error> {
    sqlx::query("update sessions set ended_at = clock_timestamp() where id = $1 and ended_at is null")
        .bind(session)
        .execute(connection)
        .await
        .map(drop)
}

//! Login sessions.

use super::SqliteStore;
use super::database::commit;
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::store::accounts::{AccountRow, account_columns};
use crate::store::fault::Fault;
use crate::store::sessions::SessionRow;
use crate::store::stored_time::Time;
use crate::store::{EndedSession, Rotation, Session, Sessions};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use std::time::Duration;

#[async_trait]
impl Sessions for SqliteStore {
    async fn create_session(&self, user: UserId, verified: &str, ttl: Duration) -> Result<Session> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let account: Option<(bool, bool)> =
                sqlx::query_as("select is_active, password_hash = $2 from users where id = $1")
                    .bind(user)
                    .bind(verified)
                    .fetch_optional(&mut *transaction)
                    .await?;
            match account {
                Some((true, true)) => {}
                Some((true, false)) => return Err(Error::BadCredentials.into()),
                Some((false, _)) | None => return Err(Error::AccountDisabled.into()),
            }
            let id = sqlx::query_scalar(
                "insert into sessions (user_id, created_at, expires_at) values ($1, $2, $3) returning id",
            )
            .bind(user)
            .bind(self.database.now())
            .bind(self.database.after(ttl))
            .fetch_one(&mut *transaction)
            .await?;
            commit(transaction, Session { id, user_id: user, generation: 0 }).await
        })
        .await
    }

    async fn rotate_session(&self, session: SessionId, generation: i64, ttl: Duration) -> Result<Rotation> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let times = (self.database.now(), self.database.after(ttl));
            let rotation = rotate(&mut transaction, session, generation, times).await?;
            commit(transaction, rotation).await
        })
        .await
    }

    async fn end_session(&self, session: SessionId) -> Result<()> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            end(&mut transaction, session, self.database.now()).await?;
            commit(transaction, ()).await
        })
        .await
    }

    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>> {
        let statement = sqlx::query_as("select id, user_id, disabled from sessions where ended_at > $1");
        let rows: Vec<(SessionId, UserId, bool)> = self.rows(statement.bind(self.database.before(period))).await?;
        Ok(rows.into_iter().map(|(id, user_id, disabled)| EndedSession { id, user_id, disabled }).collect())
    }
}

async fn rotate(
    connection: &mut SqliteConnection,
    session: SessionId,
    generation: i64,
    (now, expires_at): (Time, Time),
) -> Result<Rotation, Fault> {
    let row: Option<SessionRow> = sqlx::query_as(
        "select id, user_id, generation, ended_at is null and expires_at > $2 as live from sessions where id = $1",
    )
    .bind(session)
    .bind(now)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
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
        end(connection, session, now).await?;
        return Ok(Rotation::Reused(row.session(row.generation)));
    }
    sqlx::query("update sessions set generation = generation + 1, expires_at = $2 where id = $1")
        .bind(session)
        .bind(expires_at)
        .execute(connection)
        .await?;
    Ok(Rotation::Rotated(row.session(generation + 1), user.into()))
}

async fn end(connection: &mut SqliteConnection, session: SessionId, now: Time) -> Result<(), sqlx::Error> {
    sqlx::query("update sessions set ended_at = $2 where id = $1 and ended_at is null")
        .bind(session)
        .bind(now)
        .execute(connection)
        .await
        .map(drop)
}

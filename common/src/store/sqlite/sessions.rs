//! Login sessions.

use super::SqliteStore;
use super::accounts::end_sessions;
use super::database::{commit, json};
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::model::Page;
use crate::store::accounts::{AccountRow, account_columns};
use crate::store::fault::Fault;
use crate::store::sessions::{
    ENDED_BY_A_LOGIN, HolderRow, LONGEST_SESSION, MOST_SESSIONS, OpenSessionRow, REFRESH_REPEATED_WITHIN, SessionRow,
    Step, in_order,
};
use crate::store::stored_time::Time;
use crate::store::{EndedSession, Holder, OpenSession, PageRequest, Rotation, Session, SessionKey, Sessions, cursor};
use async_trait::async_trait;
use sqlx::SqliteConnection;
use std::time::Duration;

#[async_trait]
impl Sessions for SqliteStore {
    async fn create_session(
        &self,
        user: UserId,
        verified: &str,
        key: SessionKey,
        ttl: Duration,
        user_agent: Option<&str>,
    ) -> Result<Session> {
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
            end_surplus(&mut transaction, user, self.database.now()).await?;
            let id = sqlx::query_scalar(
                "insert into sessions (user_id, created_at, expires_at, key_hash, user_agent)
                 values ($1, $2, $3, $4, $5) returning id",
            )
            .bind(user)
            .bind(self.database.now())
            .bind(self.database.after(ttl.min(LONGEST_SESSION)))
            .bind(key.hash().to_vec())
            .bind(user_agent)
            .fetch_one(&mut *transaction)
            .await?;
            commit(transaction, Session { id, user_id: user, key, generation: 0 }).await
        })
        .await
    }

    async fn rotate_session(&self, token: Session, ttl: Duration) -> Result<Rotation> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let times = Times {
                now: self.database.now(),
                expires_at: self.database.after(ttl),
                repeated_after: self.database.before(REFRESH_REPEATED_WITHIN),
            };
            let rotation = rotate(&mut transaction, token, times).await?;
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

    async fn sessions_of(&self, user: UserId, page: &PageRequest) -> Result<Page<OpenSession>> {
        let before = cursor::session(page.cursor.as_deref())?;
        let statement = sqlx::query_as(
            "select id, created_at, coalesce(rotated_at, created_at) as last_used_at, user_agent from sessions
             where user_id = $1 and ended_at is null and expires_at > $4 and key_hash is not null and id < $2
             order by id desc limit $3",
        );
        let statement = statement.bind(user).bind(before).bind(cursor::one_more(page.limit)).bind(self.database.now());
        let rows: Vec<OpenSessionRow> = self.rows(statement).await?;
        Ok(cursor::page(rows, page.limit, |row| cursor::of_session(row.id)))
    }

    async fn end_session_of(&self, user: UserId, session: SessionId) -> Result<bool> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let ended = sqlx::query(
                "update sessions set ended_at = $3
                 where id = $1 and user_id = $2 and ended_at is null and expires_at > $3",
            )
            .bind(session)
            .bind(user)
            .bind(self.database.now())
            .execute(&mut *transaction)
            .await?;
            commit(transaction, ended.rows_affected() > 0).await
        })
        .await
    }

    async fn end_other_sessions(&self, user: UserId, keep: SessionId) -> Result<Vec<SessionId>> {
        self.run(async {
            let mut transaction = self.database.begin().await?;
            let ended = end_sessions(&mut transaction, user, Some(keep), false, self.database.now()).await?;
            commit(transaction, ended).await
        })
        .await
    }

    async fn sessions(&self, sessions: &[SessionId]) -> Result<Vec<Option<Holder>>> {
        let statement = sqlx::query_as(
            "select id, user_id, key_hash, ended_at is not null as ended, disabled from sessions
             where id in (select value from json_each($1))",
        );
        let rows: Vec<HolderRow> = self.rows(statement.bind(json(&sessions)?)).await?;
        Ok(in_order(sessions, rows))
    }

    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>> {
        // Not of an account that is active again: its later sessions live.
        let statement = sqlx::query_as(
            "select s.id, s.user_id, s.disabled and not exists (
                 select 1 from users u where u.id = s.user_id and u.is_active
             )
             from sessions s where s.ended_at > $1",
        );
        let rows: Vec<(SessionId, UserId, bool)> = self.rows(statement.bind(self.database.before(period))).await?;
        Ok(rows.into_iter().map(|(id, user_id, disabled)| EndedSession { id, user_id, disabled }).collect())
    }
}

/// Ends some of too many sessions, those that were used least, so that there is a place for one
/// more.
async fn end_surplus(connection: &mut SqliteConnection, user: UserId, now: Time) -> Result<(), sqlx::Error> {
    let ended = sqlx::query(
        "update sessions set ended_at = $2 where id in (
             select id from sessions where user_id = $1 and ended_at is null and expires_at > $2
             order by rotated_at is not null desc, coalesce(rotated_at, created_at) desc, id desc limit $4 offset $3
         )",
    );
    ended.bind(user).bind(now).bind(MOST_SESSIONS - 1).bind(ENDED_BY_A_LOGIN).execute(connection).await.map(drop)
}

/// The times that a rotation compares with and stores.
struct Times {
    now: Time,
    expires_at: Time,
    repeated_after: Time,
}

async fn rotate(connection: &mut SqliteConnection, token: Session, times: Times) -> Result<Rotation, Fault> {
    let row: Option<SessionRow> = sqlx::query_as(
        "select user_id, key_hash, generation, ended_at is null and expires_at > $2 as live,
             not repeated and coalesce(rotated_at > $3, false) as repeatable
         from sessions where id = $1",
    )
    .bind(token.id)
    .bind(times.now)
    .bind(times.repeated_after)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row.filter(|row| row.is_of(&token)) else { return Ok(Rotation::Ended) };
    let user: AccountRow = sqlx::query_as(concat!("select ", account_columns!(), " from users where id = $1"))
        .bind(row.user_id)
        .fetch_one(&mut *connection)
        .await?;
    if !user.is_active {
        return Ok(Rotation::Disabled);
    }
    let next = Session { generation: token.generation + 1, ..token };
    match row.step(&token) {
        Step::Ended => Ok(Rotation::Ended),
        Step::Reuse => {
            end(connection, token.id, times.now).await?;
            Ok(Rotation::Reused(Session { generation: row.generation, ..token }))
        }
        Step::Repeat => {
            let repeated = sqlx::query("update sessions set repeated = 1 where id = $1").bind(token.id);
            repeated.execute(connection).await?;
            Ok(Rotation::Rotated(next, user.into()))
        }
        Step::Next => {
            sqlx::query(
                "update sessions set generation = generation + 1, rotated_at = $2, repeated = 0,
                     expires_at = min($3, created_at + $4)
                 where id = $1",
            )
            .bind(token.id)
            .bind(times.now)
            .bind(times.expires_at)
            .bind(i64::try_from(LONGEST_SESSION.as_micros()).unwrap_or(i64::MAX))
            .execute(connection)
            .await?;
            Ok(Rotation::Rotated(next, user.into()))
        }
    }
}

async fn end(connection: &mut SqliteConnection, session: SessionId, now: Time) -> Result<(), sqlx::Error> {
    sqlx::query("update sessions set ended_at = $2 where id = $1 and ended_at is null")
        .bind(session)
        .bind(now)
        .execute(connection)
        .await
        .map(drop)
}

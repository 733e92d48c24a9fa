//! Login sessions.

use super::PostgresStore;
use super::accounts::end_sessions;
use super::connection::ServerConnection;
use crate::error::{Error, Result};
use crate::id::{SessionId, UserId};
use crate::model::Page;
use crate::store::accounts::{AccountRow, account_columns};
use crate::store::fault::Fault;
use crate::store::sessions::{
    ENDED_BY_A_LOGIN, HolderRow, LONGEST_SESSION, MOST_SESSIONS, OpenSessionRow, REFRESH_REPEATED_WITHIN, SessionRow,
    Step, in_order,
};
use crate::store::{EndedSession, Holder, OpenSession, PageRequest, Rotation, Session, SessionKey, Sessions, cursor};
use async_trait::async_trait;
use std::time::Duration;

#[async_trait]
impl Sessions for PostgresStore {
    async fn create_session(
        &self,
        user: UserId,
        verified: &str,
        key: SessionKey,
        ttl: Duration,
        user_agent: Option<&str>,
    ) -> Result<Session> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            // The account's row is locked against a deactivation or a new password that would miss
            // the session.
            let opened: Result<Option<(bool, Option<SessionId>)>, _> = sqlx::query_as(
                "with account as materialized (
                     select id, is_active, password_hash = $3 as fits from users where id = $1 for share
                 ), opened as (
                     insert into sessions (user_id, key_hash, user_agent, expires_at)
                     select id, $4, $5, clock_timestamp() + make_interval(secs => $2) from account where is_active and fits
                     returning id
                 ), surplus as materialized (
                     select id from sessions
                     where user_id = $1 and ended_at is null and expires_at > clock_timestamp()
                     order by rotated_at is not null desc, coalesce(rotated_at, created_at) desc, id desc
                     limit $7 offset $6
                 ), closed as (
                     update sessions set ended_at = clock_timestamp()
                     where id in (
                         select id from sessions where id in (select id from surplus) and ended_at is null
                         for no key update skip locked
                     ) and exists (select from opened)
                 )
                 select is_active, (select id from opened) from account",
            )
            .bind(user)
            .bind(ttl.min(LONGEST_SESSION).as_secs_f64())
            .bind(verified)
            .bind(key.hash())
            .bind(user_agent)
            // The statement does not see its own.
            .bind(i64::from(MOST_SESSIONS) - 1)
            .bind(i64::from(ENDED_BY_A_LOGIN))
            .fetch_optional(lease.connection())
            .await;
            match lease.end_written(opened).await? {
                Some((_, Some(id))) => Ok(Session { id, user_id: user, key, generation: 0 }),
                Some((true, None)) => Err(Error::BadCredentials.into()),
                Some((false, None)) | None => Err(Error::AccountDisabled.into()),
            }
        })
        .await
    }

    async fn rotate_session(&self, token: Session, ttl: Duration) -> Result<Rotation> {
        self.run(|| async {
            let mut lease = self.pool.begin().await?;
            let rotation = rotate(lease.connection(), token, ttl).await;
            lease.end_transaction(rotation).await
        })
        .await
    }

    async fn end_session(&self, session: SessionId) -> Result<()> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let ended = end(lease.connection(), session).await;
            // To end it again does no harm.
            lease.end(ended).await
        })
        .await
    }

    async fn sessions_of(&self, user: UserId, page: &PageRequest) -> Result<Page<OpenSession>> {
        let before = cursor::session(page.cursor.as_deref())?;
        let rows: Vec<OpenSessionRow> = self
            .rows(|| {
                sqlx::query_as(
                    "select id, created_at, coalesce(rotated_at, created_at) as last_used_at, user_agent from sessions
                     where user_id = $1 and ended_at is null and expires_at > clock_timestamp()
                       and key_hash is not null and id < $2
                     order by id desc limit $3",
                )
                .bind(user)
                .bind(before)
                .bind(cursor::one_more(page.limit))
            })
            .await?;
        Ok(cursor::page(rows, page.limit, |row| cursor::of_session(row.id)))
    }

    async fn end_session_of(&self, user: UserId, session: SessionId) -> Result<bool> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let ended = sqlx::query(
                "update sessions set ended_at = clock_timestamp()
                 where id = $1 and user_id = $2 and ended_at is null and expires_at > clock_timestamp()",
            )
            .bind(session)
            .bind(user)
            .execute(lease.connection())
            .await;
            Ok(lease.end_written(ended).await?.rows_affected() > 0)
        })
        .await
    }

    async fn end_other_sessions(&self, user: UserId, keep: SessionId) -> Result<Vec<SessionId>> {
        self.run(|| async {
            let mut lease = self.pool.lease().await?;
            let ended = end_sessions(lease.connection(), user, Some(keep), false).await;
            lease.end_written(ended).await
        })
        .await
    }

    async fn sessions(&self, sessions: &[SessionId]) -> Result<Vec<Option<Holder>>> {
        let ids: Vec<i64> = sessions.iter().map(|session| session.0).collect();
        let rows: Vec<HolderRow> = self
            .rows(|| {
                sqlx::query_as(
                    "select id, user_id, key_hash, ended_at is not null as ended, disabled from sessions
                     where id = any ($1)",
                )
                .bind(&ids)
            })
            .await?;
        Ok(in_order(sessions, rows))
    }

    async fn sessions_ended_within(&self, period: Duration) -> Result<Vec<EndedSession>> {
        let rows: Vec<(SessionId, UserId, bool)> = self
            .rows(|| {
                sqlx::query_as(
                    // Not of an account that is active again: its later sessions live.
                    "select s.id, s.user_id, s.disabled and not exists (
                         select from users u where u.id = s.user_id and u.is_active
                     )
                     from sessions s where s.ended_at > clock_timestamp() - make_interval(secs => $1)",
                )
                .bind(period.as_secs_f64())
            })
            .await?;
        Ok(rows.into_iter().map(|(id, user_id, disabled)| EndedSession { id, user_id, disabled }).collect())
    }
}

async fn rotate(connection: &mut ServerConnection, token: Session, ttl: Duration) -> Result<Rotation, Fault> {
    let row = lock_session(connection, token.id).await?.filter(|row| row.is_of(&token));
    let Some(row) = row else { return Ok(Rotation::Ended) };
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
            end(connection, token.id).await?;
            Ok(Rotation::Reused(Session { generation: row.generation, ..token }))
        }
        Step::Repeat => {
            let repeated = sqlx::query("update sessions set repeated = true where id = $1").bind(token.id);
            repeated.execute(connection).await?;
            Ok(Rotation::Rotated(next, user.into()))
        }
        Step::Next => {
            sqlx::query(
                "update sessions set generation = generation + 1, rotated_at = clock_timestamp(), repeated = false,
                     expires_at = least(clock_timestamp() + make_interval(secs => $2),
                                        created_at + make_interval(secs => $3))
                 where id = $1",
            )
            .bind(token.id)
            .bind(ttl.as_secs_f64())
            .bind(LONGEST_SESSION.as_secs_f64())
            .execute(connection)
            .await?;
            Ok(Rotation::Rotated(next, user.into()))
        }
    }
}

async fn lock_session(
    connection: &mut ServerConnection,
    session: SessionId,
) -> Result<Option<SessionRow>, sqlx::Error> {
    sqlx::query_as(
        "select user_id, key_hash, generation, ended_at is null and expires_at > clock_timestamp() as live,
             not repeated and coalesce(rotated_at > clock_timestamp() - make_interval(secs => $2), false) as repeatable
         from sessions where id = $1 for no key update",
    )
    .bind(session)
    .bind(REFRESH_REPEATED_WITHIN.as_secs_f64())
    .fetch_optional(connection)
    .await
}

async fn end(connection: &mut ServerConnection, session: SessionId) -> Result<(), sqlx::Error> {
    sqlx::query("update sessions set ended_at = clock_timestamp() where id = $1 and ended_at is null")
        .bind(session)
        .execute(connection)
        .await
        .map(drop)
}

//! Brings the schema up, while older nodes serve (guarantee G10).
//!
//! One node at a time, under a lock that ends with its transaction: a pooler may stand between.
//! Each migration is a transaction of its own. It asks for its locks in short tries, because
//! writes queue behind a lock that is waited for. An index on a table that exists is built beside
//! the writes.

use super::connection::{Server, ServerConnection};
use super::{PostgresStore, migrator};
use crate::backoff::Backoff;
use crate::error::{Error, Result};
use crate::store::fault::{Fault, code};
use sqlx::AssertSqlSafe;
use sqlx::migrate::Migration;
use std::time::Duration;
use tokio::time::sleep;

/// The lock under which one node brings the schema up and the others wait.
const MIGRATION_LOCK: i64 = 0x6d65_7373_656e_6765;
/// The pause before the lock is asked for again.
const OTHER_NODE: Duration = Duration::from_millis(250);
/// The pauses between tries of a migration. Writes that queued behind a try pass in between.
const MIGRATION_RETRY: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(8) };
/// Another isolation, as a server may have it by default, would keep the first statement's
/// snapshot, for whose end an index that is built beside the guard waits. Writes may wait for as
/// long as a try does, and never for two seconds. A try outlasts `deadlock_timeout` (1 s): only
/// then does Postgres cancel an autovacuum that holds the table. A notice that a table is there
/// already would be a line of the log for each migration.
const BEGIN: &str =
    "begin isolation level read committed; set local lock_timeout = 1100; set local statement_timeout = 0;
    set local idle_in_transaction_session_timeout = 0; set local client_min_messages = warning";
/// For an index that is built beside the writes, outside a transaction. Nothing waits behind it.
const BESIDE: &str = "set statement_timeout = 0; set lock_timeout = 0";
/// Statements run in place of a released migration whose own ones hold up writes. Nodes of
/// earlier releases compare its checksum, so its file stays.
const BESIDE_WRITES: &[(i64, &str)] =
    &[(3, "create index concurrently if not exists members_owner on members (chat_id) where role = 1")];
const CREATE_TABLE: &str = "create table if not exists _sqlx_migrations (
    version bigint primary key, description text not null, installed_on timestamptz not null default now(),
    success boolean not null, checksum bytea not null, execution_time bigint not null)";

impl PostgresStore {
    /// Applies the migrations. Any number of nodes may do so at once: one applies them, the others
    /// wait as long as it takes. Where nothing is to be done, no lock is taken.
    pub async fn migrate(&self) -> Result<()> {
        let mut waiting = false;
        while !self.schema_ready().await? {
            let mut guard = self.pool.server().plain().await?;
            guard.raw(BEGIN).await.map_err(Fault::Sql)?;
            let locked: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)")
                .bind(MIGRATION_LOCK)
                .fetch_one(&mut guard)
                .await
                .map_err(Fault::Sql)?;
            if locked {
                next(self.pool.server(), &mut guard).await?;
                guard.raw("commit").await.map_err(Fault::Sql)?;
                continue;
            }
            guard.raw("rollback").await.map_err(Fault::Sql)?;
            drop(guard);
            if !waiting {
                waiting = true;
                tracing::info!("waiting for the node that brings the database's schema up");
            }
            sleep(OTHER_NODE).await;
        }
        Ok(())
    }
}

/// Applies the first migration that is missing, if any, in the guard's transaction or beside it.
async fn next(server: &Server, guard: &mut ServerConnection) -> Result<()> {
    guard.raw(CREATE_TABLE).await.map_err(Fault::Sql)?;
    let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as("select version, checksum from _sqlx_migrations where success")
        .fetch_all(&mut *guard)
        .await
        .map_err(Fault::Sql)?;
    let migrator = migrator();
    let mut missing = None;
    for migration in migrator.iter() {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            None => missing = missing.or(Some(migration)),
            Some((_, checksum)) if *checksum == *migration.checksum => {}
            Some(_) => {
                let fault = format!("migration {} was applied with other statements than these", migration.version);
                return Err(Error::internal(fault));
            }
        }
    }
    let Some(migration) = missing else { return Ok(()) };
    let beside = BESIDE_WRITES.iter().find(|(version, _)| *version == migration.version).map(|(_, sql)| *sql);
    let beside = beside.or(migration.no_tx.then(|| migration.sql.as_str()));
    let mut pauses = MIGRATION_RETRY.start();
    loop {
        let tried = match beside {
            Some(sql) => build_beside(server, guard, sql).await,
            None => in_transaction(guard, migration).await,
        };
        match tried {
            Ok(()) => break,
            // A lock not granted in time; a deadlock; a migration that gave up by itself.
            Err(error) if matches!(code(&error).as_deref(), Some("55P03" | "40P01" | "P0001")) => {
                tracing::warn!(migration.version, %error, "a migration waits for another transaction's lock");
                guard.raw("rollback to savepoint step").await.map_err(Fault::Sql)?;
                sleep(pauses.pause()).await;
            }
            Err(error) => {
                tracing::error!(migration.version, %error, "a migration failed");
                return Err(Fault::Sql(error).into());
            }
        }
    }
    record(guard, migration).await.map_err(|error| Fault::Sql(error).into())
}

async fn in_transaction(guard: &mut ServerConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    guard.raw("savepoint step").await?;
    guard.raw(migration.sql.clone()).await
}

/// Builds an index outside the guard's transaction. The remains of a failed try serve nobody:
/// they are dropped first. A node that was cut leaves its build to the server, which goes on with
/// it: that one is waited for.
async fn build_beside(server: &Server, guard: &mut ServerConnection, sql: &str) -> Result<(), sqlx::Error> {
    guard.raw("savepoint step").await?;
    let index = index_of(sql);
    if let Some(index) = index {
        let building = "select exists (
            select from pg_stat_progress_create_index
            where datname = current_database() and index_relid = to_regclass($1)
        )";
        let mut said = false;
        while sqlx::query_scalar(building).bind(index).fetch_one(&mut *guard).await? {
            if !std::mem::replace(&mut said, true) {
                tracing::info!(index, "waiting for the server to end an index that another node began");
            }
            sleep(OTHER_NODE).await;
            // A transaction sees the progress of its first look else.
            guard.raw("select pg_stat_clear_snapshot()").await?;
        }
    }
    let mut builder = server.plain().await.map_err(sql_error)?;
    if !server.is_pooled() {
        builder.raw(BESIDE).await?;
    }
    if let Some(index) = index {
        let left: bool = sqlx::query_scalar(
            "select exists (select from pg_index where indexrelid = to_regclass($1) and not indisvalid)",
        )
        .bind(index)
        .fetch_one(guard)
        .await?;
        if left {
            builder.raw(AssertSqlSafe(format!("drop index concurrently if exists {index}"))).await?;
        }
    }
    builder.raw(AssertSqlSafe(sql.to_owned())).await
}

fn sql_error(fault: Fault) -> sqlx::Error {
    match fault {
        Fault::Sql(error) | Fault::Unknown(error) => error,
        Fault::Rule(error) => sqlx::Error::Io(std::io::Error::other(error)),
    }
}

/// The index that a `create index concurrently if not exists` makes.
fn index_of(sql: &str) -> Option<&str> {
    sql.split_once(" if not exists ").and_then(|(_, rest)| rest.split_whitespace().next())
}

async fn record(guard: &mut ServerConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values ($1, $2, true, $3, -1)",
    )
    .bind(migration.version)
    .bind(&*migration.description)
    .bind(&*migration.checksum)
    .execute(guard)
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index on a table of an earlier migration stops its writes, unless it is built beside
    /// them. A migration that does so holds one statement.
    #[test]
    fn later_indexes_are_built_beside_the_writes() {
        for migration in migrator().iter().filter(|migration| migration.version > 1) {
            let replaced = BESIDE_WRITES.iter().any(|(version, _)| *version == migration.version);
            let sql = migration.sql.as_str().to_lowercase();
            if replaced || !sql.contains("create index") && !sql.contains("create unique index") {
                continue;
            }
            let tables: Vec<_> =
                sql.split("create table ").skip(1).filter_map(|s| s.split_whitespace().next()).collect();
            let on_new = sql.split(" index ").skip(1).all(|made| {
                let on = made.split_once(" on ").and_then(|(_, rest)| rest.split([' ', '(']).next());
                on.is_some_and(|table| tables.contains(&table))
            });
            assert!(on_new || migration.no_tx && index_of(&sql).is_some(), "migration {}", migration.version);
        }
        assert_eq!(BESIDE_WRITES.iter().filter_map(|(_, sql)| index_of(sql)).count(), BESIDE_WRITES.len());
    }
}

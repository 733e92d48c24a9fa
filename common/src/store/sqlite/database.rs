//! The file's connections, and the few words that every statement of this back end needs.

use super::file::{FileLock, Place};
use crate::clock::Clock;
use crate::error::Error;
use crate::event::micros;
use crate::store::PoolState;
use crate::store::fault::Fault;
use crate::store::stored_time::Time;
use serde::Serialize;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};
use std::sync::Arc;
use std::time::Duration;

/// The file's connections, and the clock that stamps what is stored.
#[derive(Clone)]
pub(super) struct Database {
    pub(super) writer: SqlitePool,
    pub(super) reader: SqlitePool,
    pub(super) clock: Clock,
    /// Held for as long as the file is open. None beside the process that has it.
    pub(super) lock: Option<Arc<FileLock>>,
    /// Where the file was opened. None beside the process that has it.
    pub(super) place: Option<Arc<Place>>,
}

impl Database {
    /// Begins a transaction that writes. One runs at a time, the others wait. `Unavailable`: the
    /// file is no longer in its place, and what is written to it would be lost.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Fault> {
        if let Some(place) = &self.place {
            place.check()?;
        }
        Ok(self.writer.begin_with("begin immediate").await?)
    }

    pub(super) fn now(&self) -> Time {
        // As it is stored, so that live events and replayed ones bear the same time.
        let now = self.clock.now();
        Time::from_micros(micros(now)).unwrap_or(Time(now))
    }

    /// The present time plus a duration, within what can be stored.
    pub(super) fn after(&self, by: Duration) -> Time {
        moved(self.now(), i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
    }

    pub(super) fn before(&self, by: Duration) -> Time {
        moved(self.now(), -i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
    }

    /// Empties the write-ahead log into the file, so that deleted text is left in neither. Readers
    /// that are in the way are waited for only shortly: it comes again.
    pub(super) async fn checkpoint(&self) -> Result<(), sqlx::Error> {
        let mut writer = self.writer.acquire().await?;
        let mut done = sqlx::raw_sql("pragma busy_timeout = 50").execute(&mut *writer).await.map(drop);
        if done.is_ok() {
            done = sqlx::raw_sql("pragma wal_checkpoint(truncate)").execute(&mut *writer).await.map(drop);
        }
        let patience = format!("pragma busy_timeout = {}", super::ACQUIRE_TIMEOUT.as_millis());
        sqlx::raw_sql(sqlx::AssertSqlSafe(patience)).execute(&mut *writer).await?;
        done
    }

    pub(super) fn state(&self) -> PoolState {
        let idle = self.writer.num_idle() + self.reader.num_idle();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        let size = self.writer.options().get_max_connections() + self.reader.options().get_max_connections();
        PoolState { in_use: (self.writer.size() + self.reader.size()).saturating_sub(idle), idle, size }
    }
}

pub(super) fn moved(now: Time, by: i64) -> Time {
    Time::from_micros(micros(now.0).saturating_add(by)).unwrap_or(now)
}

/// A list as `json_each` takes it.
pub(super) fn json(values: &impl Serialize) -> Result<String, Fault> {
    Ok(serde_json::to_string(values).map_err(Error::internal)?)
}

pub(super) async fn commit<T>(transaction: Transaction<'static, Sqlite>, value: T) -> Result<T, Fault> {
    transaction.commit().await.map_err(Fault::Unknown)?;
    Ok(value)
}

//! The host's own work on the database that the configuration names: `admin`, `invite`. It runs
//! beside the programs or without them.
//!
//! The database is all that it needs. Every node reads from it within a second which sessions
//! ended; what it leaves in the outbox, a relay publishes.
//!
//! Imports `service`, `store`, `auth`, `config`.

mod answer;
mod users;

use crate::config::{AdminTask, Config, Database};
use crate::error::{Error, Result};
use crate::model::Invite;
use crate::service::invites::{self, CreateInvite};
use crate::store::Store;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use std::path::Path;
use std::sync::Arc;

/// Does a task of `admin`, and answers what it prints, for people or as JSON. `UserNotFound`,
/// `Invalid`. `Unavailable`: the database is away, or its schema is another release's.
pub async fn run(config: &Config, task: &AdminTask, json: bool) -> Result<String> {
    let store = open(config).await?;
    let done = users::run(config, store.as_ref(), task).await;
    store.close().await;
    done.and_then(|answer| if json { answer.json() } else { Ok(answer.text()) })
}

/// Makes an invitation to register, and answers its code, or all of it as JSON. `Invalid`: a
/// number that no invitation has. `Unavailable`: the database is away, or its schema is another
/// release's.
pub async fn invite(config: &Config, expires_in: Option<i64>, max_uses: Option<i64>, json: bool) -> Result<String> {
    let new = invites::new(CreateInvite { expires_in, max_uses })?;
    let store = open(config).await?;
    let made = store.create_host_invite(new).await;
    store.close().await;
    let invite = made?;
    if json {
        let invite = Invite { url: format!("/invite/{}", invite.code), ..invite };
        return serde_json::to_string(&invite).map_err(Error::internal);
    }
    Ok(invite.code)
}

/// The database, which another process may be using. None is made: under another user or without
/// the program's own variables it would be another one than the program's.
async fn open(config: &Config) -> Result<Arc<dyn Store>> {
    match &config.database {
        Database::Sqlite(path) if !path.exists() => {
            Err(Error::unavailable(format!("there is no {} yet: start the program first", path.display())))
        }
        Database::Sqlite(path) => Ok(Arc::new(file(path, config.migrate).await?)),
        Database::Postgres(url) => {
            let store = PostgresStore::connect_with(url, config.authorities.as_ref(), config.db_pool_size)?;
            up_to_date(store.schema_ready().await?)?;
            Ok(Arc::new(store))
        }
    }
}

async fn file(path: &Path, migrate: bool) -> Result<SqliteStore> {
    match SqliteStore::open(path).await {
        Ok(store) if migrate => {
            store.migrate().await?;
            Ok(store)
        }
        Ok(store) => ready(store).await,
        Err(Error::Unavailable(_)) => ready(SqliteStore::open_beside(path).await?).await,
        Err(error) => Err(error),
    }
}

/// The store, if its schema is this release's.
async fn ready(store: SqliteStore) -> Result<SqliteStore> {
    match store.schema_ready().await.and_then(up_to_date) {
        Ok(()) => Ok(store),
        Err(error) => {
            store.close().await;
            Err(error)
        }
    }
}

fn up_to_date(ready: bool) -> Result<()> {
    if ready { Ok(()) } else { Err(not_migrated()) }
}

fn not_migrated() -> Error {
    Error::unavailable("its schema is not that of this release: run `migrate`, or start the program first")
}

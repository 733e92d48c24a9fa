//! The host's own work on the database that the configuration names. It runs beside the program or
//! without it.
//!
//! Imports `service`, `store`, `config`.

use crate::config::{Config, Database};
use crate::error::{Error, Result};
use crate::model::Invite;
use crate::service::invites::{self, CreateInvite};
use crate::store::Store;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use std::path::Path;
use std::sync::Arc;

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

/// The database, which another process may be using.
async fn open(config: &Config) -> Result<Arc<dyn Store>> {
    match &config.database {
        Database::Sqlite(path) => Ok(Arc::new(file(path).await?)),
        Database::Postgres(url) => {
            let store = PostgresStore::connect_with(url, config.authorities.as_ref(), config.db_pool_size)?;
            up_to_date(store.schema_ready().await?)?;
            Ok(Arc::new(store))
        }
    }
}

async fn file(path: &Path) -> Result<SqliteStore> {
    match SqliteStore::open(path).await {
        Ok(store) => {
            store.migrate().await?;
            Ok(store)
        }
        Err(Error::Unavailable(_)) => {
            let store = SqliteStore::open_beside(path).await?;
            up_to_date(store.schema_ready().await?)?;
            Ok(store)
        }
        Err(error) => Err(error),
    }
}

fn up_to_date(ready: bool) -> Result<()> {
    if ready {
        Ok(())
    } else {
        Err(Error::unavailable("its schema is not that of this release: start the program first"))
    }
}

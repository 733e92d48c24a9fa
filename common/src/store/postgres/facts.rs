//! Asks the server for its kind and its settings: at the start, and by `doctor`.

use super::{PostgresStore, migrator};
use crate::clock::NOTICEABLE;
use crate::error::{Error, Result};
use crate::store::SchemaState;
use crate::store::fault::Fault;
use time::{Duration, OffsetDateTime};

/// The SQL needs this version.
const OLDEST_SERVER: i32 = 130_000;

/// The server's own report.
#[derive(Debug)]
pub struct ServerFacts {
    /// Its version, as in `server_version`.
    pub version: String,
    /// Why it is too old, with the remedy.
    pub too_old: Option<String>,
    /// The database's encoding.
    pub encoding: String,
    /// Why the encoding will not do, with the remedy.
    pub wrong_encoding: Option<String>,
    /// Whether it is a standby.
    pub standby: bool,
    /// Whether it takes no writes, as a standby or by its settings.
    pub read_only: bool,
    /// Its clock.
    pub clock: OffsetDateTime,
    /// Whether a pooler is between.
    pub pooled: bool,
    /// Connections that it has for everybody but its superusers.
    pub places: i32,
}

impl ServerFacts {
    /// The facts that make a node with a pool of that size serve worse than it could: a line each.
    /// `ahead` is how far the server's clock is ahead of this machine's.
    pub fn warnings(&self, pool: u32, ahead: Duration) -> Vec<String> {
        let clock = (ahead.abs() > NOTICEABLE).then(|| {
            let (seconds, direction) =
                (ahead.abs().as_seconds_f64(), if ahead.is_negative() { "behind" } else { "ahead of" });
            format!(
                "the database's clock is {seconds:.1} s {direction} this machine's: let both follow the time by NTP, \
                 for tokens and latencies are compared with it"
            )
        });
        // The pooler's places count, not the server's.
        let places = (!self.pooled && i64::from(self.places) < i64::from(pool)).then(|| {
            format!(
                "DB_POOL_SIZE is {pool}, and the server has {} connections: raise its max_connections, lower \
                 DB_POOL_SIZE, or put a pooler between",
                self.places
            )
        });
        clock.into_iter().chain(places).collect()
    }
}

impl PostgresStore {
    /// Asks the server.
    pub async fn facts(&self) -> Result<ServerFacts> {
        const ASKED: &str = "select current_setting('server_version_num')::integer, current_setting('server_version'),
            current_setting('server_encoding'), pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
            clock_timestamp(), current_setting('max_connections')::integer
                - current_setting('superuser_reserved_connections')::integer";
        type Row = (i32, String, String, bool, bool, OffsetDateTime, i32);
        let row: Option<Row> = self.row(|| sqlx::query_as(ASKED)).await?;
        let (number, version, encoding, standby, read_only, clock, places) =
            row.ok_or_else(|| Error::unavailable("the server does not say what it is"))?;
        let too_old = (number < OLDEST_SERVER).then(|| {
            let (is, needed) = (number / 10_000, OLDEST_SERVER / 10_000);
            format!("the server is Postgres {is}: it must be {needed} or later")
        });
        let wrong_encoding = (encoding != "UTF8").then(|| {
            format!(
                "the database's encoding is {encoding}, which cannot hold every text: make one with \
                 `create database NAME encoding 'UTF8' template template0`"
            )
        });
        let pooled = self.pool.server().is_pooled();
        Ok(ServerFacts { version, too_old, encoding, wrong_encoding, standby, read_only, clock, pooled, places })
    }

    /// The id of the deployment, as it is kept. It begins no epoch.
    pub async fn deployment_id(&self) -> Result<String> {
        let row: Option<(String,)> = self.row(|| sqlx::query_as("select id from deployment")).await?;
        row.map(|(id,)| id).ok_or_else(|| Error::internal("the table deployment is empty"))
    }

    /// Refuses a server that cannot serve whatever it is given, with the remedy.
    pub async fn check(&self) -> Result<()> {
        let facts = self.facts().await?;
        match facts.too_old.or(facts.wrong_encoding) {
            Some(fault) => Err(Error::internal(fault)),
            None => Ok(()),
        }
    }

    /// How the schema compares with this release's.
    pub async fn schema(&self) -> Result<SchemaState> {
        let applied: Vec<i64> = self
            .run(|| async {
                let mut lease = self.pool.lease().await?;
                let versions = sqlx::query_scalar("select version from _sqlx_migrations where success");
                let versions = versions.fetch_all(lease.connection()).await;
                match lease.end(versions).await {
                    // No such table: there is no schema at all.
                    Err(Fault::Sql(sqlx::Error::Database(error))) if error.code().as_deref() == Some("42P01") => {
                        Ok(Vec::new())
                    }
                    other => other,
                }
            })
            .await?;
        Ok(SchemaState::of(&migrator(), &applied))
    }

    /// Whether all migrations of this release are applied.
    pub async fn schema_ready(&self) -> Result<bool> {
        Ok(self.schema().await?.missing.is_empty())
    }
}

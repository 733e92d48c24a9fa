//! One connection to the server, or to a pooler before it.
//!
//! To the server itself our settings go with the startup packet, and statements are prepared once.
//! A pooler in transaction mode hands each transaction to another of its connections. So through
//! one, nothing may outlive a transaction: settings are `set local`, statements have no name.

use crate::error::Error;
use crate::store::fault::{Fault, code};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{ConnectOptions, Describe, Either, Execute, Executor, PgConnection, Row, SqlSafeStr, SqlStr};
use std::sync::atomic::{AtomicBool, Ordering};

/// The settings of every session of ours. Every statement reaches few rows by a key. So one plan
/// serves all parameters, is made once a connection, and takes the index whatever the statistics
/// of a young table say.
const SETTINGS: [(&str, &str); 6] = [
    ("statement_timeout", "1700"),
    ("idle_in_transaction_session_timeout", "5000"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    // Not a setting of the server's: it shows whether the startup packet's settings arrived.
    ("messenger.direct", "on"),
];
/// Asked once a connection: whether our settings arrived. Where they did, the session is ours
/// alone, and what depends on the server's own values is set. A commit that does not wait for the
/// disk would break guarantee G1. A server that looks after its client ends a statement that was
/// given up.
const ARRIVED: &str = "select coalesce(current_setting('messenger.direct', true), '') = 'on' as direct,
    case when current_setting('messenger.direct', true) = 'on' and current_setting('synchronous_commit') = 'off'
        then set_config('synchronous_commit', 'on', false) end as durable,
    case when current_setting('messenger.direct', true) = 'on' and version() like '%linux%'
            and current_setting('server_version_num')::integer >= 140000
        then set_config('client_connection_check_interval', '100', false) end as watched";
/// Begins a transaction through a pooler, with our settings for it alone.
const BEGIN_POOLED: &str = "begin isolation level read committed; set local statement_timeout = 1700;
    set local idle_in_transaction_session_timeout = 5000; set local jit = off;
    set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off;
    select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'";

/// How connections are made, and whether a pooler was found on the way.
pub(super) struct Server {
    /// With our settings in the startup packet.
    ours: PgConnectOptions,
    /// Without, for poolers.
    plain: PgConnectOptions,
    pooled: AtomicBool,
}

/// A connection. Its statements run through [`Executor`].
#[derive(Debug)]
pub(super) struct ServerConnection {
    inner: PgConnection,
    /// Whether a pooler is between.
    pub(super) pooled: bool,
    /// Whether the server ends a statement soon after its client went away.
    pub(super) watched: bool,
}

impl Server {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        // Poolers refuse a startup packet with settings. Nothing here reads a float.
        let plain = options.extra_float_digits(None).application_name("messenger").disable_statement_logging();
        let ours = plain.clone().options(SETTINGS).options([("default_transaction_isolation", "read committed")]);
        Self { ours, plain, pooled: AtomicBool::new(false) }
    }

    /// Connects, and finds out whether a pooler is between.
    pub(super) async fn connect(&self) -> Result<ServerConnection, Fault> {
        if !self.pooled.load(Ordering::Relaxed) {
            match self.ours.connect().await {
                Ok(connection) => {
                    let connection = arrived(connection).await?;
                    if connection.pooled {
                        self.found_pooler();
                    }
                    return Ok(connection);
                }
                // Poolers' words for settings in the startup packet: PgBouncer's, and that of
                // Amazon's RDS Proxy.
                Err(error) if matches!(code(&error).as_deref(), Some("08P01" | "0A000")) => {}
                Err(error) if code(&error).as_deref() == Some("42704") => {
                    let fault = format!("the server lacks a setting that Postgres 13 has: {error}");
                    return Err(Error::internal(fault).into());
                }
                Err(error) => return Err(Error::unavailable(error).into()),
            }
        }
        let connection = self.plain().await?;
        self.found_pooler();
        Ok(connection)
    }

    /// Connects without our settings, as through a pooler: for work that takes its time.
    pub(super) async fn plain(&self) -> Result<ServerConnection, Fault> {
        let inner = self.plain.connect().await.map_err(Error::unavailable)?;
        Ok(ServerConnection { inner, pooled: true, watched: true })
    }

    /// Whether a pooler was found.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled.load(Ordering::Relaxed)
    }

    fn found_pooler(&self) {
        if !self.pooled.swap(true, Ordering::Relaxed) {
            tracing::info!(
                "a pooler stands before the database: each statement runs in a transaction of its own, with more \
                 round trips"
            );
        }
    }
}

async fn arrived(mut inner: PgConnection) -> Result<ServerConnection, Fault> {
    let row = sqlx::raw_sql(ARRIVED).fetch_one(&mut inner).await.map_err(Error::unavailable)?;
    let pooled = !row.try_get::<bool, _>("direct")?;
    let watched = pooled || row.try_get::<Option<String>, _>("watched")?.is_some();
    Ok(ServerConnection { inner, pooled, watched })
}

impl ServerConnection {
    /// Begins a transaction that the caller asked for.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.raw(if self.pooled { BEGIN_POOLED } else { "begin" }).await
    }

    /// Ends what was done so far: through a pooler it is one transaction, without it each statement
    /// was one.
    pub(super) async fn step(&mut self) -> Result<(), sqlx::Error> {
        if self.pooled {
            self.raw("commit").await?;
            self.begin().await?;
        }
        Ok(())
    }

    /// Runs statements as they stand, unprepared, and drops their rows.
    pub(super) async fn raw(&mut self, sql: impl SqlSafeStr) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(&mut self.inner).await.map(drop)
    }

    /// Asks whether it answers.
    pub(super) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        sqlx::Connection::ping(&mut self.inner).await
    }

    fn named<E>(&self, query: E) -> Statement<E> {
        Statement { query, pooled: self.pooled }
    }
}

/// A statement that keeps no name on a pooler's connection, where it would meet another's.
struct Statement<E> {
    query: E,
    pooled: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Statement<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        !self.pooled && self.query.persistent()
    }
}

impl<'c> Executor<'c> for &'c mut ServerConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let query = self.named(query);
        self.inner.fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let query = self.named(query);
        self.inner.fetch_optional(query)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.inner.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.inner.describe(sql)
    }
}

//! The configuration: read once from flags, environment and `.env`, and validated whole.
//!
//! A bad value is one line that names the variable, the fault and an example, and holds no secret.

mod authorities;
mod back_ends;
mod command_line;
mod database;
mod env_file;
mod flags;
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
mod jwt;
mod limits;
mod listeners;
mod origins;
mod parse;
mod raw;
mod redis;
mod secret;
mod task;
#[cfg(test)]
mod tests;
mod traces;
mod variables;

pub use self::redis::{RedisConfig, SentinelPrimary};
pub use authorities::Authorities;
pub use command_line::{CommandLine, commit, completions, release};
pub use flags::command;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use fuzz::{env_file as fuzz_env_file, variables as fuzz_variables};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use jwt::fuzz as fuzz_keys;
#[cfg(test)]
pub(crate) use jwt::test_keys;
pub use jwt::{JwtKeys, PublicKey, SigningKey};
pub use limits::Limits;
pub use origins::AllowedOrigins;
pub(crate) use origins::canonical as canonical_origin;
pub use secret::SecretKey;
pub use task::{AdminTask, INVITE_SECONDS, Task};
pub use traces::TracesConfig;
pub use variables::{VARIABLES, Variable};

use crate::words::Language;
use authorities::TlsUsers;
use ipnet::IpNet;
use raw::Raw;
use secrecy::SecretString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which of the three programs this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Everything in one process.
    Messenger,
    /// The REST server.
    Api,
    /// The WebSocket server.
    Gateway,
}

impl Program {
    /// The program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Messenger => "messenger",
            Self::Api => "messenger-api",
            Self::Gateway => "messenger-gateway",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Messenger => "The whole messenger in one process: REST and WebSocket",
            Self::Api => "The messenger's REST server",
            Self::Gateway => "The messenger's WebSocket server",
        }
    }
}

/// Whether anybody may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anybody.
    Open,
    /// Those who have an invitation.
    Invite,
    /// Nobody.
    Closed,
}

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Database {
    /// A Postgres server, by its address.
    Postgres(SecretString),
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// A program's whole configuration.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the operator, one a variable")]
pub struct Config {
    /// Which program reads it.
    pub program: Program,
    /// The task that it was started for.
    pub task: Task,
    /// Shown in the OpenAPI document and at `GET /`.
    pub project_name: String,
    /// Shown beside the name.
    pub description: String,
    /// Shown beside the name.
    pub version: String,
    /// Readable logs, permissive origins, weak secrets accepted with a warning.
    pub debug: bool,
    /// The log's filter, in `tracing`'s directives.
    pub log: String,
    /// Where the data is.
    pub database: Database,
    /// The replica that answers reads.
    pub read_url: Option<SecretString>,
    /// The authorities of the database's certificate; none: the library's own.
    pub authorities: Option<Authorities>,
    /// Where Redis is; none: bus, presence and limits are in this process.
    pub redis: Option<RedisConfig>,
    /// Whether this program may bring the schema up.
    pub migrate: bool,
    /// The shared secret that signs the tokens, unless an Ed25519 key does.
    pub secret_key: SecretKey,
    /// The Ed25519 keys of the tokens.
    pub jwt: JwtKeys,
    /// The public listener.
    pub listen: SocketAddr,
    /// The listener of metrics and probes.
    pub admin_listen: SocketAddr,
    /// The time until an access token expires.
    pub access_token_ttl: Duration,
    /// The time until an unused refresh token expires.
    pub refresh_token_ttl: Duration,
    /// From the end of a user's last connection until the user is offline.
    pub presence_grace: Duration,
    /// From the last renewal of a gateway that died until its users are offline.
    pub presence_lease: Duration,
    /// The time over which a stopping gateway closes its connections.
    pub drain: Duration,
    /// Whether a gateway with many more connections than the others hands some over.
    pub rebalance: bool,
    /// The pages that may call from a browser.
    pub allowed_origins: AllowedOrigins,
    /// The proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether anybody may register.
    pub registration: Registration,
    /// The language whose endings a search does not mind.
    pub search_language: Language,
    /// Whether lines of the log have the client's address.
    pub log_client_addresses: bool,
    /// Where spans go; none: there are no traces.
    pub traces: Option<TracesConfig>,
    /// Whether rates are limited.
    pub rate_limits: bool,
    /// The limits.
    pub limits: Limits,
    /// Most connections to the database.
    pub db_pool_size: u32,
    /// Memory of one password hash, in KiB.
    pub argon2_memory_kib: u32,
    /// Threads that a gateway spreads its connections over.
    pub gateway_shards: usize,
    /// Faults that were accepted, for the log once it runs.
    pub warnings: Vec<String>,
}

/// A bad value: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    variable: String,
    fault: String,
    example: String,
    /// Where the value stands.
    source: Option<&'static str>,
}

impl ConfigError {
    fn new(variable: &str, fault: impl Into<String>, example: &str) -> Self {
        let fault = fault.into().replace(['\n', '\r'], " ");
        Self { variable: variable.to_owned(), fault, example: example.to_owned(), source: None }
    }

    /// A fault of a variable of the table, with the table's example.
    fn of(name: &'static str, fault: impl Into<String>) -> Self {
        let example = variables::find(name).map_or("", |v| v.example);
        Self::new(name, fault, &format!("{name}={example}"))
    }

    /// A fault of a variable beside another one, with examples of both that go together.
    fn of_both(name: &'static str, other: &'static str, fault: impl Into<String>) -> Self {
        let beside = Self::of(other, "");
        let error = Self::of(name, fault);
        Self { example: format!("{} {}", error.example, beside.example), ..error }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.map(|source| format!(" ({source})")).unwrap_or_default();
        write!(f, "{}: {}{source}; for example {}", self.variable, self.fault, self.example)
    }
}

impl std::error::Error for ConfigError {}

/// Below this argon2id is weaker than OWASP recommends (19 MiB with two passes).
const ARGON2_RECOMMENDED_KIB: u32 = 19_456;

impl Config {
    /// The configuration of these variables over a stand-in database and key: for unit tests that
    /// need one.
    #[cfg(test)]
    pub(crate) fn for_tests(program: Program, variables: &[(&'static str, &str)]) -> Self {
        let given: std::collections::HashMap<String, String> = [
            ("DATABASE_URL", "postgres://db/messenger"),
            ("REDIS_URL", "redis://127.0.0.1:6379"),
            ("SECRET_KEY", "a key of these tests alone, 0123456789abcdef"),
        ]
        .iter()
        .chain(variables)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
        let args = [std::ffi::OsString::from("test")];
        let raw = Raw::new(program, args, |_| None, given).expect("no flags");
        Self::read(program, &raw, || None).expect("a sound configuration")
    }

    fn read(program: Program, raw: &Raw, data: fn() -> Option<PathBuf>) -> Result<Self, ConfigError> {
        Self::validated(program, raw, data).map_err(|error| raw.located(error))
    }

    fn validated(program: Program, raw: &Raw, data: fn() -> Option<PathBuf>) -> Result<Self, ConfigError> {
        let mut warnings = Vec::new();
        let (listen, admin_listen) = listeners::read(raw, program)?;
        // Convenient for one who tries it, and off as soon as others reach it.
        let debug = match raw.given("DEBUG")? {
            Some(_) => parse::switch(raw, "DEBUG")?,
            None => program == Program::Messenger && listen.ip().to_canonical().is_loopback(),
        };
        let (database, mut redis) = back_ends::read(program, raw, data)?;
        let read_url = raw.given("DATABASE_READ_URL")?;
        let read_url = read_url.map(|url| database::replica(&database, &url)).transpose()?;
        let traces = traces::read(program, raw)?;
        let (replica, also, collector) = (read_url.as_ref(), redis.as_ref(), traces.as_ref());
        let tls = TlsUsers { database: &database, replica, redis: also, traces: collector };
        let authorities = authorities::read(raw, &tls, &mut warnings)?;
        if let Some(redis) = &mut redis {
            redis.authorities.clone_from(&authorities);
        }
        let limits = limits::read(raw)?;
        let seconds = |name, low, high| parse::duration(raw, name, 1.0, low, high);
        let argon2_memory_kib = parse::number(raw, "ARGON2_MEMORY_KIB", 8, 4 * 1024 * 1024)?;
        if argon2_memory_kib < ARGON2_RECOMMENDED_KIB {
            warnings.push(format!("ARGON2_MEMORY_KIB is below {ARGON2_RECOMMENDED_KIB}: passwords are hashed weakly"));
        }
        let gateway_shards = match raw.get("GATEWAY_SHARDS")? {
            Some(_) => parse::number(raw, "GATEWAY_SHARDS", 1, 63)?,
            None => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(63)),
        };
        let access_token_ttl = whole_seconds(raw, "ACCESS_TOKEN_TTL_SECONDS")?;
        let refresh_token_ttl = whole_seconds(raw, "REFRESH_TOKEN_TTL_SECONDS")?;
        if access_token_ttl > refresh_token_ttl {
            // The store forgets a session some time after its refresh token: no access token may
            // outlive the session that could end it.
            const OTHER: &str = "REFRESH_TOKEN_TTL_SECONDS";
            return Err(ConfigError::of_both(
                "ACCESS_TOKEN_TTL_SECONDS",
                OTHER,
                format!("must not be more than {OTHER}"),
            ));
        }
        let jwt = jwt::read(program, raw, &mut warnings)?;
        let trusted_proxies = parse::networks(raw, "TRUSTED_PROXIES")?;
        if trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
            warnings.push("TRUSTED_PROXIES trusts every address: any client may claim to be another".to_owned());
        }
        Ok(Self {
            program,
            task: raw.task(),
            project_name: parse::text(raw, "PROJECT_NAME")?,
            description: parse::text(raw, "DESCRIPTION")?,
            version: parse::text(raw, "VERSION")?,
            debug,
            log: parse::log(raw)?,
            migrate: parse::switch(raw, "MIGRATE")?,
            access_token_ttl,
            refresh_token_ttl,
            presence_grace: seconds("PRESENCE_GRACE_SECONDS", 0.0, 3600.0)?,
            presence_lease: seconds("PRESENCE_LEASE_SECONDS", 0.3, 3600.0)?,
            drain: seconds("DRAIN_SECONDS", 0.0, 3600.0)?,
            rebalance: parse::switch(raw, "REBALANCE")?,
            allowed_origins: origins::read(raw, "ALLOWED_ORIGINS", debug)?,
            trusted_proxies,
            registration: parse::registration(raw)?,
            search_language: parse::language(raw)?,
            log_client_addresses: parse::switch(raw, "LOG_CLIENT_ADDRESSES")?,
            traces,
            rate_limits: parse::switch(raw, "RATE_LIMITS")?,
            db_pool_size: parse::number(raw, "DB_POOL_SIZE", 2, 10_000)?,
            secret_key: back_ends::secret_key(program, raw, debug, &database, &jwt, &mut warnings)?,
            jwt,
            database,
            read_url,
            authorities,
            redis,
            listen,
            admin_listen,
            limits,
            argon2_memory_kib,
            gateway_shards,
            warnings,
        })
    }
}

fn data_directory() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "messenger").map(|dirs| dirs.data_dir().to_owned())
}

fn whole_seconds(raw: &Raw, name: &'static str) -> Result<Duration, ConfigError> {
    // A hundred years: far from where adding to the present time overflows.
    parse::number(raw, name, 1, 3_153_600_000).map(Duration::from_secs)
}

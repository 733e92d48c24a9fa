//! Where the data and Redis are, and the key: which combinations each program takes.

use super::secret::SecretKey;
use super::variables::Raw;
use super::{ConfigError, Database, JwtKeys, Program, RedisConfig, parse, secret};
use secrecy::SecretString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub(super) fn read(
    program: Program,
    raw: &Raw,
    data: fn() -> Option<PathBuf>,
) -> Result<(Database, Option<RedisConfig>), ConfigError> {
    const NAME: &str = "DATABASE_URL";
    let database = match raw.get(NAME)? {
        Some(url) => database(program, &url)?,
        None if program == Program::Messenger => {
            let missing =
                || ConfigError::new(NAME, "no home directory to put the file in", "DATABASE_URL=sqlite:chat.db");
            Database::Sqlite(data().ok_or_else(missing)?.join("messenger.db"))
        }
        None => return Err(ConfigError::of(NAME, "must be given")),
    };
    let redis = raw.get("REDIS_URL")?.map(|urls| redis(&urls)).transpose()?;
    match (&database, &redis) {
        (Database::Postgres(_), None) => Err(ConfigError::of(
            "REDIS_URL",
            "must be given with a Postgres DATABASE_URL: other nodes hear of events through it",
        )),
        (Database::Sqlite(_), Some(_)) => Err(ConfigError::of(
            NAME,
            "must be a Postgres address when REDIS_URL is given: a SQLite file serves one process",
        )),
        _ => Ok((database, redis)),
    }
}

fn database(program: Program, url: &str) -> Result<Database, ConfigError> {
    const NAME: &str = "DATABASE_URL";
    let url = url.trim();
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        if url::Url::parse(url).is_ok() && sqlx::postgres::PgConnectOptions::from_str(url).is_ok() {
            return Ok(Database::Postgres(url.into()));
        }
        // The value holds the password, so the fault does not quote it.
        return Err(ConfigError::of(NAME, "is no valid Postgres address"));
    }
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
    match path {
        Some(_) if program != Program::Messenger => Err(ConfigError::of(NAME, "SQLite is for `messenger` alone")),
        Some(path) if path.is_empty() || path.starts_with(':') => {
            Err(ConfigError::new(NAME, "names no file", "DATABASE_URL=sqlite:/var/lib/messenger/messenger.db"))
        }
        Some(path) => Ok(Database::Sqlite(PathBuf::from(path))),
        None if program == Program::Messenger => Err(ConfigError::new(
            NAME,
            "must begin with sqlite:, postgresql:// or postgres://",
            "DATABASE_URL=sqlite:chat.db",
        )),
        None => Err(ConfigError::of(NAME, "must begin with postgresql:// or postgres://")),
    }
}

fn redis(urls: &str) -> Result<RedisConfig, ConfigError> {
    const NAME: &str = "REDIS_URL";
    let mut nodes = Vec::new();
    for url in parse::list(urls) {
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err(ConfigError::of(NAME, "must begin with redis:// or rediss://"));
        }
        if redis::Client::open(url).is_err() {
            return Err(ConfigError::of(NAME, "is no valid Redis address"));
        }
        nodes.push(SecretString::from(url));
    }
    match nodes.len() {
        0 => Err(ConfigError::of(NAME, "names no node")),
        n => Ok(RedisConfig { nodes, cluster: n > 1 }),
    }
}

pub(super) fn secret_key(
    program: Program,
    raw: &Raw,
    debug: bool,
    database: &Database,
    jwt: &JwtKeys,
    warnings: &mut Vec<String>,
) -> Result<SecretKey, ConfigError> {
    if let Database::Sqlite(path) = database {
        make_directory(path)?;
    }
    match (raw.get("SECRET_KEY")?.map(SecretString::from), database) {
        (Some(key), _) => secret::judge(&key, debug, warnings).map(|()| SecretKey::Given(key)),
        // Tokens of before an Ed25519 key signed live on while the key that was made is there.
        (None, Database::Sqlite(path)) => match SecretKey::beside(path)? {
            SecretKey::Missing(_) if jwt.signing.is_some() => Ok(SecretKey::None),
            key => Ok(key),
        },
        (None, Database::Postgres(_)) if jwt.signing.is_some() => Ok(SecretKey::None),
        (None, Database::Postgres(_)) if program == Program::Gateway && !jwt.public.is_empty() => Ok(SecretKey::None),
        (None, Database::Postgres(_)) if !jwt.public.is_empty() => {
            Err(ConfigError::of("JWT_PRIVATE_KEY_FILE", "must be given, or SECRET_KEY: this program signs tokens"))
        }
        (None, Database::Postgres(_)) => Err(ConfigError::of("SECRET_KEY", "must be given, the same on every node")),
    }
}

fn make_directory(database: &Path) -> Result<(), ConfigError> {
    let Some(parent) = database.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
    // Readable by the owner alone: it will hold accounts.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(|e| ConfigError::of("DATABASE_URL", format!("the directory {} cannot be made: {e}", parent.display())))
}

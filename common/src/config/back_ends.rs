//! Where the data and Redis are, and the key: which combinations each program takes.

use super::raw::Raw;
use super::secret::SecretKey;
use super::{ConfigError, Database, JwtKeys, Program, RedisConfig, database, redis, secret};
use secrecy::SecretString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub(super) fn read(
    program: Program,
    raw: &Raw,
    data: fn() -> Option<PathBuf>,
) -> Result<(Database, Option<RedisConfig>), ConfigError> {
    const NAME: &str = "DATABASE_URL";
    let database = match raw.kept(NAME, "DATABASE_URL_FILE")? {
        Some(url) => database::read(program, &url, home().as_deref())?,
        None if program == Program::Messenger => {
            let missing =
                || ConfigError::new(NAME, "no home directory to put the file in", "DATABASE_URL=sqlite:chat.db");
            Database::Sqlite(data().ok_or_else(missing)?.join("messenger.db"))
        }
        None => return Err(ConfigError::of(NAME, "must be given")),
    };
    let redis = raw.kept("REDIS_URL", "REDIS_URL_FILE")?.map(|urls| redis::read(&urls)).transpose()?;
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

fn home() -> Option<PathBuf> {
    directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned())
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
    let given = raw.kept("SECRET_KEY", "SECRET_KEY_FILE")?.map(|key| SecretString::from(key.trim()));
    match (given, database) {
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

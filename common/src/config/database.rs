//! `DATABASE_URL`: a Postgres address, or a SQLite file in any form that its users write.

use super::{ConfigError, Database, Program};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use url::Url;

const NAME: &str = "DATABASE_URL";
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// `DATABASE_READ_URL`: a replica of that database.
pub(super) fn replica(of: &Database, url: &str) -> Result<SecretString, ConfigError> {
    const NAME: &str = "DATABASE_READ_URL";
    let url = url.trim();
    match of {
        Database::Sqlite(_) => {
            Err(ConfigError::of(NAME, "needs a Postgres DATABASE_URL: a SQLite file has no replica"))
        }
        Database::Postgres(_) if !url.starts_with("postgres://") && !url.starts_with("postgresql://") => {
            Err(ConfigError::of(NAME, "must begin with postgresql:// or postgres://"))
        }
        Database::Postgres(_) => address(NAME, url),
    }
}

pub(super) fn read(program: Program, url: &str, home: Option<&Path>) -> Result<Database, ConfigError> {
    let url = url.trim();
    let scheme = url.split(':').next().unwrap_or_default();
    // SQLAlchemy's addresses name a driver.
    if let Some((dialect @ ("postgresql" | "postgres" | "sqlite"), driver)) = scheme.split_once('+')
        && driver.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return Err(ConfigError::of(NAME, format!("names the driver {driver} of another program: write {dialect}:")));
    }
    match scheme {
        "postgres" | "postgresql" if url[scheme.len()..].starts_with("://") => {
            address(NAME, url).map(Database::Postgres)
        }
        "sqlite" if program != Program::Messenger => Err(ConfigError::of(NAME, "SQLite is for `messenger` alone")),
        "sqlite" => file(&url["sqlite:".len()..], home).map(Database::Sqlite),
        _ if program == Program::Messenger => Err(ConfigError::new(
            NAME,
            "must begin with sqlite:, postgresql:// or postgres://",
            "DATABASE_URL=sqlite:chat.db",
        )),
        _ => Err(ConfigError::of(NAME, "must begin with postgresql:// or postgres://")),
    }
}

/// The value holds the password, so no fault quotes it.
fn address(name: &'static str, url: &str) -> Result<SecretString, ConfigError> {
    let fault = |fault: &str| Err(ConfigError::of(name, fault));
    let url = with_host(url);
    let parsed = match Url::parse(&url) {
        Ok(parsed) => parsed,
        Err(error) => {
            let hint = "special characters of the password are percent-encoded, @ as %40";
            return fault(&format!("is no valid Postgres address ({error}; {hint})"));
        }
    };
    if parsed.host_str().is_some_and(|host| host.contains(',')) {
        return fault("names several hosts: give one, which may be a proxy that finds the primary");
    }
    let mode = parsed.query_pairs().find(|(name, _)| name == "sslmode" || name == "ssl-mode");
    if mode.is_some_and(|(_, mode)| !SSL_MODES.contains(&mode.to_ascii_lowercase().as_str())) {
        return fault(&format!("has a sslmode that is none of {}", SSL_MODES.join(", ")));
    }
    if PgConnectOptions::from_str(&url).is_err() {
        return fault("is no valid Postgres address");
    }
    Ok(url.into())
}

/// Whether the certificate of that server is checked, as the address or `PGSSLMODE` says.
pub(super) fn checks_certificate(url: &SecretString) -> bool {
    let options = PgConnectOptions::from_str(url.expose_secret());
    options.is_ok_and(|options| matches!(options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull))
}

/// `postgresql://user:password@/db?host=/run/postgresql` has no host, which the standard of URLs
/// refuses after a user. The user goes to the parameters instead.
fn with_host(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Some(user) = authority.strip_suffix('@') else { return url.to_owned() };
    let rest = &rest[authority.len()..];
    let (name, password) = user.split_once(':').map_or((user, None), |(name, password)| (name, Some(password)));
    // A plus stands for a blank among parameters, and for itself before them.
    let parameter = |value: &str| value.replace('+', "%2B").replace('&', "%26");
    let mut url = format!("{scheme}://{rest}{}user={}", if rest.contains('?') { '&' } else { '?' }, parameter(name));
    if let Some(password) = password {
        url.push_str("&password=");
        url.push_str(&parameter(password));
    }
    url
}

/// The file of a `sqlite:` address, after the colon. Three slashes and a path are SQLAlchemy's
/// form of a relative path, four of an absolute one; without them it is the path as it stands.
fn file(address: &str, home: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let fault = |fault: &str| Err(ConfigError::new(NAME, fault, "DATABASE_URL=sqlite:/var/lib/messenger/messenger.db"));
    let (path, parameters) = address.split_once('?').unwrap_or((address, ""));
    if path.contains('#') {
        return fault("has a # in the file's name, where addresses end");
    }
    let mode = parameters.split('&').find_map(|parameter| parameter.strip_prefix("mode="));
    if path.contains(":memory:") || mode == Some("memory") {
        return fault("names a database in memory, which would be lost at the end: name a file");
    }
    if mode.is_some_and(|mode| mode != "rwc" && mode != "rw") {
        return fault("opens the file for reading alone");
    }
    let path = path.strip_prefix("///").or_else(|| path.strip_prefix("//")).unwrap_or(path);
    if path.is_empty() || path.ends_with('/') || path.starts_with(':') {
        return fault("names no file");
    }
    let path = match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        (Some(_), None) => return fault("begins with ~, and there is no home directory"),
        (None, _) => PathBuf::from(path),
    };
    // Earlier releases took the address for a file's name: a file of that very name may hold the
    // data.
    let literal = Path::new(address);
    if literal != path && literal.exists() && !path.exists() {
        return fault(&format!("means {}, and {} exists: name that, or rename it", path.display(), literal.display()));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(url: &str) -> Result<PathBuf, String> {
        match read(Program::Messenger, url, Some(Path::new("/home/ann"))) {
            Ok(Database::Sqlite(path)) => Ok(path),
            Ok(Database::Postgres(_)) => panic!("it is a file"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn every_form_of_a_file_is_that_file() {
        for (url, path) in [
            ("sqlite:chat.db", "chat.db"),
            ("sqlite:./chat.db", "./chat.db"),
            ("sqlite:/srv/chat.db", "/srv/chat.db"),
            ("sqlite://chat.db", "chat.db"),
            ("sqlite:///chat.db", "chat.db"),
            ("sqlite:///./chat.db", "./chat.db"),
            ("sqlite:////srv/chat.db", "/srv/chat.db"),
            ("sqlite:~/chat.db", "/home/ann/chat.db"),
            ("sqlite:///~/chat.db", "/home/ann/chat.db"),
            ("sqlite:chat.db?mode=rwc", "chat.db"),
            ("sqlite:///./chat.db?check_same_thread=False&timeout=5", "./chat.db"),
            (" sqlite:chat.db\n", "chat.db"),
        ] {
            assert_eq!(sqlite(url).as_deref(), Ok(Path::new(path)), "{url}");
        }
        for (url, said) in [
            ("sqlite::memory:", "in memory"),
            ("sqlite:///:memory:", "in memory"),
            ("sqlite:x?mode=memory", "in memory"),
            ("sqlite:", "names no file"),
            ("sqlite://", "names no file"),
            ("sqlite:////", "names no file"),
            ("sqlite:chat.db#x", "has a #"),
            ("sqlite:chat.db?mode=ro", "reading alone"),
            ("sqlite+aiosqlite:///./chat.db", "driver aiosqlite"),
            ("sqlite:///etc/passwd", "/etc/passwd exists"),
        ] {
            let error = sqlite(url).unwrap_err();
            assert!(error.starts_with("DATABASE_URL: ") && error.contains(said), "{url}: {error}");
        }
    }

    #[test]
    fn every_form_of_a_server_is_that_server() {
        for (url, host, user, database) in [
            ("postgresql://u:p@db.example.org:6432/m", "db.example.org", "u", "m"),
            ("postgres://u@[::1]:5433/m?sslmode=require", "[::1]", "u", "m"),
            ("postgresql://u%40x:p%23%2F@db/m", "db", "u@x", "m"),
            ("postgresql://u@/m?host=db.example.org", "db.example.org", "u", "m"),
            ("postgresql:///m?host=db.example.org&user=u", "db.example.org", "u", "m"),
        ] {
            let Ok(Database::Postgres(read)) = read(Program::Api, url, None) else { panic!("{url}") };
            let options = PgConnectOptions::from_str(secrecy::ExposeSecret::expose_secret(&read)).unwrap();
            assert_eq!(
                (options.get_host(), options.get_username(), options.get_database()),
                (host, user, Some(database)),
                "{url}"
            );
        }
        let socket = read(Program::Api, "postgresql://u:a+b@/m?host=/run/postgresql", None).unwrap();
        let Database::Postgres(socket) = socket else { panic!("it is a server") };
        let options = PgConnectOptions::from_str(secrecy::ExposeSecret::expose_secret(&socket)).unwrap();
        assert_eq!(options.get_socket().map(PathBuf::as_path), Some(Path::new("/run/postgresql")));
        assert_eq!(options.get_username(), "u");
        for (url, said) in [
            ("postgresql+asyncpg://u:hunter2@db/m", "driver asyncpg"),
            ("postgresql://u:hunter2@one,two/m", "several hosts"),
            ("postgresql://u:hunter2@db/m?sslmode=always", "sslmode"),
            ("postgresql://u:hunter2@db:port/m", "invalid port number"),
            ("mysql://u:hunter2@db/m", "must begin with"),
        ] {
            let error = read(Program::Api, url, None).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}

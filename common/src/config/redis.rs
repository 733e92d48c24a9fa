//! `REDIS_URL`: one server, the nodes of a cluster, or the Sentinels that know the primary.

use super::{Authorities, ConfigError, parse};
use secrecy::SecretString;

const NAME: &str = "REDIS_URL";
/// Where a Sentinel listens when its address names no port.
const SENTINEL_PORT: u16 = 26_379;

/// Where Redis is.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// One server, the cluster's first nodes, or the Sentinels.
    pub nodes: Vec<SecretString>,
    /// Whether it is a Redis Cluster.
    pub cluster: bool,
    /// The primary that Sentinels are asked for.
    pub sentinel: Option<SentinelPrimary>,
    /// The authorities of servers' certificates; none: the library's own.
    pub authorities: Option<Authorities>,
}

/// A primary that Sentinels know.
#[derive(Clone, Debug)]
pub struct SentinelPrimary {
    /// Its name among Sentinels.
    pub name: String,
    /// An address with its credentials and its database, in place of whose host Sentinels' answer
    /// stands.
    pub server: SecretString,
}

impl RedisConfig {
    /// One server, or a cluster's first nodes.
    pub fn of(nodes: Vec<SecretString>, cluster: bool) -> Self {
        Self { nodes, cluster, sentinel: None, authorities: None }
    }
}

pub(super) fn read(urls: &str) -> Result<RedisConfig, ConfigError> {
    let urls = urls.trim();
    for (scheme, plain) in [("redis+sentinel://", "redis://"), ("rediss+sentinel://", "rediss://")] {
        if let Some(rest) = urls.strip_prefix(scheme) {
            return sentinel(plain, rest);
        }
    }
    let mut nodes = Vec::new();
    for url in parse::list(urls) {
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err(ConfigError::of(NAME, "must begin with redis://, rediss:// or redis+sentinel://"));
        }
        nodes.push(sound(url)?);
    }
    match nodes.len() {
        0 => Err(ConfigError::of(NAME, "names no node")),
        n => Ok(RedisConfig::of(nodes, n > 1)),
    }
}

/// `USER:PASSWORD@HOST:PORT,HOST:PORT/PRIMARY/DATABASE`, and the Sentinels' own credentials as the
/// parameters `sentinel_username` and `sentinel_password`.
fn sentinel(scheme: &str, rest: &str) -> Result<RedisConfig, ConfigError> {
    let fault = |fault: &str| ConfigError::new(NAME, fault, "REDIS_URL=redis+sentinel://s1:26379,s2:26379/mymaster");
    let (address, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = address.split_once('/').unwrap_or((address, ""));
    let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(fault("names no primary after the Sentinels' addresses"));
    }
    let (mut user, mut password) = ("", None);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("sentinel_username", value)) => user = value,
            Some(("sentinel_password", value)) => password = Some(value),
            _ => return Err(fault("has a parameter that is neither sentinel_username nor sentinel_password")),
        }
    }
    let asked_as = password.map(|password| format!("{user}:{password}@")).unwrap_or_default();
    let node = |host: &str| {
        let port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
        let port = if port { String::new() } else { format!(":{SENTINEL_PORT}") };
        sound(&format!("{scheme}{asked_as}{host}{port}"))
    };
    let nodes = parse::list(hosts).map(node).collect::<Result<Vec<_>, _>>()?;
    if nodes.is_empty() {
        return Err(fault("names no Sentinel"));
    }
    let credentials = if credentials.is_empty() { String::new() } else { format!("{credentials}@") };
    let server = sound(&format!("{scheme}{credentials}primary/{database}"))?;
    let sentinel = SentinelPrimary { name: name.to_owned(), server };
    Ok(RedisConfig { sentinel: Some(sentinel), ..RedisConfig::of(nodes, false) })
}

/// The value may hold a password, so no fault quotes it.
fn sound(url: &str) -> Result<SecretString, ConfigError> {
    let hint = "is no valid Redis address; special characters of the password are percent-encoded, @ as %40";
    redis::Client::open(url).map(|_| SecretString::from(url)).map_err(|_| ConfigError::of(NAME, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn nodes(urls: &str) -> (Vec<String>, Option<(String, String)>) {
        let config = read(urls).expect("sound");
        let text = |url: &SecretString| url.expose_secret().to_owned();
        let primary = config.sentinel.map(|primary| (primary.name, text(&primary.server)));
        (config.nodes.iter().map(text).collect(), primary)
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for url in [
            "redis://r",
            "redis://[::1]:6380/1",
            "rediss://app:p%40ss@r:6380",
            "redis://:secret@r?protocol=resp3",
            "redis://r/0\n",
        ] {
            assert_eq!(nodes(url), (vec![url.trim().to_owned()], None));
        }
        let (sentinels, primary) = nodes("redis+sentinel://app:p%40ss@s1,[::1]:26380, s3:1/main/2?sentinel_password=q");
        assert_eq!(sentinels, ["redis://:q@s1:26379", "redis://:q@[::1]:26380", "redis://:q@s3:1"]);
        assert_eq!(primary, Some(("main".to_owned(), "redis://app:p%40ss@primary/2".to_owned())));
        let (sentinels, primary) = nodes("rediss+sentinel://[::1]/main");
        assert_eq!(sentinels, ["rediss://[::1]:26379"]);
        assert_eq!(primary, Some(("main".to_owned(), "rediss://primary/".to_owned())));
    }

    #[test]
    fn a_faulty_address_is_one_line_without_its_password() {
        for (url, said) in [
            ("http://u:hunter2@r", "must begin with"),
            ("redis://u:hunter2@r:port", "percent-encoded"),
            ("redis://u:hun#ter2@r", "percent-encoded"),
            ("redis+sentinel://u:hunter2@s1,s2", "names no primary"),
            ("redis+sentinel://u:hunter2@/main", "names no Sentinel"),
            ("redis+sentinel://s1/main?password=hunter2", "neither sentinel_username"),
            (" , ", "names no node"),
        ] {
            let error = read(url).expect_err(url).to_string();
            assert!(error.starts_with("REDIS_URL: ") && error.contains(said), "{url}: {error}");
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
    }
}

//! `doctor`'s findings on Redis.

use super::clocks::Comparison;
use super::report::Finding;
use crate::clock::Clock;
use crate::config::{Config, RedisConfig};
use crate::redis::Namespace;
use crate::redis::facts::{self, RedisFacts};

/// The findings about each node, and whether a write and a publication under the deployment's name
/// succeed.
pub(super) async fn examine(config: &Config, place: &RedisConfig, deployment: Option<&str>) -> Vec<Finding> {
    let mut checks = Vec::new();
    let (mut cluster, mut fit) = (place.cluster, true);
    let servers = match facts::servers(place) {
        Ok(servers) => servers,
        Err(error) => return vec![Finding::fault("redis", error.cause(), "correct REDIS_URL")],
    };
    for server in &servers {
        let machine = Clock::system();
        let comparison = Comparison::begin(&machine, config.access_token_ttl);
        match RedisFacts::of(server).await {
            Err(error) => {
                fit = false;
                let remedy = "start Redis, or correct host, port, user and password of REDIS_URL";
                checks.push(Finding::fault("redis", error.cause(), remedy));
            }
            Ok(facts) => {
                let time = facts.clock.map(|theirs| comparison.end("Redis", theirs));
                cluster |= facts.mode.as_deref() == Some("cluster");
                let found = self::server(&facts, cluster);
                fit &= found.remedy.is_none();
                checks.extend([found, eviction(&facts)]);
                checks.extend(time);
            }
        }
    }
    if fit {
        checks.push(writes(&RedisConfig { cluster, ..place.clone() }, deployment).await);
    }
    checks
}

fn server(facts: &RedisFacts, cluster: bool) -> Finding {
    const CHECK: &str = "redis";
    let version = facts.version.as_deref().unwrap_or("of an unknown version");
    let (mode, role) = (facts.mode.as_deref(), facts.role.as_deref());
    if mode == Some("sentinel") {
        let remedy = "write redis+sentinel://HOST:PORT/PRIMARY";
        return Finding::fault(CHECK, "the address leads to a Sentinel, which keeps no data", remedy);
    }
    match role {
        // The topology names the primaries.
        Some("replica") if !cluster => Finding::fault(
            CHECK,
            format!("Redis {version} answers, and is a replica"),
            "point REDIS_URL to the primary, or promote this one (`replicaof no one`)",
        ),
        Some(role) => Finding::ok(CHECK, format!("Redis {version} answers, role {role}, {}", mode.unwrap_or("single"))),
        None => Finding::ok(CHECK, "answers, and does not say its role: a proxy, or a user without that right"),
    }
}

fn eviction(facts: &RedisFacts) -> Finding {
    const CHECK: &str = "eviction";
    match (facts.evicts(), &facts.policy) {
        (Some(policy), _) => Finding::warning(
            CHECK,
            format!("maxmemory-policy is {policy}: a full Redis forgets who is online, and the limits"),
            "set `maxmemory-policy noeviction`, in redis.conf too",
        ),
        (None, Some(policy)) => Finding::ok(CHECK, format!("maxmemory-policy is {policy}")),
        (None, None) => Finding::warning(
            CHECK,
            "the user of REDIS_URL may not ask for maxmemory-policy",
            "see to it that it is noeviction, or allow `+info`",
        ),
    }
}

async fn writes(place: &RedisConfig, deployment: Option<&str>) -> Finding {
    const CHECK: &str = "redis_writes";
    let Some(deployment) = deployment else {
        return Finding::warning(CHECK, "not tried: the database does not name the deployment yet", "run `migrate`");
    };
    match facts::write(place, &Namespace::new(deployment)).await {
        Ok(()) => Finding::ok(CHECK, "a key and a publication of the deployment are taken"),
        Err(error) => Finding::fault(
            CHECK,
            error.cause(),
            "allow the user of REDIS_URL the keys and channels `m:*`; give a full Redis more memory",
        ),
    }
}

//! `doctor`'s findings on Postgres.

use super::clocks::Comparison;
use super::report::Finding;
use super::schema;
use crate::auth::Keys;
use crate::clock::Clock;
use crate::config::{Config, SecretKey};
use crate::store::Identity;
use crate::store::postgres::{PostgresStore, ServerFacts};
use secrecy::{ExposeSecret, SecretString};

/// The findings, and the deployment's id where the database has one.
pub(super) async fn examine(config: &Config, url: &SecretString) -> (Vec<Finding>, Option<String>) {
    let unreachable = |error: &crate::error::Error| {
        let remedy = "start Postgres, or correct host, port, database, user and password of DATABASE_URL";
        (vec![Finding::fault("database", error.cause(), remedy)], None)
    };
    let store = match PostgresStore::connect_with(url, config.authorities.as_ref(), 2) {
        Ok(store) => store,
        Err(error) => return unreachable(&error),
    };
    let machine = Clock::system();
    let comparison = Comparison::begin(&machine, config.access_token_ttl);
    let facts = match store.facts().await {
        Ok(facts) => facts,
        Err(error) => return unreachable(&error),
    };
    let time = comparison.end("the database", facts.clock);
    let mut checks = vec![server(&facts), encoding(&facts)];
    let schema = store.schema().await;
    let is_there = schema.as_ref().is_ok_and(|schema| schema.missing.is_empty());
    checks.push(match schema {
        Ok(state) => schema::finding(config, &state),
        Err(error) => Finding::fault("schema", error.cause(), "let the role of DATABASE_URL read _sqlx_migrations"),
    });
    checks.extend([pooler(&facts), places(&facts, config.db_pool_size), time]);
    if is_there {
        checks.push(key(config, &store).await);
    }
    if let Some(url) = &config.read_url {
        checks.push(replica(config, &store, url).await);
    }
    let deployment = if is_there { store.deployment_id().await.ok() } else { None };
    (checks, deployment)
}

async fn key(config: &Config, store: &PostgresStore) -> Finding {
    const CHECK: &str = "signing_key";
    let secret = match &config.secret_key {
        SecretKey::Given(secret) => Some(secret.expose_secret().as_bytes()),
        SecretKey::Missing(_) | SecretKey::None => None,
    };
    let keys = Keys::new(secret, &config.jwt);
    match store.signed_with().await {
        Ok(Some(known)) if keys.takes(&known) => Finding::ok(CHECK, format!("tokens are signed with {known}")),
        Ok(Some(known)) => Finding::warning(
            CHECK,
            format!("the deployment's tokens were last signed with {known}, which this program does not take"),
            "give every node the same SECRET_KEY, or the public key of the one that signs",
        ),
        Ok(None) => Finding::ok(CHECK, "no token was signed yet"),
        Err(error) => Finding::warning(CHECK, error.cause(), "run `migrate`"),
    }
}

/// Whatever is wrong with it, the primary answers.
async fn replica(config: &Config, store: &PostgresStore, url: &SecretString) -> Finding {
    const CHECK: &str = "replica";
    let authorities = config.authorities.as_ref();
    let away = |error: &crate::error::Error| {
        let remedy = "start the replica, or correct DATABASE_READ_URL; until then the primary answers";
        Finding::warning(CHECK, error.cause(), remedy)
    };
    let facts = match PostgresStore::connect_with(url, authorities, 1) {
        Ok(replica) => replica.facts().await,
        Err(error) => Err(error),
    };
    match facts {
        Err(error) => away(&error),
        Ok(facts) if !facts.standby => Finding::warning(
            CHECK,
            format!("Postgres {} answers, and is no standby", facts.version),
            "point DATABASE_READ_URL to a streaming replica of the primary; until then the primary answers",
        ),
        Ok(facts) => match store.clone().with_replica(url, authorities) {
            Err(error) => away(&error),
            Ok(both) => match both.follows().await {
                Ok(0) => Finding::ok(CHECK, format!("Postgres {} follows the primary", facts.version)),
                Ok(behind) => Finding::warning(
                    CHECK,
                    format!("it is {behind} bytes behind the primary"),
                    "look at pg_stat_replication of the primary, and whether a long query holds the replay up",
                ),
                Err(error) => away(&error),
            },
        },
    }
}

fn server(facts: &ServerFacts) -> Finding {
    const CHECK: &str = "database";
    let found = format!("Postgres {} answers", facts.version);
    if let Some(fault) = &facts.too_old {
        Finding::fault(CHECK, fault, "move the database to a newer server, with pg_dump and pg_restore")
    } else if facts.standby {
        Finding::fault(CHECK, format!("{found}, and is a standby"), "point DATABASE_URL to the primary, or promote it")
    } else if facts.read_only {
        let remedy = "turn default_transaction_read_only off, for the server, the database and the role";
        Finding::fault(CHECK, format!("{found}, and takes no writes"), remedy)
    } else {
        Finding::ok(CHECK, found)
    }
}

fn encoding(facts: &ServerFacts) -> Finding {
    match &facts.wrong_encoding {
        None => Finding::ok("encoding", &facts.encoding),
        Some(fault) => Finding::fault("encoding", fault, "make the database anew with the encoding UTF8"),
    }
}

fn pooler(facts: &ServerFacts) -> Finding {
    if facts.pooled {
        Finding::ok("pooler", "one stands before the database: each statement takes two more round trips")
    } else {
        Finding::ok("pooler", "none: the server is reached directly")
    }
}

fn places(facts: &ServerFacts, pool: u32) -> Finding {
    const CHECK: &str = "connections";
    let nodes = u32::try_from(facts.places).unwrap_or(0) / pool.max(1);
    let found = format!("the server has {} connections, a node uses up to {pool} (DB_POOL_SIZE)", facts.places);
    let remedy = "raise max_connections of Postgres, lower DB_POOL_SIZE, or put a pooler before the database";
    match nodes {
        // The pooler's places count, not the server's.
        _ if facts.pooled => Finding::ok(CHECK, found),
        0 => Finding::fault(CHECK, format!("{found}: not even one node fits"), remedy),
        1 => Finding::warning(CHECK, format!("{found}: one node fits, and no second one"), remedy),
        nodes => Finding::ok(CHECK, format!("{found}: {nodes} nodes fit")),
    }
}

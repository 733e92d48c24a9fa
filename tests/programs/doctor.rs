//! `doctor`: each dependency that is up but unfit is named, with what to do, and the exit code
//! says whether the program would serve.

use std::process::Command;

use crate::support::deployment::SECRET_KEY;
use crate::support::node::Env;
use crate::support::{
    Deployment, PgBouncer, Postgres, Program, Redis, RedisCluster, Value, blocking, limited, ports, postgres, process,
};

/// The variables of a node over these two.
fn over(database: &str, redis: &str) -> Env {
    let variables = [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("SECRET_KEY", SECRET_KEY),
        ("DATABASE_URL", database),
        ("REDIS_URL", redis),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The report of a run of `doctor`.
struct Report {
    code: i32,
    json: Value,
}

impl Report {
    /// The checks of that name, each with its state, its finding and its remedy.
    fn checks(&self, name: &str) -> Vec<(&str, &str, &str)> {
        let checks = self.json["checks"].as_array().unwrap();
        let named = checks.iter().filter(|check| check["check"] == name);
        named
            .map(|check| {
                let word = |key: &str| check[key].as_str().unwrap_or_default();
                (word("state"), word("finding"), word("remedy"))
            })
            .collect()
    }

    fn assert(&self, name: &str, state: &str, words: &str) {
        let checks = self.checks(name);
        let found = checks.iter().any(|(is, finding, _)| *is == state && finding.contains(words));
        assert!(found, "{name}: no {state} with {words:?} in {:#}", self.json);
        for (is, _, remedy) in checks {
            assert_eq!(remedy.is_empty(), is == "ok", "{name}: what to do?");
        }
        assert_eq!(self.code != 0, self.json["fit"] == false, "{}", self.code);
        if state == "fault" {
            assert_eq!(self.json["fit"], false);
        }
    }

    /// Asserts that nothing but the named check, or one that could not be tried for it, is a fault.
    fn assert_alone(&self, name: &str) {
        for check in self.json["checks"].as_array().unwrap() {
            assert!(check["state"] != "fault" || check["check"] == name, "{check}");
        }
    }
}

/// Runs it under that shell's prefix, `exec` or limits before it.
async fn run(program: Program, env: Env, prefix: &'static str) -> Report {
    blocking(move || {
        let dir = process::new_dir("doctor");
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{prefix} exec \"$0\" doctor --json")]).arg(program.path().unwrap());
        let path = std::env::var("PATH").unwrap();
        let output = command.current_dir(&dir).env_clear().env("PATH", path).env("HOME", &dir).envs(&env).output();
        let output = output.unwrap();
        process::remove_dir(&dir);
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, "", "the report says all");
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        Report { code: output.status.code().unwrap(), json }
    })
    .await
}

async fn examined(program: Program, env: Env) -> Report {
    run(program, env, "").await
}

#[tokio::test]
async fn a_deployment_that_serves_is_fit() {
    limited(async {
        let cluster = crate::support::shared::cluster().await;
        let variables = over(cluster.database_url(), &cluster.redis().url());
        for program in Program::ALL {
            let report = examined(program, variables.clone()).await;
            assert_eq!((report.code, &report.json["fit"]), (0, &Value::Bool(true)), "{:#}", report.json);
            assert_eq!(report.json["program"], program.name());
            assert_eq!(report.json["version"], env!("CARGO_PKG_VERSION"));
            for name in ["configuration", "database", "encoding", "schema", "pooler", "connections", "signing_key"] {
                report.assert(name, "ok", "");
            }
            for name in ["redis", "redis_writes", "eviction", "clock", "ports"] {
                report.assert(name, "ok", "");
            }
            assert!(!report.json.to_string().contains(SECRET_KEY));
        }
        let mut other = variables;
        other.insert("SECRET_KEY".to_owned(), "another-key-of-more-than-thirty-two-bytes-0123".to_owned());
        examined(Program::Api, other).await.assert("signing_key", "warning", "last signed with HS256:");
    })
    .await;
}

#[tokio::test]
async fn a_bad_value_is_named_and_no_secret_is() {
    limited(async {
        let mut variables = over("postgresql://u:hunter2@127.0.0.1:1/none", "redis://:hunter2@127.0.0.1:1");
        let report = examined(Program::Api, variables.clone()).await;
        report.assert("database", "fault", "refused");
        report.assert("redis", "fault", "refused");
        assert!(!report.json.to_string().contains("hunter2"), "{:#}", report.json);
        variables.insert("DRAIN_SECONDS".to_owned(), "soon".to_owned());
        let report = examined(Program::Api, variables).await;
        report.assert("configuration", "fault", "DRAIN_SECONDS");
        assert_eq!(report.code, 2, "as a start ends");
    })
    .await;
}

#[tokio::test]
async fn a_database_that_cannot_serve_is_named() {
    limited(async {
        let (server, redis) = (Postgres::private().await, Redis::private().await);
        let admin = |sql: String| {
            let url = server.url("postgres");
            async move {
                let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
            }
        };
        let doctor = |database: String| examined(Program::Api, over(&database, &redis.url()));

        admin("create database latin encoding 'LATIN1' locale 'C' template template0".to_owned()).await;
        let report = doctor(server.url("latin")).await;
        report.assert("encoding", "fault", "LATIN1");
        report.assert_alone("encoding");

        let database = server.new_database().await;
        let name = database.rsplit('/').next().unwrap();
        admin(format!("alter database {name} set default_transaction_read_only = on")).await;
        let report = doctor(database.clone()).await;
        report.assert("database", "fault", "takes no writes");
        report.assert_alone("database");

        admin(format!("alter database {name} set default_transaction_read_only = off")).await;
        let standby = server.standby().await;
        let report = doctor(standby.url(name)).await;
        report.assert("database", "fault", "standby");

        for (read, word) in
            [(database.clone(), "no standby"), ("postgresql://nobody@127.0.0.1:1/none".to_owned(), "refused")]
        {
            let mut variables = over(&database, &redis.url());
            variables.insert("DATABASE_READ_URL".to_owned(), read);
            examined(Program::Api, variables).await.assert("replica", "warning", word);
        }

        let mut variables = over(&database, &redis.url());
        variables.insert("DB_POOL_SIZE".to_owned(), "5000".to_owned());
        let report = examined(Program::Api, variables).await;
        report.assert("connections", "fault", "not even one node");
        report.assert_alone("connections");
    })
    .await;
}

#[tokio::test]
async fn a_schema_that_lacks_something_is_a_fault_of_who_waits_for_it() {
    limited(async {
        let (server, redis) = (postgres::shared().await, Redis::private().await);
        let variables = over(&server.new_database().await, &redis.url());
        let report = examined(Program::Api, variables.clone()).await;
        report.assert("schema", "warning", "lacks the migrations 1, 2");
        assert_eq!(report.code, 0);
        let report = examined(Program::Gateway, variables.clone()).await;
        report.assert("schema", "fault", "lacks");
        report.assert_alone("schema");
        let mut waits = variables;
        waits.insert("MIGRATE".to_owned(), "off".to_owned());
        examined(Program::Api, waits).await.assert("schema", "fault", "lacks");
    })
    .await;
}

#[tokio::test]
async fn a_pooler_is_named() {
    limited(async {
        let cluster = crate::support::shared::cluster().await;
        let pooler = PgBouncer::before(cluster.postgres().port(), 4, &[]).await;
        let report = examined(Program::Api, over(&pooler.url(cluster.database_url()), &cluster.redis().url())).await;
        report.assert("pooler", "ok", "stands before the database");
        assert_eq!(report.code, 0);
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_cannot_serve_is_named() {
    limited(async {
        let cluster = crate::support::shared::cluster().await;
        let doctor = |redis: String| examined(Program::Gateway, over(cluster.database_url(), &redis));
        let primary = Redis::private().await;
        let port = primary.port().to_string();
        let replica = Redis::with_options(&["--replicaof", "127.0.0.1", &port]).await;
        let report = doctor(replica.url()).await;
        report.assert("redis", "fault", "is a replica");
        report.assert_alone("redis");

        let locked = Redis::with_options(&["--requirepass", "the right one"]).await;
        let report = doctor(format!("redis://:hunter2@{}", locked.address())).await;
        report.assert("redis", "fault", "");
        assert!(!report.json.to_string().contains("hunter2"), "{:#}", report.json);

        let full = Redis::with_options(&["--maxmemory", "1"]).await;
        let report = doctor(full.url()).await;
        report.assert("redis_writes", "fault", "OOM");
        report.assert_alone("redis_writes");

        let evicting = Redis::with_options(&["--maxmemory-policy", "allkeys-lru"]).await;
        let report = doctor(evicting.url()).await;
        report.assert("eviction", "warning", "allkeys-lru");
        assert_eq!(report.code, 0, "{:#}", report.json);

        let timid = Redis::private().await;
        timid.command(&["ACL", "SETUSER", "default", "-info"]).await;
        doctor(timid.url()).await.assert("eviction", "warning", "may not ask");
        timid.command(&["ACL", "SETUSER", "default", "resetkeys", "~other:*"]).await;
        doctor(timid.url()).await.assert("redis_writes", "fault", "NoPerm");
    })
    .await;
}

#[tokio::test]
async fn each_node_of_a_redis_cluster_is_looked_at() {
    limited(async {
        let cluster = crate::support::shared::cluster().await;
        let redis = RedisCluster::start(3).await;
        redis.servers[1].command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"]).await;
        for urls in [redis.urls().join(","), redis.urls()[1].clone()] {
            let report = examined(Program::Gateway, over(cluster.database_url(), &urls)).await;
            assert_eq!(report.checks("redis").len(), urls.split(',').count());
            report.assert("redis", "ok", "cluster");
            report.assert("eviction", "warning", "allkeys-lfu");
            report.assert("redis_writes", "ok", "");
            assert_eq!(report.code, 0, "{:#}", report.json);
        }
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_named() {
    limited(async {
        let cluster = crate::support::shared::cluster().await;
        let mut variables = over(cluster.database_url(), &cluster.redis().url());
        variables.insert("LD_PRELOAD".to_owned(), blocking(process::faketime).await);
        variables.insert("FAKETIME".to_owned(), "-20m".to_owned());
        // Its timers follow the real clock.
        variables.insert("FAKETIME_DONT_FAKE_MONOTONIC".to_owned(), "1".to_owned());
        let report = examined(Program::Api, variables).await;
        for of in ["the database", "Redis"] {
            let said = format!("the clock of {of} is ");
            report.assert("clock", "fault", &said);
            let found = report.checks("clock").into_iter().find_map(|(_, finding, _)| finding.strip_prefix(&said));
            let (seconds, direction) = found.unwrap().split_once(" s ").unwrap();
            // By half of what the answer took, it may be off.
            let apart: f64 = seconds.parse().unwrap();
            assert!((1195.0..=1205.0).contains(&apart) && direction.starts_with("ahead"), "{found:?}");
        }
        report.assert_alone("clock");
    })
    .await;
}

#[tokio::test]
async fn the_machine_is_looked_at_too() {
    limited(async {
        let cluster = crate::support::shared::cluster().await;
        let variables = over(cluster.database_url(), &cluster.redis().url());
        let report = run(Program::Gateway, variables.clone(), "ulimit -n 512;").await;
        report.assert("descriptors", "warning", "may open 512 files");
        let mut taken = variables.clone();
        taken.insert("PORT".to_owned(), cluster.gateway(0).port().to_string());
        taken.insert("ADMIN_PORT".to_owned(), ports::free_port().to_string());
        let report = examined(Program::Gateway, taken).await;
        report.assert("ports", "warning", "is in use");
        assert_eq!(report.code, 0);
        let mut foreign = variables;
        foreign.insert("HOST".to_owned(), "192.0.2.1".to_owned());
        let report = examined(Program::Gateway, foreign).await;
        report.assert("ports", "fault", "192.0.2.1");
        report.assert_alone("ports");
    })
    .await;
}

#[tokio::test]
async fn the_file_is_looked_at_and_left_alone() {
    limited(async {
        let dir = process::new_dir("file");
        let over = |file: &std::path::Path| -> Env {
            let url = format!("sqlite:{}", file.display());
            [("PORT", "0"), ("ADMIN_PORT", "0"), ("HOST", "127.0.0.1"), ("DATABASE_URL", &url)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into()
        };
        let report = examined(Program::Messenger, over(&dir.join("new.db"))).await;
        report.assert("database", "ok", "is made at the first start");
        assert!(std::fs::read_dir(&dir).unwrap().next().is_none(), "it made something");

        let running = Deployment::embedded().start().await;
        let file = running.env()["DATABASE_URL"].clone();
        let report =
            examined(Program::Messenger, over(std::path::Path::new(file.strip_prefix("sqlite:").unwrap()))).await;
        report.assert("database", "warning", "process");
        report.assert("schema", "ok", "up to date");
        assert_eq!(report.code, 0);

        std::fs::write(dir.join("text.db"), "no database").unwrap();
        let report = examined(Program::Messenger, over(&dir.join("text.db"))).await;
        report.assert("database", "fault", "text.db");
        assert_eq!(std::fs::read_to_string(dir.join("text.db")).unwrap(), "no database");
        process::remove_dir(&dir);
    })
    .await;
}

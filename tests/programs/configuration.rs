//! A wrong value stops a program at the start with one line that names the variable; secrets are
//! never printed.

use std::sync::Arc;
use std::time::Duration;

use messenger_common::config::{self, VARIABLES};

use crate::support::deployment::SECRET_KEY;
use crate::support::node::Env;
use crate::support::process::{self, Log};
use crate::support::{Program, blocking, programs};

const LIMIT: Duration = Duration::from_secs(20);

/// Variables under which `program` would start, were its servers there.
fn good(program: Program) -> Env {
    let database = match program {
        Program::Messenger => "sqlite:messenger.db",
        Program::Api | Program::Gateway => "postgresql://nobody@127.0.0.1:1/none",
    };
    let mut env: Env = [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("ADMIN_PORT", "0"),
        ("DEBUG", "false"),
        ("SECRET_KEY", SECRET_KEY),
        ("DATABASE_URL", database),
        // Without it no other variable of traces is read.
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if program != Program::Messenger {
        env.insert("REDIS_URL".to_owned(), "redis://127.0.0.1:1".to_owned());
    }
    env
}

/// Runs `program` to its end: whether it ended well, and the lines that it wrote.
async fn outcome(
    program: Program,
    env: Env,
    arguments: &'static [&'static str],
    dotenv: Option<&'static str>,
) -> (bool, Vec<String>) {
    blocking(move || {
        let dir = process::new_dir("configuration");
        if let Some(text) = dotenv {
            std::fs::write(dir.join(".env"), text).unwrap();
        }
        let log: Arc<Log> = Arc::default();
        let mut process = programs::launch(program, &dir, &env, arguments, &log).unwrap();
        let status = process
            .ended(LIMIT)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", program.name(), log.since(0).join("\n")));
        process::remove_dir(&dir);
        (status.success(), log.since(0))
    })
    .await
}

/// Asserts that `program` refuses to start, with one line that names `variable`.
async fn refuses(program: Program, env: Env, variable: &str) -> String {
    let (success, lines) = outcome(program, env, &[], None).await;
    assert!(!success, "{} started: {lines:?}", program.name());
    let written: Vec<&String> = lines.iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(written.len(), 1, "{}, {variable}: {lines:#?}", program.name());
    assert!(written[0].contains(variable), "{}, {variable}: {lines:?}", program.name());
    written[0].clone()
}

async fn refuses_each(program: Program) {
    let faults = [
        ("PORT", "eighty"),
        ("PORT", "70000"),
        ("ADMIN_PORT", "-1"),
        ("HOST", "not an address"),
        ("DEBUG", "perhaps"),
        ("RUST_LOG", "warning"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("REDIS_URL", "http://localhost"),
        ("MIGRATE", "perhaps"),
        ("REGISTRATION", "perhaps"),
        ("SEARCH_LANGUAGE", "klingon"),
        ("RATE_LIMITS", "perhaps"),
        ("ACCESS_TOKEN_TTL_SECONDS", "soon"),
        ("ACCESS_TOKEN_TTL_SECONDS", "0"),
        ("REFRESH_TOKEN_TTL_SECONDS", "-5"),
        ("PRESENCE_GRACE_SECONDS", "x"),
        ("PRESENCE_LEASE_SECONDS", "0"),
        ("DRAIN_SECONDS", "ten"),
        ("REBALANCE", "sometimes"),
        ("ALLOWED_ORIGINS", "chat.example.org"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("LOG_CLIENT_ADDRESSES", "some"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no value"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=nameless"),
        ("MAX_MESSAGE_CHARS", "0"),
        ("MAX_BODY_BYTES", "256KB"),
        ("MAX_FRAME_BYTES", "-64"),
        ("MAX_SUBSCRIPTIONS", "many"),
        ("HEARTBEAT_SECONDS", "0"),
        ("IDLE_TIMEOUT_SECONDS", "x"),
        ("KEEP_ALIVE_SECONDS", "0"),
        ("EVENT_RETENTION_DAYS", "x"),
        ("RATE_MESSAGES_PER_SECOND", "x"),
        ("RATE_REQUESTS_PER_SECOND", "0"),
        ("RATE_REQUESTS_BURST", "-1"),
        ("RATE_LOGINS_PER_MINUTE", "1.5"),
        ("JWT_PUBLIC_KEYS_FILE", "/nowhere/public.json"),
        ("RATE_WRONG_PASSWORDS_PER_HOUR", "0"),
    ];
    for (variable, value) in faults {
        let mut env = good(program);
        env.insert(variable.to_owned(), value.to_owned());
        refuses(program, env, variable).await;
    }
}

#[tokio::test]
async fn messenger_names_the_variable_at_fault() {
    refuses_each(Program::Messenger).await;
}

#[tokio::test]
async fn messenger_api_names_the_variable_at_fault() {
    refuses_each(Program::Api).await;
}

#[tokio::test]
async fn messenger_gateway_names_the_variable_at_fault() {
    refuses_each(Program::Gateway).await;
}

#[tokio::test]
async fn a_weak_secret_is_refused_and_not_printed() {
    for program in Program::ALL {
        for weak in ["short-but-mine", "changeme", "31 bytes are one byte too short"] {
            let mut env = good(program);
            env.insert("SECRET_KEY".to_owned(), weak.to_owned());
            let line = refuses(program, env, "SECRET_KEY").await;
            assert!(!line.contains("short-but-mine"), "{line}");
        }
    }
}

#[tokio::test]
async fn a_password_in_an_address_is_not_printed() {
    for (variable, value) in [
        ("DATABASE_URL", "postgresql://user:hunter2@127.0.0.1:notaport/x"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:notaport"),
    ] {
        for program in Program::ALL {
            let mut env = good(program);
            env.insert(variable.to_owned(), value.to_owned());
            let line = refuses(program, env, variable).await;
            assert!(!line.contains("hunter2"), "{line}");
        }
    }
}

#[tokio::test]
async fn what_a_cluster_must_be_told_is_asked_for() {
    for program in [Program::Api, Program::Gateway] {
        for variable in ["DATABASE_URL", "SECRET_KEY"] {
            let mut env = good(program);
            env.remove(variable);
            refuses(program, env, variable).await;
        }
    }
}

#[tokio::test]
async fn a_flag_and_a_file_are_read_too() {
    for program in Program::ALL {
        let mut env = good(program);
        env.remove("MAX_BODY_BYTES");
        let (success, lines) = outcome(program, env.clone(), &["--max-body-bytes", "x"], None).await;
        assert!(!success, "{lines:?}");
        let text = lines.join("\n");
        assert!(text.contains("MAX_BODY_BYTES") || text.contains("--max-body-bytes"), "{text}");

        let (success, lines) = outcome(program, env, &[], Some("MAX_BODY_BYTES=x\n")).await;
        assert!(!success, "{lines:?}");
        assert!(lines.join("\n").contains("MAX_BODY_BYTES"), "{lines:?}");
    }
}

#[tokio::test]
async fn help_lists_every_variable() {
    for program in [config::Program::Messenger, config::Program::Api, config::Program::Gateway] {
        let binary = Program::ALL.into_iter().find(|one| one.name() == program.name()).unwrap();
        let (success, lines) = outcome(binary, Env::new(), &["--help"], None).await;
        let text = lines.join("\n");
        assert!(success, "{text}");
        for variable in VARIABLES {
            let flag = format!("--{} ", variable.flag());
            let entry = text.split_once(&flag).and_then(|(_, entry)| entry.split_once("[env: "));
            let (_, entry) = entry.unwrap_or_else(|| panic!("{} does not list {flag}:\n{text}", program.name()));
            let default = variable.default(program).filter(|default| !default.is_empty());
            let end = default.map_or(String::new(), |default| format!("{default}]"));
            let said = format!("{}] [default: {end}", variable.name);
            assert!(entry.starts_with(&said), "{}: {flag}: {}", program.name(), entry.lines().next().unwrap());
        }
    }
}

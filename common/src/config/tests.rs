mod faults;

use super::variables::find;
use super::*;
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;

const KEY: &str = "a key of these tests alone, 0123456789abcdef";

/// Parses these variables for a program; nothing else is set.
pub(super) fn read(program: Program, variables: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
    read_with(program, &[], variables, &[])
}

fn read_with(
    program: Program,
    flags: &[&str],
    variables: &[(&'static str, &str)],
    file: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let own = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let args = std::iter::once("program").chain(flags.iter().copied()).map(OsString::from);
    let env = own(variables);
    let raw = Raw::new(program, args, move |name| env.get(name).map(OsString::from), own(file))
        .map_err(|e| command_line::fault(&e))?;
    Config::read(program, &raw, || None)
}

pub(super) fn cluster<'a>(more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
    let mut all = vec![("DATABASE_URL", "postgres://u:hunter2@db/m"), ("SECRET_KEY", KEY)];
    all.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    all.extend_from_slice(more);
    all
}

pub(super) fn fault(program: Program, more: &[(&'static str, &str)]) -> String {
    read(program, &cluster(more)).expect_err("must not start").to_string()
}

#[test]
fn an_api_has_the_contracts_defaults() {
    let config = read(Program::Api, &cluster(&[])).expect("starts");
    assert_eq!(config.project_name, "MessengerAPI");
    assert!(!config.debug && config.migrate && config.rate_limits);
    assert!(matches!(config.database, Database::Postgres(_)));
    let redis = config.redis.expect("the default server");
    assert_eq!(redis.nodes[0].expose_secret(), "redis://127.0.0.1:6379");
    assert!(!redis.cluster);
    assert_eq!(config.listen.to_string(), "[::]:8000");
    assert_eq!(config.admin_listen.to_string(), "[::]:9000");
    assert_eq!(config.access_token_ttl, Duration::from_mins(15));
    assert_eq!(config.refresh_token_ttl, Duration::from_hours(30 * 24));
    assert_eq!(config.presence_grace, Duration::from_secs(5));
    assert_eq!(config.presence_lease, Duration::from_secs(15));
    assert_eq!(config.drain, Duration::from_secs(10));
    assert_eq!(config.allowed_origins, AllowedOrigins::List(vec![]));
    assert_eq!(config.limits, Limits::default());
    assert!(config.gateway_shards >= 1 && config.warnings.is_empty());
    let gateway = read(Program::Gateway, &cluster(&[])).expect("starts");
    assert_eq!((gateway.listen.port(), gateway.admin_listen.port()), (8001, 9001));
}

#[test]
fn a_given_key_makes_the_folder_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", directory.path().join("new/dir/chat.db").display());
    let key = KEY;
    read(Program::Messenger, &[("DATABASE_URL", &url), ("SECRET_KEY", key)]).expect("starts");
    assert!(directory.path().join("new/dir").is_dir());
}

#[test]
fn the_embedded_form_needs_nothing_and_keeps_its_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = directory.path().join("deeper/chat.db");
    let url = format!("sqlite:{}", database.display());
    let first = read(Program::Messenger, &[("DATABASE_URL", &url)]).expect("starts");
    assert!(first.debug && first.redis.is_none());
    assert_eq!(first.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(first.allowed_origins, AllowedOrigins::Any);
    assert!(matches!(&first.database, Database::Sqlite(path) if *path == database));
    let kept = database.with_file_name("chat.db.secret-key");
    assert!(!kept.exists(), "not before the database is this program's");
    let made = first.secret_key.load().expect("made").expect("a key");
    let bits = std::fs::metadata(&kept).expect("kept").permissions().mode();
    assert_eq!(bits & 0o777, 0o600);
    let second = read(Program::Messenger, &[("DATABASE_URL", &url), ("DEBUG", "off")]).expect("starts");
    let again = second.secret_key.load().expect("kept").expect("a key");
    assert_eq!(made.expose_secret(), again.expose_secret());
    assert!(made.expose_secret().len() >= 32);
    std::fs::write(&kept, "short").expect("damaged");
    let fault = read(Program::Messenger, &[("DATABASE_URL", &url)]).expect_err("damaged").to_string();
    assert!(fault.contains("SECRET_KEY") && fault.contains("damaged"), "{fault}");
}

#[test]
fn a_flag_comes_before_the_environment_and_that_before_the_file() {
    let port = |flags: &[&str], env: &[(&'static str, &str)], file: &[(&str, &str)]| {
        read_with(Program::Api, flags, &cluster(env), file).expect("starts").listen.port()
    };
    assert_eq!(port(&[], &[], &[("PORT", "1")]), 1);
    assert_eq!(port(&[], &[("PORT", "2")], &[("PORT", "1")]), 2);
    assert_eq!(port(&["--port", "3"], &[("PORT", "2")], &[("PORT", "1")]), 3);
    assert_eq!(port(&["--port=3"], &[], &[]), 3);
    assert_eq!(port(&[], &[("PORT", "")], &[("PORT", "")]), 8000, "an empty value is none");
}

#[test]
fn a_bad_value_is_one_line_with_variable_fault_and_example() {
    for (name, value) in [
        ("DEBUG", "maybe"),
        ("PORT", "70000"),
        ("PORT", "-1"),
        ("PORT", "eight\nthousand"),
        ("HOST", "not a host"),
        ("ADMIN_PORT", "8000"),
        ("DATABASE_URL", "mysql://u:hunter2@db/m"),
        ("DATABASE_URL", "postgres://u:hunter2@db:port/m"),
        ("DATABASE_URL", "sqlite:chat.db"),
        ("DATABASE_READ_URL", "postgres://u:hunter2@db:port/m"),
        ("REDIS_URL", "http://u:hunter2@redis"),
        ("REDIS_URL", "redis://u:hunter2@redis:port"),
        ("REDIS_URL", " , "),
        ("SECRET_KEY", "hunter2"),
        ("SECRET_KEY", "change-me-change-me-change-me-change-me"),
        ("SECRET_KEY", "00000000000000000000000000000000000000"),
        ("ACCESS_TOKEN_TTL_SECONDS", "0"),
        ("ACCESS_TOKEN_TTL_SECONDS", "2592001"),
        ("PRESENCE_LEASE_SECONDS", "NaN"),
        ("DRAIN_SECONDS", "-1"),
        ("ALLOWED_ORIGINS", "https://example.org/path"),
        ("ALLOWED_ORIGINS", "example.org"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("RATE_LIMITS", "some"),
        ("RUST_LOG", "messenger=loud"),
        ("IDLE_TIMEOUT_SECONDS", "25"),
        ("MAX_BODY_BYTES", "0"),
        ("MAX_MESSAGE_CHARS", "6000"),
        ("ALLOWED_ORIGINS", "https://*"),
        ("ALLOWED_ORIGINS", "https://chat.example.org, *"),
        ("EVENT_RETENTION_DAYS", "forever"),
        ("ARGON2_MEMORY_KIB", "7"),
        ("GATEWAY_SHARDS", "0"),
        ("GATEWAY_SHARDS", "64"),
    ] {
        let line = fault(Program::Api, &[(name, value)]);
        assert!(line.starts_with(&format!("{name}: ")), "{line}");
        assert!(line.contains("; for example ") && !line.contains('\n'), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

#[test]
fn what_must_be_given_is_missed_by_name() {
    for (program, variables, name) in [
        (Program::Api, vec![("SECRET_KEY", KEY)], "DATABASE_URL"),
        (Program::Gateway, vec![("DATABASE_URL", "postgres://db/m")], "SECRET_KEY"),
        (Program::Messenger, vec![("DATABASE_URL", "postgres://db/m"), ("SECRET_KEY", KEY)], "REDIS_URL"),
        (Program::Messenger, vec![("DATABASE_URL", "sqlite:x.db"), ("REDIS_URL", "redis://r")], "DATABASE_URL"),
        (Program::Messenger, vec![("DATABASE_URL", "postgres://db/m"), ("REDIS_URL", "redis://r")], "SECRET_KEY"),
        (Program::Messenger, vec![], "DATABASE_URL"),
    ] {
        let line = read(program, &variables).expect_err("must not start").to_string();
        assert!(line.starts_with(&format!("{name}: ")), "{line}");
    }
}

#[test]
fn a_weak_key_is_a_warning_with_debug() {
    let config = read(Program::Api, &cluster(&[("SECRET_KEY", "weak"), ("DEBUG", "YES")])).expect("starts");
    assert_eq!(config.warnings.len(), 1);
    assert!(!config.warnings[0].contains("weak:"), "{}", config.warnings[0]);
    assert_eq!(config.allowed_origins, AllowedOrigins::Any);
}

#[test]
fn weak_hashes_are_a_warning() {
    let config = read(Program::Api, &cluster(&[("ARGON2_MEMORY_KIB", "8")])).expect("starts");
    assert_eq!(config.argon2_memory_kib, 8);
    assert!(config.warnings[0].contains("ARGON2_MEMORY_KIB"));
}

#[test]
fn several_nodes_are_a_cluster() {
    let config = read(Program::Api, &cluster(&[("REDIS_URL", "redis://a:1, redis://b:2")])).expect("starts");
    let redis = config.redis.expect("given");
    assert!(redis.cluster && redis.nodes.len() == 2);
}

#[test]
fn lists_and_switches_are_read_as_people_write_them() {
    let config = read(
        Program::Api,
        &cluster(&[
            ("ALLOWED_ORIGINS", "https://Chat.example.org/, http://localhost:3000"),
            ("TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.7,::1"),
            ("MIGRATE", "OFF"),
            ("RATE_LIMITS", "0"),
            ("HOST", "[::1]"),
            ("PORT", "0"),
            ("EVENT_RETENTION_DAYS", "0.5"),
            ("DRAIN_SECONDS", "0.25"),
        ]),
    )
    .expect("starts");
    assert!(config.allowed_origins.allows("https://chat.example.org"));
    assert!(config.allowed_origins.allows("http://localhost:3000"));
    assert!(!config.allowed_origins.allows("http://localhost:3001"));
    assert_eq!(config.trusted_proxies.len(), 3);
    assert!(!config.migrate && !config.rate_limits);
    assert_eq!((config.listen.port(), config.admin_listen.port()), (0, 0));
    assert!(config.admin_listen.is_ipv6());
    assert_eq!(config.limits.event_retention, Duration::from_hours(12));
    assert_eq!(config.drain, Duration::from_millis(250));
}

#[test]
fn no_secret_is_shown() {
    let config = read(Program::Api, &cluster(&[("REDIS_URL", "redis://:hunter2@r")])).expect("starts");
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(KEY), "{shown}");
}

#[test]
fn help_lists_every_variable_with_its_default() {
    for program in [Program::Messenger, Program::Api, Program::Gateway] {
        let help = command(program).render_long_help().to_string();
        for variable in VARIABLES {
            assert!(help.contains(&format!("--{} ", variable.flag())), "{}", variable.name);
            assert!(help.contains(&format!("[env: {}]", variable.name)), "{}", variable.name);
            if let Some(default) = variable.default(program).filter(|default| !default.is_empty()) {
                assert!(help.contains(&format!("[default: {default}]")), "{} {default}", variable.name);
            }
        }
    }
}

#[test]
fn the_tables_examples_and_defaults_are_good_values() {
    let own_test = |variable: &&Variable| {
        variable.example.starts_with('$') || variable.name.starts_with("JWT_") || variable.name == "TLS_CA_FILE"
    };
    for variable in VARIABLES.iter().filter(|variable| !own_test(variable)) {
        let mut given = cluster(&[(variable.name, variable.example)]);
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("value").display().to_string();
        // A file of this test in place of the example's.
        if let Some(of) = variable.name.strip_suffix("_FILE") {
            let value = find(of).map_or("", |variable| variable.example);
            std::fs::write(&file, if of == "SECRET_KEY" { KEY } else { value }).expect("writes");
            given.retain(|(name, _)| *name != of && *name != variable.name);
            given.push((variable.name, &file));
        }
        let read = read(Program::Api, &given);
        assert!(read.is_ok(), "{}: {:?}", variable.name, read.err());
    }
}

#[test]
fn a_fault_of_the_command_line_is_one_line_too() {
    for flags in [
        &["--no-such-flag"][..],
        &["--port"],
        &["hunter2"],
        &["--secret-key", KEY, "hunter2"],
        &["--sekret-key=hunter2"],
        &["--sekret-key", "hunter2"],
        &["-hunter2"],
        &["-xhunter2"],
        &["--", "hunter2"],
    ] {
        let read = read_with(Program::Api, flags, &cluster(&[]), &[]);
        let line = read.expect_err("must not start").to_string();
        assert!(!line.contains('\n') && line.starts_with("command line: "), "{line}");
        assert!(!line.contains("hunter2") && !line.contains(KEY), "{line}");
    }
}

#[test]
fn the_file_is_read_and_its_faults_quote_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(".env");
    assert!(env_file::read(directory.path(), |_| None).expect("none is fine").is_empty());
    std::fs::write(&file, "# a comment\nPORT=81\nDESCRIPTION='two words # and more'\n").expect("written");
    let values = env_file::read(directory.path(), |_| None).expect("sound");
    assert_eq!(values["PORT"], "81");
    assert_eq!(values["DESCRIPTION"], "two words # and more");
    std::fs::write(&file, "SECRET_KEY='hunter2\n").expect("written");
    let line = env_file::read(directory.path(), |_| None).expect_err("unclosed").to_string();
    assert!(line.starts_with(".env: ") && !line.contains("hunter2"), "{line}");
}

#[test]
fn a_fault_says_where_its_value_stands() {
    let line = fault(Program::Api, &[("HOST", "laptop")]);
    assert_eq!(line, r#"HOST: "laptop" is no IP address (in the environment); for example HOST=::"#);
    let line = read_with(Program::Api, &["--port=x"], &cluster(&[]), &[("PORT", "y")]).expect_err("bad").to_string();
    assert!(line.contains(r#""x""#) && line.contains("(on the command line)"), "{line}");
    let line = read_with(Program::Api, &[], &cluster(&[]), &[("PORT", "y")]).expect_err("bad").to_string();
    assert!(line.contains(r#""y""#) && line.contains("(in .env)"), "{line}");
}

#[test]
fn debug_and_metrics_are_there_by_default_only_where_nobody_else_reaches_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", dir.path().join("chat.db").display());
    for (host, debug, is_on) in [
        (None, None, true),
        (Some("::1"), None, true),
        (Some("0.0.0.0"), None, false),
        (Some("::"), None, false),
        (Some("192.0.2.1"), None, false),
        (Some("0.0.0.0"), Some("on"), true),
        (None, Some("off"), false),
    ] {
        let mut given = vec![("DATABASE_URL", url.as_str())];
        given.extend(host.map(|host| ("HOST", host)));
        given.extend(debug.map(|debug| ("DEBUG", debug)));
        let config = read(Program::Messenger, &given).expect("starts");
        assert_eq!(config.debug, is_on, "{given:?}");
        assert!(config.admin_listen.ip().is_loopback(), "{given:?}");
    }
    assert!(!read(Program::Api, &cluster(&[("HOST", "127.0.0.1")])).expect("starts").debug);
}

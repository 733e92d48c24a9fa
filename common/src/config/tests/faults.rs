//! What a fault says: the variable that was set, and an example that mends it.

use super::{KEY, cluster, fault, read};
use crate::config::variables::find;
use crate::config::{Program, SecretKey};
use secrecy::ExposeSecret;

/// The example of a fault, as the variables that it sets.
#[test]
fn an_example_of_two_variables_goes_together() {
    for bad in [
        [("HEARTBEAT_SECONDS", "60"), ("IDLE_TIMEOUT_SECONDS", "60")],
        [("REFRESH_TOKEN_TTL_SECONDS", "10"), ("ACCESS_TOKEN_TTL_SECONDS", "900")],
        [("PORT", "9000"), ("ADMIN_PORT", "9000")],
    ] {
        let said = fault(Program::Api, &bad);
        let example = said.rsplit_once("; for example ").expect("an example").1;
        let given: Vec<_> = example
            .split(' ')
            .map(|pair| pair.split_once('=').expect("a pair"))
            .map(|(name, value)| (find(name).expect("a variable").name, value))
            .collect();
        assert_eq!(given.len(), 2, "{said}");
        read(Program::Api, &cluster(&given)).expect(example);
    }
}

#[test]
fn a_secret_may_be_kept_in_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    let named = path.to_str().expect("UTF-8").to_owned();
    std::fs::write(&path, format!("\u{feff}{KEY}\n")).expect("writes");
    let config = read(Program::Api, &[("DATABASE_URL", "postgres://u@db/m"), ("SECRET_KEY_FILE", named.as_str())]);
    assert!(matches!(config.expect("starts").secret_key, SecretKey::Given(key) if key.expose_secret() == KEY));
    let both = fault(Program::Api, &[("SECRET_KEY_FILE", named.as_str())]);
    assert!(both.starts_with("SECRET_KEY_FILE: ") && both.contains("SECRET_KEY") && !both.contains(KEY), "{both}");
    for (name, url) in [("DATABASE_URL_FILE", "postgres://u:hunter2@db/m"), ("REDIS_URL_FILE", "redis://:hunter2@r")] {
        std::fs::write(&path, url).expect("writes");
        let mut given = vec![("SECRET_KEY", KEY), (name, named.as_str())];
        if name == "REDIS_URL_FILE" {
            given.push(("DATABASE_URL", "postgres://u@db/m"));
        }
        read(Program::Api, &given).expect("starts");
    }
    // A bad one is told of the variable that was set.
    std::fs::write(&path, "short").expect("writes");
    for of in ["DATABASE_URL", "REDIS_URL", "SECRET_KEY"] {
        let file = format!("{of}_FILE");
        let mut given = cluster(&[]);
        given.retain(|(name, _)| *name != of);
        given.push((find(&file).expect("a variable").name, named.as_str()));
        let said = read(Program::Api, &given).expect_err("bad").to_string();
        assert!(said.starts_with(&format!("{file}: names a file whose value ")), "{said}");
        assert!(said.contains(&format!("; for example {file}=/")) && said.ends_with(" in it"), "{said}");
    }
    std::fs::write(&path, "\n").expect("writes");
    assert!(fault(Program::Api, &[("REDIS_URL_FILE", named.as_str())]).contains("is empty"));
    assert!(fault(Program::Api, &[("REDIS_URL_FILE", "/nowhere/at/all")]).contains("cannot be read"));
}

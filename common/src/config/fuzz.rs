//! The ways in for bytes that an operator wrote: `.env`, and the values of variables.

use super::raw::Raw;
use super::variables::find;
use super::{Config, Program, env_file};
use std::collections::HashMap;
use std::ffi::OsString;

/// Reads a text as `.env`. Reading it again gives the same.
pub(crate) fn env_file(text: &str) {
    let environment = |name: &str| (name == "HOME").then(|| "/root".to_owned());
    if let Ok(values) = env_file::parse(text, environment) {
        assert_eq!(env_file::parse(text, environment).ok(), Some(values));
    }
}

/// Reads lines of `NAME=value` as the configuration of both servers. A variable that names a file
/// keeps its default: no file is opened here.
pub(crate) fn variables(text: &str) {
    let known = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let name = find(name)?.name;
        (!name.ends_with("_FILE")).then(|| (name.to_owned(), value.to_owned()))
    };
    let defaults = [
        ("DATABASE_URL", "postgres://db/messenger"),
        ("REDIS_URL", "redis://127.0.0.1:6379"),
        ("SECRET_KEY", "a key of these tests alone, 0123456789abcdef"),
    ];
    let given: HashMap<String, String> = defaults
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .chain(text.lines().filter_map(known))
        .collect();
    for program in [Program::Api, Program::Gateway] {
        let Ok(raw) = Raw::new(program, [OsString::from("fuzz")], |_| None, given.clone()) else { return };
        match Config::read(program, &raw, || None) {
            Ok(config) => assert!(!format!("{config:?}").contains("0123456789abcdefghijkl"), "a secret is shown"),
            Err(error) => assert!(!error.to_string().contains('\n'), "one line: {error}"),
        }
    }
}

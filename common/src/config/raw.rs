//! Where a value comes from: flag, environment, `.env`, default, in that order.
//!
//! An empty value counts as none, so that a compose file may pass `NAME=${NAME:-}` on.

use super::flags::command;
use super::variables::{VERSION, find};
use super::{ConfigError, Program, Task, task};
use clap::ArgMatches;
use std::collections::HashMap;
use std::ffi::OsString;

type Environment = dyn Fn(&str) -> Option<OsString>;

/// The values as given, before they are read.
pub(super) struct Raw {
    program: Program,
    flags: ArgMatches,
    env: Box<Environment>,
    file: HashMap<String, String>,
}

impl Raw {
    /// Takes the values from a command line, an environment and what `.env` says.
    pub(super) fn new(
        program: Program,
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString> + 'static,
        file: HashMap<String, String>,
    ) -> Result<Self, clap::Error> {
        let flags = command(program).try_get_matches_from(args)?;
        Ok(Self { program, flags, env: Box::new(env), file })
    }

    /// The sub-command, if there is one.
    pub(super) fn task(&self) -> Task {
        task::of(&self.flags)
    }

    /// Whether `--version` stands there without a value.
    pub(super) fn asks_version(&self) -> bool {
        self.flags.get_one::<String>(VERSION).is_some_and(String::is_empty)
    }

    /// The value of a variable, if it was given or has a default.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let default = find(name).and_then(|v| v.default(self.program)).filter(|value| !value.is_empty());
        Ok(self.given(name)?.or_else(|| default.map(str::to_owned)))
    }

    /// The value of a variable that may be kept in a file, whose path another variable names. The
    /// blanks around it are not part of it.
    pub(super) fn kept(&self, name: &'static str, file: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(path) = self.given(file)? else { return self.get(name) };
        if self.given(name)?.is_some() {
            return Err(ConfigError::of(file, format!("is given beside {name}: leave one of them out")));
        }
        let value = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError::of(file, format!("names a file that cannot be read: {error}")))?;
        // Some editors begin a file with a byte-order mark.
        match value.trim_start_matches('\u{feff}').trim() {
            "" => Err(ConfigError::of(file, "names a file that is empty")),
            value => Ok(Some(value.to_owned())),
        }
    }

    /// The error of a bad value, told of the variable that leads to it. A shell may set HOST, PORT
    /// or VERSION for reasons of its own, so it says where that stands.
    pub(super) fn located(&self, error: ConfigError) -> ConfigError {
        let kept = find(&format!("{}_FILE", error.variable))
            .filter(|file| self.given(file.name).is_ok_and(|given| given.is_some()));
        let Some(file) = kept else { return ConfigError { source: self.source(&error.variable), ..error } };
        let value = error.example.strip_prefix(&format!("{}=", error.variable)).unwrap_or(&error.example);
        let fault = format!("names a file whose value {}", error.fault);
        let example = format!("{}={} with {value} in it", file.name, file.example);
        ConfigError { source: self.source(file.name), ..ConfigError::new(file.name, fault, &example) }
    }

    /// Where the value of a variable stands.
    fn source(&self, name: &str) -> Option<&'static str> {
        let name = find(name)?.name;
        if self.flags.get_one::<String>(name).is_some() {
            return Some("on the command line");
        }
        match (self.env)(name) {
            Some(value) if !value.is_empty() => Some("in the environment"),
            _ => self.file.get(name).map(|_| "in .env"),
        }
    }

    pub(super) fn given(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let given = |value: &String| (!value.is_empty()).then(|| value.clone());
        if let Some(value) = self.flags.get_one::<String>(name) {
            return Ok(given(value));
        }
        if let Some(value) = (self.env)(name) {
            let value = value.into_string().map_err(|_| ConfigError::of(name, "is not UTF-8"))?;
            if !value.is_empty() {
                return Ok(Some(value));
            }
        }
        Ok(self.file.get(name).and_then(given))
    }
}

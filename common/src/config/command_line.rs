//! The command line of a program: a task that needs no configuration, or the variables of one
//! that does.

use super::flags::command;
use super::raw::Raw;
use super::{Config, ConfigError, Program, Task, data_directory, env_file};
use clap_complete::Shell;
use std::collections::HashMap;
use std::ffi::OsString;

/// The command line, the environment and `.env`, not yet validated.
pub struct CommandLine {
    program: Program,
    raw: Raw,
}

impl CommandLine {
    /// Reads them. `--help` and `--version` answer here and end the process.
    #[allow(clippy::disallowed_methods, reason = "nothing runs yet that would have to end in order")]
    pub fn read(program: Program) -> Result<Self, ConfigError> {
        let directory = std::env::current_dir().unwrap_or_default();
        let file = env_file::read(&directory, |name| std::env::var(name).ok())?;
        let raw = match Raw::new(program, std::env::args_os(), |name| std::env::var_os(name), file) {
            Ok(raw) => raw,
            Err(e) if e.use_stderr() => return Err(fault(&e)),
            Err(help) => help.exit(),
        };
        if raw.asks_version() {
            println!("{} {}", program.name(), release());
            std::process::exit(0);
        }
        Ok(Self { program, raw })
    }

    /// Reads those words alone, and neither the environment nor `.env`: for a program inside
    /// another. The first is its name.
    pub fn of(program: Program, words: &[&str]) -> Result<Self, ConfigError> {
        let raw = Raw::new(program, words.iter().map(OsString::from), |_| None, HashMap::new());
        Ok(Self { program, raw: raw.map_err(|e| fault(&e))? })
    }

    /// The task.
    pub fn task(&self) -> Task {
        self.raw.task()
    }

    /// The configuration, validated whole.
    pub fn config(&self) -> Result<Config, ConfigError> {
        Config::read(self.program, &self.raw, data_directory)
    }
}

/// The version of this build, with the commit where it is known.
pub fn release() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match commit() {
        None => version.to_owned(),
        Some(commit) => format!("{version} ({commit})"),
    }
}

/// The commit that this build was made from, where it is known: in a release.
pub fn commit() -> Option<&'static str> {
    Some(env!("MESSENGER_COMMIT")).filter(|commit| !commit.is_empty())
}

/// The script by which a shell completes the program's commands and flags.
pub fn completions(program: Program, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(program), program.name(), &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A fault of the command line itself: the first line of clap's message. It never holds a value,
/// which may be a secret that lost its flag.
pub(super) fn fault(error: &clap::Error) -> ConfigError {
    if error.kind() == clap::error::ErrorKind::InvalidSubcommand {
        return ConfigError::new("command line", "has a word that is no command", "--port 8000; --help lists all");
    }
    if error.kind() == clap::error::ErrorKind::UnknownArgument {
        let said = error.get(clap::error::ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        // Of a short one clap names its letter alone.
        let flag =
            said.split('=').next().filter(|flag| flag.starts_with("--") || flag.starts_with('-') && flag.len() == 2);
        let fault = flag.map_or_else(|| "has a value without a flag".to_owned(), |flag| format!("has no flag {flag}"));
        return ConfigError::new("command line", fault, "--port 8000; --help lists all");
    }
    let named = || error.get(clap::error::ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if error.kind() == clap::error::ErrorKind::ValueValidation {
        // The one kind of value that is read here, of commands: `--limit <NUMBER>`.
        let named = named();
        let flag = named.split(' ').next().unwrap_or_default();
        let fault = format!("{flag} must be a whole number");
        return ConfigError::new("command line", fault, &format!("{flag} 50; --help lists all"));
    }
    if error.kind() == clap::error::ErrorKind::MissingRequiredArgument {
        let missing = named();
        return ConfigError::new("command line", format!("lacks {missing}"), "--port 8000; --help lists all");
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    ConfigError::new("command line", first.strip_prefix("error: ").unwrap_or(first), "--port 8000; --help lists all")
}

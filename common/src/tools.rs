//! The sub-commands: tasks that a program does instead of serving.
//!
//! Each answers one line for stdout, or one line that says why not.

pub mod doctor;

use crate::admin;
use crate::backends::{self, StartError};
use crate::clock::Clock;
use crate::config::{Config, Database, Task};
use crate::error::{Error, FieldError};
use crate::store::sqlite;
use std::path::Path;

/// Does the task. [`Task::Serve`] is none of this room's.
pub async fn run(config: &Config) -> Result<String, StartError> {
    let program = config.program.name();
    match &config.task {
        Task::Serve | Task::Doctor { .. } | Task::Completions(_) => Err(StartError::new("is no work over a database")),
        Task::Migrate { check: true } => {
            let state = backends::schema(config).await?;
            if state.missing.is_empty() {
                return Ok(format!("{program}: the schema is up to date"));
            }
            let missing = state.listed();
            Err(StartError::new(format!("the schema lacks the migrations {missing}; apply them by `migrate`")))
        }
        Task::Migrate { check: false } => {
            backends::migrate(config).await?;
            Ok(format!("{program}: the schema is up to date"))
        }
        Task::Backup { file, replace } => {
            sqlite::backup(embedded(config)?, file, *replace).await.map_err(|error| fault("backup", &error))?;
            Ok(format!("{program}: the backup is {}", file.display()))
        }
        Task::Restore { file } => {
            let database = embedded(config)?;
            let kept = sqlite::restore(database, file, Clock::system().now()).await;
            let kept = kept.map_err(|error| fault("restore", &error))?;
            let kept = kept.map(|kept| format!("; the database that was there is {}", kept.display()));
            let database = database.display();
            Ok(format!("{program}: {database} is restored, everybody logs in again{}", kept.unwrap_or_default()))
        }
        Task::Admin { task, json } => admin::run(config, task, *json).await.map_err(|error| fault("admin", &error)),
        Task::Invite { expires_in, max_uses, json } => {
            admin::invite(config, *expires_in, *max_uses, *json).await.map_err(|error| fault("invite", &error))
        }
    }
}

/// The file that a copy is made of, or takes the place of.
fn embedded(config: &Config) -> Result<&Path, StartError> {
    match &config.database {
        Database::Sqlite(path) => Ok(path),
        Database::Postgres(_) => Err(StartError::new(
            "DATABASE_URL: names a Postgres server, and this command copies a SQLite file; use pg_dump and pg_restore, \
             for example pg_dump --format=custom --file=messenger.dump",
        )),
    }
}

fn fault(command: &str, error: &Error) -> StartError {
    let words = match error {
        Error::Invalid(faults) => faults.iter().map(in_words_of_flags).collect::<Vec<_>>().join("; "),
        other => other.cause(),
    };
    StartError::new(format!("{command}: {words}"))
}

/// A command line says `--max-uses` for `max_uses`, and 0 where a body says null. An argument
/// without a flag has a name in capitals.
fn in_words_of_flags(fault: &FieldError) -> String {
    let dashes = if fault.field.starts_with(char::is_uppercase) { "" } else { "--" };
    format!("{dashes}{} {}", fault.field.replace('_', "-"), fault.message.replace("or null", "or 0"))
}

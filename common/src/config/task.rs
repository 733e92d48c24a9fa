//! The sub-commands: work that a program does instead of serving.

use super::Program;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

/// The work that a program was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Serve until a signal.
    Serve,
    /// Copy the embedded database to a new file.
    Backup {
        /// The copy.
        file: PathBuf,
        /// Whether it may take the place of a file that is there.
        replace: bool,
    },
    /// Put a copy in the place of the embedded database.
    Restore {
        /// The copy.
        file: PathBuf,
    },
}

/// The sub-commands of a program, for its command line.
pub(super) fn commands(program: Program) -> Vec<Command> {
    if program != Program::Messenger {
        return Vec::new();
    }
    let file = |help| Arg::new("FILE").required(true).value_parser(value_parser!(PathBuf)).help(help);
    vec![
        Command::new("backup")
            .about("Copies the embedded database to a file, also while the program runs")
            .arg(file("The file to make"))
            .arg(Arg::new("replace").long("replace").action(ArgAction::SetTrue).help("Replace FILE if it exists")),
        Command::new("restore")
            .about("Puts a copy in the place of the embedded database; everybody logs in again")
            .arg(file("A file that `backup` made")),
    ]
}

/// The task that a command line asks for.
pub(super) fn of(arguments: &ArgMatches) -> Task {
    let file = |of: &ArgMatches| of.get_one::<PathBuf>("FILE").cloned().unwrap_or_default();
    match arguments.subcommand() {
        Some(("backup", of)) => Task::Backup { file: file(of), replace: of.get_flag("replace") },
        Some(("restore", of)) => Task::Restore { file: file(of) },
        _ => Task::Serve,
    }
}

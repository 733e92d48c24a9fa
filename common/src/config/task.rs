//! The sub-commands: work that a program does instead of serving.

use super::Program;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
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
    /// Make an invitation to register.
    Invite {
        /// Seconds until it expires; none: never.
        expires_in: Option<i64>,
        /// Users who may register by it; none: any number.
        max_uses: Option<i64>,
        /// Whether it is printed as JSON.
        json: bool,
    },
    /// Bring the schema up.
    Migrate {
        /// Only say whether it is up to date.
        check: bool,
    },
    /// Say whether the program would serve well here.
    Doctor {
        /// For programs, not for people.
        json: bool,
    },
    /// Print the script by which a shell completes the command line.
    Completions(Shell),
}

/// The seconds after which an invitation expires, unless they are given: a week.
pub const INVITE_SECONDS: i64 = 604_800;

/// The sub-commands of a program, for its command line.
pub(super) fn commands(program: Program) -> Vec<Command> {
    let flag = |name: &'static str, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let file = |help| Arg::new("FILE").required(true).value_parser(value_parser!(PathBuf)).help(help);
    let mut commands = Vec::new();
    if program == Program::Messenger {
        commands.extend([
            Command::new("backup")
                .about("Copies the embedded database to a file, also while the program runs")
                .arg(file("The file to make"))
                .arg(flag("replace", "Replace FILE if it exists")),
            Command::new("restore")
                .about("Puts a copy in the place of the embedded database; everybody logs in again")
                .arg(file("A file that `backup` made")),
        ]);
    }
    if program != Program::Gateway {
        commands.push(invite());
        commands.push(
            Command::new("migrate")
                .about("Brings the database's schema up to this release's, whatever MIGRATE says")
                .arg(flag("check", "Change nothing; end with 1 where migrations are missing")),
        );
    }
    commands.push(
        Command::new("doctor")
            .about("Says whether the program would serve well here, and what to do; ends with 1 where it would not")
            .arg(flag("json", "Print JSON")),
    );
    let shell = Arg::new("SHELL").required(true).value_parser(value_parser!(Shell)).help("The shell");
    commands
        .push(Command::new("completions").about("Prints the script by which a shell completes commands").arg(shell));
    commands
}

fn invite() -> Command {
    let number = |name: &'static str, unit: &'static str| {
        Arg::new(name).long(name).value_name(unit).value_parser(value_parser!(i64)).allow_negative_numbers(true)
    };
    Command::new("invite")
        .about("Makes an invitation to register, and prints its code")
        .arg(
            number("expires-in", "SECONDS")
                .default_value(INVITE_SECONDS.to_string())
                .help("Seconds until it expires; 0: never"),
        )
        .arg(number("max-uses", "NUMBER").default_value("1").help("Users who may register by it; 0: any number"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print it as JSON"))
}

/// The task that a command line asks for.
pub(super) fn of(arguments: &ArgMatches) -> Task {
    let file = |of: &ArgMatches| of.get_one::<PathBuf>("FILE").cloned().unwrap_or_default();
    match arguments.subcommand() {
        Some(("backup", of)) => Task::Backup { file: file(of), replace: of.get_flag("replace") },
        Some(("restore", of)) => Task::Restore { file: file(of) },
        Some(("invite", of)) => {
            let number = |name| of.get_one::<i64>(name).copied().filter(|number| *number != 0);
            Task::Invite { expires_in: number("expires-in"), max_uses: number("max-uses"), json: of.get_flag("json") }
        }
        Some(("migrate", of)) => Task::Migrate { check: of.get_flag("check") },
        Some(("doctor", of)) => Task::Doctor { json: of.get_flag("json") },
        Some(("completions", of)) => Task::Completions(of.get_one("SHELL").copied().unwrap_or(Shell::Bash)),
        _ => Task::Serve,
    }
}

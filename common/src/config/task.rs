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
    /// Work on accounts.
    Admin {
        /// The work.
        task: AdminTask,
        /// Whether its answer is printed as JSON.
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

/// Work on accounts. A user is named by username, e-mail address, or `id:` and a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminTask {
    /// A page of all accounts by username.
    ListUsers {
        /// The beginning of the username.
        prefix: String,
        /// 1 to 100.
        limit: i64,
        /// An earlier page's.
        cursor: Option<String>,
    },
    /// One account with its sessions.
    ShowUser(String),
    /// A deactivated account may log in again.
    Activate(String),
    /// Ends all sessions of an account for good.
    Deactivate(String),
    /// Another password, which is printed.
    ResetPassword(String),
    /// Deactivates an account and erases what it says of a person.
    DeleteUser(String),
    /// Ends one session of a user, or all.
    EndSessions {
        /// The user.
        user: String,
        /// The session; none: all.
        session: Option<i64>,
    },
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
        commands.push(admin());
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

fn admin() -> Command {
    let json = || Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON");
    let user = || Arg::new("USER").required(true).help("A username, an e-mail address, or id: and a number");
    let on = |name: &'static str, about: &'static str| Command::new(name).about(about).arg(user()).arg(json());
    let number = |name: &'static str, unit: &'static str| {
        Arg::new(name).long(name).value_name(unit).value_parser(value_parser!(i64)).allow_negative_numbers(true)
    };
    let list = Command::new("list")
        .about("Lists accounts by username, deactivated ones too")
        .arg(Arg::new("q").long("q").value_name("TEXT").default_value("").help("The beginning of the username"))
        .arg(number("limit", "NUMBER").default_value("50").help("Accounts of a page, 1 to 100"))
        .arg(Arg::new("cursor").long("cursor").value_name("CURSOR").help("What an earlier page ended with"))
        .arg(json());
    let users = Command::new("users").about("Work on accounts").subcommand_required(true).subcommands([
        list,
        on("show", "Shows an account and its open sessions"),
        on("activate", "Lets a deactivated account log in again"),
        on("deactivate", "Ends all sessions of an account; nobody can log in to it"),
        on("reset-password", "Gives an account a new password, prints it, and ends all sessions"),
        on("delete", "Deactivates an account and erases its name, address, profile and password; its messages stay"),
    ]);
    let sessions = Command::new("sessions").about("Work on sessions").subcommand_required(true).subcommand(
        on("end", "Ends all sessions of a user, or one")
            .arg(number("session", "NUMBER").help("The one to end, as `users show` numbers it")),
    );
    Command::new("admin")
        .about("Works on accounts and sessions in the database, also while programs run")
        .subcommand_required(true)
        .subcommands([users, sessions, invite()])
}

/// The task that a command line asks for.
pub(super) fn of(arguments: &ArgMatches) -> Task {
    let file = |of: &ArgMatches| of.get_one::<PathBuf>("FILE").cloned().unwrap_or_default();
    match arguments.subcommand() {
        Some(("backup", of)) => Task::Backup { file: file(of), replace: of.get_flag("replace") },
        Some(("restore", of)) => Task::Restore { file: file(of) },
        Some(("invite", of)) => invitation(of),
        Some(("admin", of)) => match of.subcommand() {
            Some(("invite", of)) => invitation(of),
            Some(("sessions", of)) => of.subcommand().map_or(Task::Serve, |(_, of)| end_sessions(of)),
            Some((_, of)) => of.subcommand().map_or(Task::Serve, |(verb, of)| on_users(verb, of)),
            None => Task::Serve,
        },
        Some(("migrate", of)) => Task::Migrate { check: of.get_flag("check") },
        Some(("doctor", of)) => Task::Doctor { json: of.get_flag("json") },
        Some(("completions", of)) => Task::Completions(of.get_one("SHELL").copied().unwrap_or(Shell::Bash)),
        _ => Task::Serve,
    }
}

fn invitation(of: &ArgMatches) -> Task {
    let number = |name| of.get_one::<i64>(name).copied().filter(|number| *number != 0);
    Task::Invite { expires_in: number("expires-in"), max_uses: number("max-uses"), json: of.get_flag("json") }
}

fn word(of: &ArgMatches, name: &str) -> String {
    of.get_one::<String>(name).cloned().unwrap_or_default()
}

fn end_sessions(of: &ArgMatches) -> Task {
    let task = AdminTask::EndSessions { user: word(of, "USER"), session: of.get_one("session").copied() };
    Task::Admin { task, json: of.get_flag("json") }
}

fn on_users(verb: &str, of: &ArgMatches) -> Task {
    let task = match verb {
        "list" => AdminTask::ListUsers {
            prefix: word(of, "q"),
            limit: of.get_one("limit").copied().unwrap_or_default(),
            cursor: of.get_one("cursor").cloned(),
        },
        "activate" => AdminTask::Activate(word(of, "USER")),
        "deactivate" => AdminTask::Deactivate(word(of, "USER")),
        "reset-password" => AdminTask::ResetPassword(word(of, "USER")),
        "delete" => AdminTask::DeleteUser(word(of, "USER")),
        _ => AdminTask::ShowUser(word(of, "USER")),
    };
    Task::Admin { task, json: of.get_flag("json") }
}

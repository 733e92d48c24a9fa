//! The command line, made of the table of variables.

use super::variables::{VARIABLES, VERSION};
use super::{Program, task};
use clap::builder::StyledStr;
use clap::{Arg, Command};

/// The command line of a program.
pub fn command(program: Program) -> Command {
    let mut command = Command::new(program.name())
        // `VERSION` is a variable, so `--version` takes a value; without one it prints the
        // program's.
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .subcommands(task::commands(program))
        .about(program.about())
        .after_help("Each option is also an environment variable, read from `.env` in the working directory too.");
    for variable in VARIABLES {
        let default = variable.default_said(program);
        let help = format!("{} [env: {}] [default: {default}]", variable.help, variable.name);
        let arg =
            Arg::new(variable.name).long(variable.flag()).value_name("VALUE").help(StyledStr::from(help)).global(true);
        command = command.arg(match variable.name {
            VERSION => arg.short('V').num_args(0..=1).default_missing_value(""),
            _ => arg.allow_hyphen_values(true),
        });
    }
    command
}

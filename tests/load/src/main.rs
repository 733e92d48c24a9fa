//! The cost of the messenger, measured against the limit and against others, in one run on one
//! machine.
//!
//! It builds the release programs, starts them with a Postgres (`fsync` on) and a Redis of their
//! own on the loopback, opens the sockets, sends through the api and prints what an operation
//! costs each process. `BENCHMARKS.md` says how to read it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    unreachable_pub,
    reason = "a program for the terminal with clocks, threads and servers of its own, whose figures are rounded anyway"
)]

mod bare;
mod clock;
mod cpu;
mod embedded;
mod fleet;
mod peers;
mod pgbench;
mod plot;
mod report;
mod scenarios;
mod sender;
mod simulation;
mod socket;
mod tally;
mod world;

use clap::Parser;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Says where the programs are that the harness starts.
const PROGRAMS: &str = "MESSENGER_TEST_BIN_DIR";

#[derive(Parser)]
#[command(about = "Measures the messenger", after_help = scenario_help())]
struct Arguments {
    /// The scenarios to measure; `all` is everything
    #[arg(required = true)]
    scenarios: Vec<String>,
    /// Runs of each measurement
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds that one lasts
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// A variable of the measured programs, over the one that they have; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    settings: Vec<(String, String)>,
    /// Measure others' servers too, installing what is missing
    #[arg(long)]
    peers: bool,
    /// Draw the curves of the growth scenarios into this folder
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Write all rows to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the summary as Markdown to this file
    #[arg(long)]
    markdown: Option<PathBuf>,
    #[command(flatten)]
    simulation: simulation::Size,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn scenario_help() -> String {
    let lines = scenarios::ALL.iter().map(|(name, what, _)| format!("  {name:<20}{what}\n"));
    "Scenarios:\n".to_owned() + &lines.collect::<String>()
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(bare::NAME) {
        // its parent is gone when it cannot be told
        return bare::run().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let wanted = |name: &str| arguments.scenarios.iter().any(|asked| asked == name || asked == "all");
    for asked in &arguments.scenarios {
        if asked != "all" && !scenarios::ALL.iter().any(|(name, ..)| name == asked) {
            return Err(format!("no scenario `{asked}`\n{}", scenario_help()));
        }
    }
    // A simulation starts no program.
    let is_simulated = arguments.scenarios.iter().all(|asked| asked == scenarios::SIMULATION);
    if std::env::var_os(PROGRAMS).is_none() && !is_simulated {
        return Err(with_programs()?);
    }
    world::set(arguments.settings.clone());
    let options = scenarios::Options {
        runs: arguments.runs.max(1),
        lasts: Duration::from_secs_f64(arguments.seconds),
        peers: arguments.peers,
        plots: arguments.plots.clone(),
        simulation: arguments.simulation,
    };
    let mut report = report::Report::default();
    println!("{}", report::machine());
    let mut faults = Vec::new();
    for (name, what, scenario) in scenarios::ALL.iter().filter(|(name, ..)| wanted(name)) {
        println!("\n== {name}: {what}");
        if let Err(error) = scenario(&options, &mut report) {
            println!("  !! {error}");
            faults.push(format!("{name}: {error}"));
        }
    }
    println!("{}", report.summary());
    let write = |path: &Option<PathBuf>, text: String| match path {
        Some(path) => std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display())),
        None => Ok(()),
    };
    write(&arguments.json, format!("{:#}\n", report.to_json()))?;
    write(&arguments.markdown, report.summary())?;
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// Builds the programs and begins anew with their place in the environment; what it returns is why
/// that failed.
fn with_programs() -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = own.ancestors().nth(2).ok_or("this program lies outside a target folder")?;
    let mut cargo = messenger_testing::process::cargo();
    cargo.args(["build", "--release", "-p", "messenger", "-p", "messenger-api", "-p", "messenger-gateway", "--bins"]);
    cargo.arg("--target-dir").arg(target);
    let built = cargo.current_dir(&root).status().map_err(|error| format!("cargo: {error}"))?;
    if !built.success() {
        return Err(format!("cargo: {built}"));
    }
    let mut again = Command::new(&own);
    again.args(std::env::args_os().skip(1)).env(PROGRAMS, target.join("release"));
    Ok(format!("{}: {}", own.display(), again.exec()))
}

//! A fleet on simulated time: a hundred gateways in one process, over a simulated Redis and a
//! simulated Postgres. It checks the sums of `docs/SCALE.md`.
//!
//! The gateways' feeds (`messenger_gateway::feed`), the leases of limits and the back-offs are the
//! product's own code, driven as the gateway drives them. Around them stand models: a server is a
//! queue before some cores, an operation its unit cost. Each client checks what it receives:
//! nothing is lost, doubled or out of order, whatever fails. Nothing here knows the machine's
//! time, so a seed gives the same figures each time.
//!
//! Not run: sockets, TLS, the kernel, HTTP, SQL, and Redis's own code.
#![allow(clippy::cast_possible_wrap, reason = "what is counted here is far from the largest numbers")]

mod batches;
mod clients;
mod connections;
mod costs;
mod faults;
mod figures;
mod gateway;
mod happening;
mod logs;
mod random;
mod redis;
mod repairs;
mod sends;
mod server;
#[cfg(test)]
mod tests;
mod upkeep;
mod world;

use super::report::{Report, float};
use super::scenarios::Options;
use clap::builder::RangedU64ValueParser;
use costs::SECOND;
use faults::{DEATH, DEPLOY, FAILOVER, QUIET, STEADY, STEADY_AGAIN};
use world::World;

/// How large it is.
#[derive(Clone, Copy, clap::Args)]
#[command(next_help_heading = "The simulation")]
pub struct Size {
    /// Connections
    #[arg(long, default_value_t = 100_000, value_parser = some())]
    connections: usize,
    /// Gateways
    #[arg(long, default_value_t = 10, value_parser = some())]
    gateways: usize,
    /// Apis, which commit what clients send
    #[arg(long, default_value_t = 4, value_parser = some())]
    apis: usize,
    /// Primaries of Redis
    #[arg(long, default_value_t = 1, value_parser = some())]
    primaries: usize,
    /// Cores of Postgres
    #[arg(long, default_value_t = 16, value_parser = some())]
    cores: usize,
    /// The seed of all that is random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds within which all connect
    #[arg(long, default_value_t = 600)]
    arrive: u64,
    /// Seconds of each further part of the time line
    #[arg(long, default_value_t = 60)]
    part: u64,
    /// Gateways that a deploy replaces: all where it is not given
    #[arg(long)]
    replace: Option<usize>,
}

/// One or more.
fn some() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// What is simulated.
#[derive(Clone)]
pub struct Plan {
    connections: usize,
    gateways: usize,
    senders: usize,
    primaries: usize,
    cores: usize,
    seed: u64,
    /// All connect within this time.
    arrive: u64,
    /// A part of the time line lasts so long, or as long as it takes.
    lasts: u64,
    /// Gateways that a deploy replaces.
    replaces: usize,
    phases: &'static [&'static str],
    /// How often a client sends a message, and a command that is none.
    message_every: f64,
    command_every: f64,
    /// A rule that is broken on purpose: what may have been lost is not looked for.
    compares_nothing: bool,
}

impl Plan {
    fn of(size: Size) -> Self {
        Self {
            connections: size.connections,
            gateways: size.gateways,
            senders: size.apis,
            primaries: size.primaries,
            cores: size.cores,
            seed: size.seed,
            arrive: size.arrive * SECOND,
            lasts: size.part * SECOND,
            replaces: size.replace.unwrap_or(size.gateways),
            phases: &[STEADY, DEATH, FAILOVER, DEPLOY, STEADY_AGAIN, QUIET],
            message_every: float(50 * SECOND),
            command_every: float(5 * SECOND),
            compares_nothing: false,
        }
    }
}

/// The scenario.
pub fn simulate(options: &Options, report: &mut Report) -> Result<(), String> {
    let mut world = World::new(Plan::of(options.simulation));
    world.run(|world, phase| report.add(phase.row(world)));
    match world.missing() {
        0 => Ok(()),
        missing => Err(format!("clients lack {missing} events at the end")),
    }
}

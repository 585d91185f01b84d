//! `bench`: what Waggle costs and what it loses, measured beside the alternatives, and how that grows.

mod change;
mod filter;
mod median;
mod members;
mod plot;
mod scale;
mod versus;

use clap::{Parser, Subcommand};
use waggle_tests::scenarios;

/// As the program that is measured has it, of which parts run in this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// CPU time and throughput of Envoy, with and without the filter.
    Filter(filter::Arguments),
    /// Envoy's memory over many requests with sessions.
    Memory {
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        requests: u32,
    },
    /// What clients lose in updates: the scenarios of the tests, for longer.
    Updates {
        /// How long each of them is.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// How long a change of the Swarm takes until Envoy uses it, on a real one.
    Change(change::Arguments),
    /// How the controller's work grows with the Swarm and with the number of Envoys.
    Scale(scale::Settings),
    /// Waggle beside Traefik, on one real Swarm.
    Versus(versus::Settings),
}

fn main() -> anyhow::Result<()> {
    match Command::parse().what {
        What::Filter(arguments) => filter::run(&arguments),
        What::Memory { requests } => filter::memory(requests),
        What::Updates { seconds } => updates(seconds),
        What::Change(arguments) => change::run(&arguments),
        What::Scale(settings) => scale::run(&settings),
        What::Versus(settings) => versus::run(settings),
    }
}

/// Plays the scenarios, and tells what clients lost.
fn updates(seconds: u64) -> anyhow::Result<()> {
    let table = scenarios::run(seconds, |outcome| {
        eprintln!("{} {}: {} requests", outcome.letter, outcome.name, outcome.report.asked);
    })?;
    print!("{table}");
    anyhow::ensure!(table.is_as_claimed(), "requests failed that may not");
    Ok(())
}

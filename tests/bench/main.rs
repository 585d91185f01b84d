//! `make bench`: what Waggle costs and what it loses, measured beside the alternatives.

mod filter;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// CPU time and throughput of Envoy, with and without the filter.
    Filter(filter::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Command::parse().what {
        What::Filter(arguments) => filter::run(&arguments),
    }
}

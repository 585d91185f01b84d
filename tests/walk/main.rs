//! The walk-through of `make demo`: what Waggle does, step by step, each command with its answer.
//!
//! ```text
//! steps ── walk ──┬── command   what a user types
//!                 ├── page      how it looks in a terminal
//!                 └── world     a simulated Swarm on loopback, or a real one in a private engine
//! ```

mod command;
mod page;
mod sessions;
mod steps;
mod walk;
mod world;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Runtime;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};
use waggle_tests::private_swarm::PrivateSwarm;

use walk::Walk;
use world::World;

/// Walks through Waggle, and then stays up to be tried out.
#[derive(Debug, Parser)]
#[command(name = "walk")]
struct Settings {
    /// End after the walk; fail if a step did not show what it should
    #[arg(long)]
    once: bool,
    /// Walk on a real Swarm, in a Docker engine of its own (needs root)
    #[arg(long)]
    swarm: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let settings = Settings::parse();
    // This takes the thread into a sandbox, and the runtime's threads with it: so it comes first.
    let swarm = settings.swarm.then(PrivateSwarm::start).transpose()?;
    Runtime::new()?.block_on(async {
        let walk = tokio::select! {
            biased;
            () = told_to_end() => return Ok(ExitCode::FAILURE),
            walk = walk(swarm) => walk?,
        };
        let code = if walk.page.verdict() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        if !settings.once {
            page::addresses(&walk.world.addresses());
            told_to_end().await;
        }
        Ok(code)
    })
}

/// Starts a world and walks through it.
async fn walk(swarm: Option<PrivateSwarm>) -> anyhow::Result<Walk> {
    page::title("Waggle, step by step", World::introduction(swarm.as_ref()));
    let mut walk = Walk::new(World::start(swarm).await?)?;
    if let Err(error) = steps::all(&mut walk).await {
        walk.page.fail(&format!("{error:#}"));
    }
    Ok(walk)
}

/// Returns on Ctrl-C and on SIGTERM; what the walk has started ends with it.
async fn told_to_end() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(ctrl_c().await),
    }
}

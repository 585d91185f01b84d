//! How the controller's work grows with the Swarm and with the number of Envoys.
//!
//! ```text
//! stages     the control loop's steps one by one, without anything around them
//! pipeline   pictures ─▶ control loop ─▶ xDS ─▶ light clients, in one process: the controller's own time
//! socket     simulated engine ─▶ the controller as a process, polling ─▶ a light client
//! ```

mod client;
mod picture;
mod pipeline;
mod socket;
mod stages;

use clap::Args;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Services; each has ten tasks
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    services: Vec<usize>,
    /// Clients of xDS
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    clients: Vec<usize>,
    /// Changes of endpoints that are measured one by one
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Services behind the socket of a simulated engine
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    polled: Vec<usize>,
}

/// How many changes are measured through polling: each takes a good part of a second.
const POLLED_CHANGES: usize = 30;

/// Measures, and prints tables.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    println!("{}", stages::HEAD);
    for &services in &settings.services {
        for row in stages::measure(services, settings.changes)? {
            println!("{row}");
        }
    }
    println!("\n{}", pipeline::HEAD);
    for &services in &settings.services {
        for &clients in &settings.clients {
            println!("{}", pipeline::measure(services, clients, settings.changes)?);
        }
    }
    println!("\n{}", socket::HEAD);
    let runtime = tokio::runtime::Runtime::new()?;
    for &services in &settings.polled {
        println!("{}", runtime.block_on(socket::measure(services, POLLED_CHANGES))?);
    }
    Ok(())
}

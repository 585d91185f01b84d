//! How the controller's work grows with the Swarm and with the number of Envoys.
//!
//! ```text
//! stages     the control loop's steps one by one, without anything around them
//! pipeline   pictures ─▶ control loop ─▶ xDS ─▶ light clients and an Envoy: the controller's own time
//! socket     simulated engine ─▶ the controller as a process, polling or watching ─▶ a light client
//! ```

mod client;
mod figure;
mod picture;
mod pipeline;
mod reading;
mod rig;
mod settings;
mod socket;
mod stages;

use std::path::{Path, PathBuf};

use clap::Args;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Services; each has ten tasks
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    services: Vec<usize>,
    /// Light clients of xDS, beside one Envoy
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    clients: Vec<usize>,
    /// Changes of endpoints that are measured one by one
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Services behind the sockets of a simulated engine
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    behind_sockets: Vec<usize>,
    /// The folder of the plot, which shows the second table
    #[arg(long, default_value_os_t = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs"))]
    plots: PathBuf,
}

/// How many changes are measured at most where they are polled.
const POLLED_CHANGES: usize = 30;

/// Measures, prints tables, and tells on stderr where it is.
pub(crate) fn run(settings: &Settings) -> anyhow::Result<()> {
    let Settings { services, clients, changes, behind_sockets, plots } = settings;
    if !services.is_empty() {
        println!("{}", stages::HEAD);
    }
    for &services in services {
        eprintln!("the steps of the control loop at {services} services");
        for row in stages::measure(services, *changes)? {
            println!("{row}");
        }
    }
    println!("\n{}", pipeline::HEAD);
    let mut rows = Vec::new();
    for &services in services {
        for &clients in clients {
            eprintln!("{services} services, {clients} light clients and an Envoy");
            let row = pipeline::measure(services, clients, *changes)?;
            println!("{row}");
            rows.push(row);
        }
    }
    // Of one size there is no line.
    if services.len() > 1 {
        figure::draw(plots, &rows)?;
    }
    println!("\n{}", socket::HEAD);
    let runtime = tokio::runtime::Runtime::new()?;
    for &services in behind_sockets {
        for source in socket::Source::ALL {
            eprintln!("{services} services behind a socket, {}", source.name());
            let changes = match source {
                socket::Source::Polled => POLLED_CHANGES.min(*changes),
                socket::Source::Pushed => *changes,
            };
            println!("{}", runtime.block_on(socket::measure(services, source, changes))?);
        }
    }
    Ok(())
}

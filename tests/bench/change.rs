//! How long a change of the Swarm takes until Envoy uses it.
//!
//! ```text
//!             Docker's API, or the watch        xDS
//! Swarm's store ─────────▶ the controller ─────────▶ Envoy
//!     └─ store: each write, with its stamp             └─ members: whom it balances to
//!                                  └──────▶ record ◀─────┘
//! ```
//!
//! On a real Swarm of one node, with many services around, a service is scaled up and down. A change
//! begins with the write that makes it true in the Swarm's store, and ends with the first answer of
//! Envoy's that shows it: time for which nobody but us is to blame, and our looking.

mod figure;
mod record;
mod rounds;
mod store;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use waggle_tests::crowd;
use waggle_tests::private_swarm::PrivateSwarm;

use rounds::Rounds;
use table::Row;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Services around the one that changes; each has a task
    #[arg(long, default_value_t = 150)]
    services: usize,
    /// Changes for each source; half of them are tasks that come, half tasks that go
    #[arg(long, default_value_t = 500)]
    changes: usize,
    /// How the controller hears of them
    #[arg(long, value_enum, value_delimiter = ',', default_value = "polled,pushed")]
    sources: Vec<Source>,
    /// The folder of the plot
    #[arg(long, default_value_os_t = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs"))]
    plots: PathBuf,
}

/// How the controller hears of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    /// By reading Docker's API again and again.
    Polled,
    /// By the watch of the manager.
    Pushed,
}

impl Source {
    /// As `/status` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Polled => "polled",
            Self::Pushed => "pushed",
        }
    }
}

/// What happens to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    /// It runs, and is to get requests.
    In,
    /// It shall not run any more, and is to get none.
    Out,
}

impl Direction {
    const ALL: [Self; 2] = [Self::In, Self::Out];

    fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// Measures, and prints a table.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let swarm = PrivateSwarm::start()?;
    let crowd = crowd::raise(&swarm, arguments.services)?;
    let rounds = Rounds::prepare(&swarm)?;
    let mut rows = Vec::new();
    for &source in &arguments.sources {
        let measured = rounds.play(source, arguments.changes);
        rows.extend(Row::of(source, &measured.with_context(|| source.name())?));
    }
    println!("{}", table::head(crowd));
    rows.iter().for_each(|row| println!("{row}"));
    figure::draw(&arguments.plots, &rows)
}

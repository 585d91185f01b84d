//! What is measured, how long, and how long all of it takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::contender::Contender;
use super::idle::CALM;

/// What is measured, and how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// How often each contender is measured
    #[arg(long, default_value_t = 3)]
    pub(super) runs: u32,
    /// How long an update is under load, in seconds; longer where it is not through by then
    #[arg(long, default_value_t = 45)]
    pub(super) seconds: u64,
    /// Services beside which the engine's CPU time is measured
    #[arg(long, default_value_t = 150)]
    pub(super) services: usize,
    /// How long each such measurement is, in seconds: Traefik reads each 15 s, Waggle's watch each 10 s
    #[arg(long, default_value_t = 30)]
    pub(super) idle: u64,
    /// Only this part
    #[arg(long)]
    pub(super) only: Option<Part>,
    /// The folder of the plots
    #[arg(long, default_value_os_t = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs"))]
    pub(super) plots: PathBuf,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Part {
    /// What clients see of updates and of new services.
    Updates,
    /// The engine's CPU time.
    Idle,
}

/// The period by which Traefik reads. Services are created early, midway and late in it: whoever comes
/// reads first when it comes.
const PERIOD: Duration = Duration::from_secs(15);

/// What a contender takes to come and to go; for the estimate of the time that is left.
const COME_AND_GO: Duration = Duration::from_secs(10);

/// What a Swarm takes until it is there with all images.
pub(super) const START: Duration = Duration::from_secs(10);

impl Settings {
    /// Before a service is created in this run.
    pub(super) fn pause(&self, run: u32) -> Duration {
        PERIOD * (2 * run + 1) / (2 * self.runs.max(1))
    }

    /// What a turn takes.
    pub(super) fn turn(&self, run: u32) -> Duration {
        COME_AND_GO + self.pause(run) + Duration::from_secs(self.seconds + 8)
    }

    /// What raising the crowd takes.
    pub(super) fn crowd(&self) -> Duration {
        Duration::from_millis(600) * u32::try_from(self.services).unwrap_or(u32::MAX)
    }

    /// What the measurements of one contender at rest take.
    pub(super) fn rest(&self) -> Duration {
        COME_AND_GO + CALM + Duration::from_secs(self.idle) * self.runs
    }

    /// What all of it takes.
    pub(super) fn expected(&self) -> Duration {
        let contenders = u32::try_from(Contender::ALL.len()).unwrap_or(1);
        let turns: Duration = (0..self.runs).map(|run| self.turn(run) * contenders).sum();
        let updates = START + turns;
        let idle = START + self.crowd() + self.rest() * (contenders + 1);
        match self.only {
            Some(Part::Updates) => updates,
            Some(Part::Idle) => idle,
            None => updates + idle,
        }
    }
}

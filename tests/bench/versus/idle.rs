//! Nothing happens in a Swarm with many services: what does the engine use to be read?

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use waggle_tests::usage::{children, processor_time};

use super::world::World;

/// After a change Waggle reads twice as often for half a minute; a contender that comes is a change.
pub(super) const CALM: Duration = Duration::from_secs(32);

/// Shares of one core, in percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    /// Of `dockerd`.
    pub(super) dockerd: f64,
    /// Of the `containerd` below it, which runs the health checks too.
    pub(super) containerd: f64,
}

impl fmt::Display for Idle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "dockerd {:.1} %, containerd {:.1} %", self.dockerd, self.containerd)
    }
}

/// Looks on for so long.
pub(super) fn measure(world: &World, window: Duration) -> Result<Idle> {
    let dockerd = world.swarm.process();
    let below = children(dockerd, "containerd")?;
    let containerd = *below.first().context("dockerd runs no containerd")?;
    let used = || Ok::<_, anyhow::Error>((processor_time(dockerd)?, processor_time(containerd)?));
    let (began, before) = (Instant::now(), used()?);
    thread::sleep(window);
    let (time, after) = (began.elapsed(), used()?);
    let share = |before: Duration, after: Duration| {
        after.saturating_sub(before).as_secs_f64() / time.as_secs_f64() * 100.0
    };
    Ok(Idle { dockerd: share(before.0, after.0), containerd: share(before.1, after.1) })
}

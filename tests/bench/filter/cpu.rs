//! CPU time and memory of a process, and which core a thread runs on.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Keeps this thread, and what it starts, on one core.
pub(crate) fn stay_on(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("two cores are needed")
}

/// The time that all threads of a process have run, to the nanosecond.
pub(crate) fn used(process: u32) -> Result<Duration> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let run: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
        sum += run;
    }
    Ok(Duration::from_nanos(sum))
}

/// The memory of a process that is in use, in KiB.
pub(crate) fn resident(process: u32) -> Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

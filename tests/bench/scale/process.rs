//! What processes and threads of this machine use, from `/proc`.

use std::time::Duration;

use anyhow::Context as _;

/// The CPU time of this process's threads whose name begins so.
pub(super) fn cpu_of_threads(name: &str) -> anyhow::Result<Duration> {
    let mut all = Duration::ZERO;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let path = thread?.path();
        // One that has ended meanwhile has no more to tell.
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else { continue };
        let (Some(from), Some(to)) = (stat.find('('), stat.rfind(')')) else { continue };
        if stat[from + 1..to].starts_with(name) {
            all += cpu(&stat[to + 1..])?;
        }
    }
    Ok(all)
}

/// The CPU time of a process.
pub(super) fn cpu_of_process(id: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    cpu(rest)
}

/// User and system time, from what follows the name in `stat`: fields 14 and 15 of `proc(5)`, in
/// hundredths of a second.
fn cpu(rest: &str) -> anyhow::Result<Duration> {
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> anyhow::Result<u64> {
        Ok(fields.get(at).context("a short line in /proc")?.parse()?)
    };
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// Memory of a process (`self`, or an ID) in bytes: present, and the most it ever was.
pub(super) fn memory(process: &str) -> anyhow::Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let of = |key: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kibibytes = line.and_then(|it| it.split_whitespace().next()).context("no such line")?;
        Ok(kibibytes.parse::<u64>()? * 1024)
    };
    Ok((of("VmRSS:")?, of("VmHWM:")?))
}

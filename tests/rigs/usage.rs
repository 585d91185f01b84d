//! What processes and threads of this machine use, from `/proc` (`proc(5)`).

use std::time::Duration;

use anyhow::Context;

/// The time that a process has had a processor since it began, to 10 ms.
pub fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_name, times) = after_name(&stat).context("no name in stat")?;
    user_and_system(times)
}

/// The same of those threads of this process whose name begins so and that have not ended.
pub fn processor_time_of_threads(name: &str) -> anyhow::Result<Duration> {
    let mut all = Duration::ZERO;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // One that has ended meanwhile has no more to tell.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else { continue };
        let Some((own, times)) = after_name(&stat) else { continue };
        if own.starts_with(name) {
            all += user_and_system(times)?;
        }
    }
    Ok(all)
}

/// The time that the threads of a process have run that have not ended, to the nanosecond.
pub fn running_time(process: u32) -> anyhow::Result<Duration> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let run: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
        sum += run;
    }
    Ok(Duration::from_nanos(sum))
}

/// The processes of this name that a process has started and that run.
pub fn children(process: u32, name: &str) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // One that has ended meanwhile has none.
        let own = std::fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        for child in own.split_whitespace() {
            let called = std::fs::read_to_string(format!("/proc/{child}/comm"));
            if called.is_ok_and(|called| called.trim_end() == name) {
                found.push(child.parse()?);
            }
        }
    }
    Ok(found)
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// What is in use.
    pub resident: u64,
    /// The most that ever was.
    pub most: u64,
}

/// The memory of a process.
pub fn memory(process: u32) -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let of = |key: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kibibytes = line.and_then(|it| it.split_whitespace().next()).context("no such line")?;
        Ok(kibibytes.parse::<u64>()? * 1024)
    };
    Ok(Memory { resident: of("VmRSS:")?, most: of("VmHWM:")? })
}

/// The name in a line of `stat`, and what follows it. The name may hold anything, brackets too.
fn after_name(stat: &str) -> Option<(&str, &str)> {
    let (before, after) = stat.rsplit_once(')')?;
    Some((before.split_once('(')?.1, after))
}

/// User and system time, the 12th and 13th field after the name, in hundredths of a second.
fn user_and_system(fields: &str) -> anyhow::Result<Duration> {
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks =
        || -> anyhow::Result<u64> { Ok(fields.next().context("no times in stat")?.parse()?) };
    Ok(Duration::from_millis((ticks()? + ticks()?) * 10))
}

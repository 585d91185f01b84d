//! Waiting for something that comes by itself, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything that is waited for may take, where nothing else is said.
const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until something is there. An error does not end the wait: it is told if it stays.
///
/// # Errors
///
/// If it is not there after 30 seconds.
pub fn wait<T>(what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    wait_for(DEADLINE, what, look)
}

/// The same, for what takes its time.
///
/// # Errors
///
/// If it is not there after so long.
pub fn wait_for<T>(
    most: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + most;
    loop {
        let seen = look();
        if let Ok(Some(found)) = seen {
            return Ok(found);
        }
        if Instant::now() > deadline {
            let last = seen.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            bail!("not within {most:?}: {what}{last}");
        }
        thread::sleep(PAUSE);
    }
}

//! How the application behaves where a balancer may notice: when it listens, when it hangs up, and
//! how it ends.

use std::env;
use std::time::Duration;

/// What it does on SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It stops listening, finishes what it serves, and ends.
    Finish,
    /// It ends, whatever it serves.
    AtOnce,
    /// It serves on, until it is killed.
    Never,
}

/// What the environment says of all this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conduct {
    /// How long after its start it listens (`LISTEN_AFTER_MS`).
    pub(crate) listen_after: Duration,
    /// How long a connection may be without a request (`KEEP_ALIVE_MS`).
    pub(crate) keep_alive: Duration,
    /// `ON_SIGTERM`: `finish`, `exit` or `ignore`.
    pub(crate) ending: Ending,
    /// How long the requests in flight may go on after SIGTERM (`FINISH_MS`).
    pub(crate) finish: Duration,
}

impl Conduct {
    /// As the environment says; fails on what it does not understand.
    pub(crate) fn from_environment() -> Result<Self, String> {
        let ending = match env::var("ON_SIGTERM").as_deref().unwrap_or("finish") {
            "finish" => Ending::Finish,
            "exit" => Ending::AtOnce,
            "ignore" => Ending::Never,
            other => return Err(format!("ON_SIGTERM is {other}: finish, exit or ignore")),
        };
        Ok(Self {
            listen_after: milliseconds("LISTEN_AFTER_MS", Duration::ZERO)?,
            keep_alive: milliseconds("KEEP_ALIVE_MS", Duration::from_secs(30))?,
            ending,
            finish: milliseconds("FINISH_MS", Duration::from_secs(1))?,
        })
    }
}

fn milliseconds(name: &str, default: Duration) -> Result<Duration, String> {
    match env::var(name) {
        Ok(written) => written
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| format!("{name} is {written}: a number of milliseconds")),
        Err(_) => Ok(default),
    }
}

//! An Envoy behind `envoy/entry.sh`, as its image runs it.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use super::{Envoy, Launch, YAML, binary, bootstrap};
use crate::program::{eventually, free_address};

/// How an Envoy is let go, in whole seconds, as `envoy/entry.sh` reads it.
#[derive(Debug, Clone, Copy)]
pub struct Drain<'a> {
    /// How long its health check fails before the listeners close.
    pub notice: &'a str,
    /// How long open connections may go on after that.
    pub wait: &'a str,
}

/// The entry and its Envoy. Both end when this is dropped, and when the test's process ends.
#[derive(Debug)]
pub struct Entry {
    envoy: Envoy,
    health: SocketAddr,
}

impl Entry {
    /// Starts an Envoy for this controller that answers health checks at `health`, and does not wait.
    pub fn start(
        controller: SocketAddr,
        node: &str,
        health: SocketAddr,
        drain: Drain<'_>,
    ) -> anyhow::Result<Self> {
        let admin = free_address()?;
        let bootstrap = bootstrap(controller, admin, health)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("envoy").join("entry.sh");
        // Envoy is not the test's own child: it has to end with its parent, the entry.
        let before = [
            script.as_os_str(),
            OsStr::new("setpriv"),
            OsStr::new("--pdeathsig"),
            OsStr::new("KILL"),
            binary()?.as_os_str(),
        ];
        let environment =
            [("WAGGLE_DRAIN_NOTICE", drain.notice), ("WAGGLE_DRAIN_WAIT", drain.wait)];
        let launch =
            Launch { program: Path::new("/bin/bash"), before: &before, environment: &environment };
        let (bootstrap, names) = (bootstrap.as_bytes(), ("default", node));
        let envoy = Envoy::run(YAML, bootstrap, admin, names, 1, &launch)?;
        Ok(Self { envoy, health })
    }

    /// Where it answers health checks.
    pub fn health(&self) -> SocketAddr {
        self.health
    }

    /// Sends the entry a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.envoy.process.signal(signal)
    }

    /// Waits until the entry has ended, and tells how.
    pub async fn wait_end(&mut self) -> anyhow::Result<ExitStatus> {
        eventually("the entry ends", async || self.envoy.process.ended()).await
    }

    /// How the entry ended, once it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.envoy.process.ended()
    }
}

impl Deref for Entry {
    type Target = Envoy;

    fn deref(&self) -> &Envoy {
        &self.envoy
    }
}

impl DerefMut for Entry {
    fn deref_mut(&mut self) -> &mut Envoy {
        &mut self.envoy
    }
}

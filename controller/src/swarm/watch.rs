//! The watch: a manager's control socket tells each change of a service, task, network or node the
//! moment that it is in the Swarm's store.
//!
//! ```text
//! line ─▶ wire ─▶ told ─▶ mirror
//!   └ link: opens it, and opens it again
//! ```
//!
//! The socket can do everything to the Swarm; of its services only `Watch/Watch` is called, and
//! never for secrets, configurations or the cluster, which it shows with all that is in them. What
//! services and tasks carry of their owners' secrets passes as bytes and is never decoded.

use std::path::PathBuf;

use super::call::CallError;
use super::mirror::Change;
use super::tls::TlsError;

mod line;
mod link;
pub(super) mod told;
pub mod wire;

pub(super) use link::Link;

/// What the watch has to tell.
#[derive(Debug)]
pub(super) enum Told {
    /// It begins. A list that is read from now on, and what is told from now on, are all.
    Begun,
    /// One write of the Swarm's store.
    Written(Written),
    /// It has ended, or did not begin. It is tried again.
    Ended(WatchError),
}

/// One write of the Swarm's store.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// What it changed.
    pub(super) changes: Vec<Change>,
    /// Whether it tells of another leader.
    pub(super) leader: Leader,
}

/// Whether the Swarm has another leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leader {
    /// Nothing tells so.
    Same,
    /// A new leader holds all nodes to be of unknown state, until they report to it. A new node is
    /// of unknown state too.
    Another,
}

/// Why there is no watch, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the watch at {}: {cause}", socket.display())]
pub(super) struct WatchError {
    pub(super) socket: PathBuf,
    pub(super) cause: WatchCause,
}

/// Why there is no watch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WatchCause {
    #[error("no such socket; mount the folder of a manager's control.sock into the controller")]
    NoSocket,
    #[error("permission denied; only root may open a manager's control socket")]
    Denied,
    #[error(
        "connection refused; start the engine, and mount the socket's folder: a socket that is \
         mounted by itself stays the old one when the engine restarts"
    )]
    Refused,
    #[error("{0}")]
    Connection(String),
    #[error("the Swarm's authority cannot be read: {0}")]
    Trust(CallError),
    #[error("Docker tells of no Swarm's authority; point --docker at a manager of this Swarm")]
    NoAuthority,
    #[error("the Swarm's authority cannot be used: {0}")]
    Authority(String),
    #[error("{0}; is it the control socket of a manager of the Swarm that --docker reads?")]
    Untrusted(String),
    #[error("no watch within {}", humantime::format_duration(*.0))]
    TimedOut(std::time::Duration),
    #[error("the manager refuses: {0}")]
    Refusal(String),
    #[error("it ended: {0}")]
    Ended(String),
    #[error("it is silent, while Docker's API tells of changes")]
    Silent,
}

impl From<TlsError> for WatchCause {
    fn from(error: TlsError) -> Self {
        Self::Authority(error.to_string())
    }
}

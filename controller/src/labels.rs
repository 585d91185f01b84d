//! One service's labels → what it asks for ([`Intent`]), and every [`Problem`] on the way.
//!
//! The rules are the label contract's (`docs/labels.md`). Nothing here looks at a second service.
//! Each label has a file of its own, with its description, its parser and its tests; a new label is
//! a new file, an entry in [`LABELS`] and a line in [`read`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::swarm::{Network, NetworkId, Service, ServiceId, ServiceName};

mod backend_mode;
mod claim;
mod default_backend;
pub mod fix;
mod hosts;
mod keys;
mod network;
mod port;
mod problem;
mod reader;
mod sticky_session_cookie;
#[cfg(test)]
pub(crate) mod testing;
mod value;

pub use claim::Claim;
pub use problem::{Code, Problem, Severity};
pub use value::{
    BadHost, BadNodeCluster, BadSecretName, CookieName, HostPattern, NodeCluster, Port, SecretName,
};

use reader::Reader;

/// What every key of ours begins with.
pub const PREFIX: &str = "com.docker.lb.";

/// The label that `docker stack deploy` puts on each service: the stack's name.
const STACK: &str = "com.docker.stack.namespace";

/// The labels that work, in the order of the documentation.
pub const LABELS: [&Label; 6] = [
    &hosts::LABEL,
    &port::LABEL,
    &network::LABEL,
    &backend_mode::LABEL,
    &default_backend::LABEL,
    &sticky_session_cookie::LABEL,
];

/// What a label is, as its documentation prints it (Markdown).
#[derive(Debug)]
pub struct Label {
    /// Its name, without the prefix.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// What one service asks for: its labels, parsed and made whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The service's ID.
    pub service: ServiceId,
    /// The service's name.
    pub name: ServiceName,
    /// When the service was created: decides between claimants without an incumbent.
    pub created_at: SystemTime,
    /// The stack that the service belongs to.
    pub stack: Option<String>,
    /// What it wants to answer for; never empty.
    pub claims: BTreeSet<Claim>,
    /// The container port of its tasks, or of its VIP.
    pub port: Port,
    /// The network whose addresses become endpoints.
    pub network: NetworkId,
    /// Where its requests go.
    pub backend: Backend,
}

/// Where the requests of a service go (`backend_mode`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// To its running tasks.
    Tasks(Affinity),
    /// To its one virtual IP on the chosen network; Swarm balances from there.
    Vip(Vip),
}

/// A service's virtual IP on the chosen network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vip {
    /// This one.
    Assigned(IpAddr),
    /// Swarm will assign it in a moment.
    Awaited,
}

/// Whether the requests of a session go to the same task (`sticky_session_cookie`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Affinity {
    /// Each request goes anywhere.
    None,
    /// The application's cookie of this name marks a session, which stays on its task.
    Cookie(CookieName),
}

/// What a service's labels depend on beside the service.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// All networks of swarm scope.
    pub networks: &'a BTreeMap<NetworkId, Network>,
    /// Names or IDs of the networks that the proxy is on; empty where nobody told.
    pub proxy_networks: &'a BTreeSet<String>,
}

/// The last valid meaning of the labels that a service cannot be routed without. It goes on where a
/// label breaks; a label that is removed is not broken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    hosts: BTreeSet<HostPattern>,
    port: Option<Port>,
}

/// What came out of reading one service's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it asks for; none where a required label is missing or broken.
    pub intent: Option<Intent>,
    /// What to hand in at the next reading.
    pub kept: Kept,
    /// Everything worth telling about its labels, sorted.
    pub problems: Vec<Problem>,
}

/// Reads a service's labels; none if it carries none of ours. `last` is what the last
/// reading kept.
pub fn read(service: &Service, surroundings: Surroundings<'_>, last: &Kept) -> Option<Reading> {
    if !keys::any(service) {
        return None;
    }
    let mut reader = Reader::new(service);
    let (intent, kept) = match keys::check(&mut reader) {
        keys::Verdict::Read => intent(&mut reader, surroundings, last),
        keys::Verdict::Misplaced => (None, Kept::default()),
    };
    Some(Reading { intent, kept, problems: reader.into_problems() })
}

/// Reads every label, so that all problems show at once, and only then asks what is missing.
fn intent<'a>(
    reader: &mut Reader<'a>,
    surroundings: Surroundings<'a>,
    last: &Kept,
) -> (Option<Intent>, Kept) {
    let any_other = default_backend::read(reader);
    let hosts = hosts::read(reader, any_other.as_ref(), &last.hosts);
    let port = port::read(reader, last.port);
    let network = network::read(reader, surroundings);
    let vip = backend_mode::read(reader, network);
    let affinity = sticky_session_cookie::read(reader, vip);

    let kept = Kept { hosts: hosts.clone(), port };
    let claims: BTreeSet<_> = hosts.into_iter().map(Claim::Host).chain(any_other).collect();
    let (false, Some(port), Some(network)) = (claims.is_empty(), port, network) else {
        return (None, kept);
    };
    let service = reader.service;
    let intent = Intent {
        service: service.id.clone(),
        name: service.name.clone(),
        created_at: service.created_at,
        stack: service.labels.get(STACK).cloned(),
        claims,
        port,
        network: network.id.clone(),
        backend: vip.map_or(Backend::Tasks(affinity), Backend::Vip),
    };
    (Some(intent), kept)
}

#[cfg(test)]
mod tests;

//! One service's labels → what it asks for ([`Intent`]), and every [`Problem`] on the way.
//!
//! The rules are the label contract's (`docs/labels.md`). Nothing here looks at a second service.
//! Each label has a file of its own, with its description, its parser and its tests; a new label is
//! a new file, an entry in [`LABELS`] and a line in [`read`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::persistent::Map;
use crate::swarm::{Network, NetworkId, Service};

mod backend_mode;
mod backend_protocol;
mod backend_tls;
mod certificate;
mod claim;
mod context_root;
mod default_backend;
pub mod fix;
mod hosts;
mod intent;
mod ip_hash;
mod keys;
mod max_fails;
mod name;
mod network;
mod passthrough;
mod path;
mod port;
mod problem;
mod proxy;
mod reader;
mod redirects;
mod service_cluster;
mod ssl_only;
mod sticky_session_cookie;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod value;
mod websocket_endpoints;

pub use claim::{BadClaim, Claim, Host, Site};
pub use intent::{
    Affinity, Authority, Backend, Certificate, Ejection, Intent, Plain, PoolOptions, Protocol,
    Redirect, Redirects, Rewrite, RouteOptions, Scheme, SecretFile, SiteOptions, Tls, Transport,
    Verify, Vip,
};
pub use name::{BadNodeCluster, BadSecretName, NodeCluster, SecretName};
pub use path::{BadPath, PathPrefix};
pub(crate) use problem::printable;
pub use problem::{Code, Problem, Severity};
pub use proxy::{BadProxyOf, Care, Proxies, ProxyOf, ProxyService, Running};
pub use value::{BadHost, CookieName, HostPattern, Port};

pub(crate) use reader::boolean;
use reader::{Reader, Switch};

/// What every key of Interlock's begins with.
pub const PREFIX: &str = "com.docker.lb.";

/// What every key begins with that Interlock did not have.
pub const OWN_PREFIX: &str = "waggle.";

/// The longest value that is looked at, in bytes.
const LONGEST: usize = 4096;

/// The label that `docker stack deploy` puts on each service: the stack's name.
const STACK: &str = "com.docker.stack.namespace";

/// All labels, in the order of the documentation.
pub const LABELS: [&Label; 23] = [
    &hosts::LABEL,
    &port::LABEL,
    &network::LABEL,
    &context_root::LABEL,
    &context_root::REWRITE,
    &certificate::LABEL,
    &certificate::KEY,
    &ssl_only::LABEL,
    &passthrough::LABEL,
    &backend_tls::LABEL,
    &backend_tls::VERIFY,
    &websocket_endpoints::LABEL,
    &service_cluster::LABEL,
    &sticky_session_cookie::LABEL,
    &ip_hash::LABEL,
    &redirects::LABEL,
    &backend_mode::LABEL,
    &default_backend::LABEL,
    &max_fails::LABEL,
    &max_fails::TIMEOUT,
    &backend_protocol::LABEL,
    &backend_tls::CA,
    &backend_tls::NAME,
];

/// The key of a label by its name, which has a prefix already where it is one of our own.
pub(crate) fn key_of(name: &str) -> String {
    if name.starts_with(OWN_PREFIX) { name.to_owned() } else { format!("{PREFIX}{name}") }
}

/// What a label is, as its documentation prints it (Markdown).
#[derive(Debug)]
pub struct Label {
    /// Its name, without Interlock's prefix; one of our own has its prefix.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// What a service's labels depend on beside the service.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// All networks of swarm scope.
    pub networks: &'a Map<NetworkId, Network>,
    /// Names or IDs of the networks that the proxies are on; empty where nobody told.
    pub proxy_networks: &'a BTreeSet<String>,
    /// The services of the proxies, where somebody told.
    pub proxies: &'a Proxies<'a>,
}

/// The last valid meaning of the labels that a service cannot be routed without, or that keep it
/// apart from others. It goes on where a label breaks; a label that is removed is not broken. And the
/// certificate that the service's hosts show, which goes on until the proxies hold the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    hosts: BTreeSet<HostPattern>,
    port: Option<Port>,
    paths: BTreeSet<PathPrefix>,
    cluster: Option<NodeCluster>,
    #[serde(default)]
    certificate: Option<Certificate>,
}

impl Kept {
    /// Whose proxies answer for the service; none where that was never valid.
    pub fn cluster(&self) -> Option<&NodeCluster> {
        self.cluster.as_ref()
    }
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

/// Reads a service's labels; none if it carries none of ours. `last` is what the last reading kept;
/// after what this one keeps, the same labels mean the same.
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
    let mut secrets = BTreeSet::new();
    let cluster = service_cluster::read(reader, last.cluster.as_ref());
    let proxies_of = cluster.clone().unwrap_or_default();
    let any_other = default_backend::read(reader);
    let hosts = hosts::read(reader, any_other, &last.hosts);
    let port = port::read(reader, last.port);
    let network = network::read(reader, surroundings, &proxies_of);
    let passthrough = passthrough::read(reader);
    let paths = context_root::read(reader, &last.paths);
    let route = RouteOptions {
        rewrite: context_root::read_rewrite(reader),
        long_lived: websocket_endpoints::read(reader, &paths),
    };
    let shown = last.certificate.as_ref();
    let certificate = certificate::read(reader, surroundings, &proxies_of, shown, &mut secrets);
    let tls = match (passthrough, certificate.clone()) {
        (Switch::On, _) => Tls::Passthrough,
        (Switch::Off, Some(certificate)) => Tls::Terminated(certificate),
        (Switch::Off, None) => Tls::None,
    };
    let plain = ssl_only::read(reader, &tls);
    let redirects = redirects::read(reader, &hosts, plain);
    let vip = backend_mode::read(reader, network);
    let sticky = sticky_session_cookie::read(reader, vip);
    let pool = PoolOptions {
        affinity: ip_hash::read(reader, sticky, vip),
        ejection: max_fails::read(reader),
        transport: backend_tls::read(reader, surroundings, &proxies_of, &mut secrets),
        protocol: backend_protocol::read(reader),
    };

    let kept = Kept {
        hosts: hosts.clone(),
        port,
        paths: paths.clone(),
        cluster: cluster.clone(),
        certificate,
    };
    let any_other = (any_other == Switch::On).then_some(Host::AnyOther);
    let hosts: BTreeSet<_> = hosts.into_iter().map(Host::Named).chain(any_other).collect();
    let (false, false, Some(port), Some(network), Some(cluster)) =
        (hosts.is_empty(), paths.is_empty(), port, network, cluster)
    else {
        return (None, kept);
    };
    let service = reader.service;
    let intent = Intent {
        service: service.id.clone(),
        name: service.name.clone(),
        created_at: service.created_at,
        stack: service.labels.get(STACK).cloned(),
        cluster,
        hosts,
        paths,
        port,
        network: network.id.clone(),
        backend: vip.map_or(Backend::Tasks, Backend::Vip),
        site: SiteOptions { tls, plain, redirects },
        route,
        pool,
        secrets,
    };
    (Some(intent), kept)
}

#[cfg(test)]
mod tests;

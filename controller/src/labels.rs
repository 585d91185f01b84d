//! One service's labels → what it asks for ([`Intent`]), and every [`Problem`] on the way.
//!
//! The rules are the label contract's (`docs/labels.md`). Nothing here looks at a second service.
//! Each label has a file of its own, with its description, its parser and its tests; a new label is
//! a new file, an entry in [`LABELS`] and a line in [`read`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::swarm::{Network, NetworkId, Service, ServiceId, ServiceName};

mod backend_mode;
mod backend_protocol;
mod backend_tls;
mod certificate;
mod claim;
mod context_root;
mod default_backend;
pub mod fix;
mod hosts;
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
mod value;
mod websocket_endpoints;

pub use claim::{BadClaim, Claim, Host, Site};
pub use name::{BadNodeCluster, BadSecretName, NodeCluster, SecretName};
pub use path::{BadPath, PathPrefix};
pub use problem::{Code, Problem, Severity};
pub use proxy::{Care, Proxies, ProxyService};
pub use value::{BadHost, CookieName, HostPattern, Port};

pub(crate) use reader::key_of;
use reader::{Reader, Switch};

/// What every key of Interlock's begins with.
pub const PREFIX: &str = "com.docker.lb.";

/// What every key begins with that Interlock did not have.
pub const OWN_PREFIX: &str = "waggle.";

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
    /// Whose proxies answer for it.
    pub cluster: NodeCluster,
    /// The hosts that it wants to answer for; never empty.
    pub hosts: BTreeSet<Host>,
    /// Which paths of them; never empty.
    pub paths: BTreeSet<PathPrefix>,
    /// The container port of its tasks, or of its VIP.
    pub port: Port,
    /// The network whose addresses become endpoints.
    pub network: NetworkId,
    /// Where its requests go.
    pub backend: Backend,
    /// What it asks for its hosts.
    pub site: SiteOptions,
    /// What it asks for its paths of them.
    pub route: RouteOptions,
    /// What it asks for its endpoints.
    pub pool: PoolOptions,
    /// The secrets that the proxies must hold for it.
    pub secrets: BTreeSet<SecretName>,
}

impl Intent {
    /// What it wants to answer for.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        let site = |host: &Host| Site { cluster: self.cluster.clone(), host: host.clone() };
        self.hosts.iter().flat_map(move |host| {
            self.paths.iter().map(move |path| Claim { site: site(host), path: path.clone() })
        })
    }
}

/// Where the requests of a service go (`backend_mode`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// To its running tasks.
    Tasks,
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

/// What a service asks for its hosts. Of several services on a host, the one that holds it decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteOptions {
    /// What answers TLS.
    pub tls: Tls,
    /// What plain HTTP gets.
    pub plain: Plain,
    /// Hosts that have moved.
    pub redirects: Redirects,
}

/// What answers TLS for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tls {
    /// Nothing.
    #[default]
    None,
    /// The proxy (`ssl_cert`).
    Terminated(Certificate),
    /// The tasks (`ssl_passthrough`).
    Passthrough,
}

/// A certificate that the proxies hold. Its two files may be one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Certificate {
    /// The chain (PEM).
    pub chain: SecretFile,
    /// The private key (PEM).
    pub key: SecretFile,
}

/// A secret as the proxies find it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretFile {
    /// Its name in Swarm.
    pub name: SecretName,
    /// The absolute path of the file.
    pub path: String,
}

/// What plain HTTP gets (`ssl_only`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Plain {
    /// The service.
    #[default]
    Served,
    /// The way to HTTPS.
    ToHttps,
}

/// Where requests for a service's hosts are sent on to (`redirects`), by scheme and host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirects(BTreeMap<(Scheme, HostPattern), Redirect>);

/// The new place of a host: a URL to which the request's path and query are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// How it is reached.
    pub scheme: Scheme,
    /// The host; no wildcard.
    pub host: HostPattern,
    /// The port, where it is not the scheme's own.
    pub port: Option<Port>,
    /// What comes before the request's path.
    pub path: PathPrefix,
}

impl fmt::Display for Redirect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme.as_str(), self.host)?;
        if let Some(port) = self.port {
            write!(out, ":{port}")?;
        }
        if self.path.is_root() { Ok(()) } else { self.path.fmt(out) }
    }
}

/// How a request reaches the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As a URL has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Http => Self::Https,
            Self::Https => Self::Http,
        }
    }

    fn default_port(self) -> Port {
        const HTTP: Port = Port::new(80).unwrap();
        const HTTPS: Port = Port::new(443).unwrap();
        match self {
            Self::Http => HTTP,
            Self::Https => HTTPS,
        }
    }
}

/// What a service asks for its paths of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteOptions {
    /// Whether its tasks see the context root.
    pub rewrite: Rewrite,
    /// The paths below which a connection may stand still for ever (`websocket_endpoints`).
    pub long_lived: BTreeSet<PathPrefix>,
}

/// Whether tasks see the context root (`context_root_rewrite`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rewrite {
    /// They do.
    #[default]
    Keep,
    /// It is stripped.
    Strip,
}

/// What a service asks for its endpoints. Of several services in a pool, the one that holds the
/// claim decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PoolOptions {
    /// Which of them a request goes to.
    pub affinity: Affinity,
    /// When one of them rests.
    pub ejection: Option<Ejection>,
    /// How they are reached.
    pub transport: Transport,
    /// What they speak.
    pub protocol: Protocol,
}

/// Whether requests that belong together go to the same task.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Affinity {
    /// Each request goes anywhere.
    #[default]
    None,
    /// The application's cookie of this name marks a session, which stays on its task
    /// (`sticky_session_cookie`).
    Cookie(CookieName),
    /// The client's address chooses the task (`ip_hash`).
    ClientAddress,
}

/// When a task that keeps failing rests (`max_fails`, `fail_timeout`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Ejection {
    /// After so many failures in a row.
    pub after: NonZeroU32,
    /// For so long: 1 ms to a day.
    pub rest: Duration,
}

/// How tasks are reached (`ssl_backend`).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Transport {
    /// By TCP.
    #[default]
    Plain,
    /// By TLS.
    Tls {
        /// The name that they are called by; none: the request's host.
        name: Option<HostPattern>,
        /// Whether they have to prove it.
        verify: Verify,
    },
}

/// Whether tasks have to prove their name (`ssl_backend_tls_verify`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Verify {
    /// No.
    None,
    /// Yes, by a certificate that this authority signed.
    Required(Authority),
    /// They should, but the proxies do not hold the authority's certificate: no task is reached.
    Impossible,
}

/// Who signs the tasks' certificates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Authority {
    /// Those that the proxies' system believes.
    System,
    /// The one of this secret (`waggle.backend_ca`).
    Secret(SecretFile),
}

/// What tasks speak (`waggle.backend_protocol`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, without asking first.
    Http2,
}

/// What a service's labels depend on beside the service.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// All networks of swarm scope.
    pub networks: &'a BTreeMap<NetworkId, Network>,
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

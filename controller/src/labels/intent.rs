//! What one service asks for, once its labels are parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{
    Claim, CookieName, Host, HostPattern, NodeCluster, PathPrefix, Port, SecretName, Site,
};
use crate::swarm::{NetworkId, ServiceId, ServiceName};

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
pub struct Redirects(pub(super) BTreeMap<(Scheme, HostPattern), Redirect>);

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

    pub(super) fn other(self) -> Self {
        match self {
            Self::Http => Self::Https,
            Self::Https => Self::Http,
        }
    }

    pub(super) fn default_port(self) -> Port {
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

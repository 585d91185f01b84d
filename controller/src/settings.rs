//! The settings: flags, else `WAGGLE_…` variables, else a TOML file, else defaults.
//!
//! [`Serve`] and what it is made of are the table of settings: a field is a setting, its comment the
//! help, and the flag's name with dashes gives the variable (`--http-port`, `WAGGLE_HTTP_PORT`) and
//! the key in the file (`http-port`). Help, file, `--print-config` and the documentation follow from
//! it. What Interlock's file had is in `interlock`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::bootstrap::BootstrapArgs;
use crate::check::CheckArgs;
use crate::envoy::Limits;
use crate::keys::KeysArgs;
use crate::labels::NodeCluster;
use crate::labels::{Care, ProxyOf, ProxyService};
use crate::routing::ShareHosts;
use crate::swarm::Address;

mod effective;
mod file;
mod interlock;
mod load;
mod value;

pub use effective::{Effective, Origin};
pub use load::LoadError;

/// L7 routing for Docker Swarm by service labels, on Envoy.
#[derive(Debug, Parser)]
#[command(name = "waggle", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the Swarm and serve Envoy.
    #[command(
        after_help = "Each setting is also a variable (--http-port: WAGGLE_HTTP_PORT) and a \
                            key of the file (http-port). A flag beats a variable, a variable the file."
    )]
    Serve(Box<Serve>),
    /// Make and rotate session keys.
    Keys(KeysArgs),
    /// Print Envoy's bootstrap for given addresses.
    Bootstrap(BootstrapArgs),
    /// Check the labels of Compose files.
    Check(CheckArgs),
}

/// The settings of `waggle serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// A TOML file with settings, by their flags' names or by those of Interlock
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print the settings that hold, each with its origin, and end
    #[arg(long)]
    pub print_config: bool,

    /// Docker's API: `unix:///path`, or `tcp://host:port` or `http://host:port` of a socket proxy; the
    /// variable `DOCKER_HOST` gives another default
    #[arg(long, value_name = "URL", default_value = "unix:///var/run/docker.sock")]
    pub docker: Address,

    /// TLS to Docker
    #[command(flatten)]
    pub docker_tls: DockerTls,

    /// The control socket of a manager of this Swarm (`/var/run/docker/swarm/control.sock`): with it
    /// changes are pushed, not polled. It can do everything to the Swarm
    #[arg(long, value_name = "PATH")]
    pub watch_socket: Option<PathBuf>,

    /// Where Envoys connect for their configuration
    #[arg(long, value_name = "IP:PORT", value_parser = value::address, default_value = "0.0.0.0:18000")]
    pub xds_address: SocketAddr,

    /// Mutual TLS with the Envoys
    #[command(flatten)]
    pub xds_tls: XdsTls,

    /// Where /healthz, /readyz, /status and /metrics are
    #[arg(long, value_name = "IP:PORT", value_parser = value::address, default_value = "0.0.0.0:18080")]
    pub status_address: SocketAddr,

    /// Where the last picture of the Swarm, the holders of hosts and the session key are kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/waggle")]
    pub state_dir: PathBuf,

    /// Where Envoy takes HTTP
    #[arg(long, value_name = "PORT", value_parser = value::port, default_value = "80")]
    pub http_port: u16,

    /// Where Envoy takes HTTPS
    #[arg(long, value_name = "PORT", value_parser = value::port, default_value = "443")]
    pub https_port: u16,

    /// Where clients reach HTTP, if Swarm or a load balancer publishes another port:
    /// `X-Forwarded-Port` names it
    #[arg(long, value_name = "PORT", value_parser = value::port, default_value = "80")]
    pub public_http_port: u16,

    /// Where clients reach HTTPS, if Swarm or a load balancer publishes another port: redirects and
    /// `X-Forwarded-Port` name it
    #[arg(long, value_name = "PORT", value_parser = value::port, default_value = "443")]
    pub public_https_port: u16,

    /// Session keys, one a line, 32 bytes in base64: the first signs, all open
    /// [default: one that is made once and kept in the state directory]
    #[arg(long, value_name = "FILE")]
    pub session_keys: Option<PathBuf>,

    /// Networks that Envoy is on, by name or ID: preferred where a service is on several
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    pub proxy_network: Vec<String>,

    /// The services that run the proxies, `NAME` or for a service cluster `CLUSTER=NAME`: what they
    /// lack (networks, secrets) is told, with the command that adds it
    #[arg(long, value_name = "[CLUSTER=]NAME", value_delimiter = ',')]
    pub proxy_service: Vec<ProxyOf>,

    /// As `proxy-service`, but Waggle gives these services the networks and secrets that they lack
    #[arg(long, value_name = "[CLUSTER=]NAME", value_delimiter = ',')]
    pub manage_proxy: Vec<ProxyOf>,

    /// Whose services may join a host that another service holds
    #[arg(long, value_enum, default_value_t)]
    pub share_hosts: ShareHosts,

    /// Send no debug headers (x-proxy-id, x-upstream-addr, …) to clients
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        value_parser = value::truth,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub hide_info_headers: bool,

    /// How many proxies in front of Envoy may be believed about X-Forwarded-For
    #[arg(long, value_name = "N", value_parser = value::hops, default_value = "0")]
    pub trusted_hops: u32,

    /// What Envoy allows its clients and tasks
    #[command(flatten)]
    pub limits: Limits,

    /// Where Envoy gets the filter from
    #[command(flatten)]
    pub filter: FilterSource,

    /// What is logged: error, warn, info, debug or trace, also by module
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: String,

    /// Each setting's value as written, with its origin, in the order of the help.
    #[arg(skip)]
    pub effective: Vec<Effective>,

    /// What is worth telling about the file: settings without effect, and why.
    #[arg(skip)]
    pub warnings: Vec<String>,
}

/// TLS to a Docker that is reached by `tcp://`.
#[derive(Debug, Args)]
pub struct DockerTls {
    /// The authority that signs the certificate of Docker's API (PEM): with it `tcp://` is TLS
    #[arg(long, value_name = "FILE")]
    pub docker_ca: Option<PathBuf>,
    /// The controller's certificate chain (PEM) for Docker's API
    #[arg(long, value_name = "FILE")]
    pub docker_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE")]
    pub docker_key: Option<PathBuf>,
    /// Speak TLS to Docker's API and take any certificate of it
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        value_parser = value::truth,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true"
    )]
    pub docker_insecure: bool,
}

/// The files of mutual TLS: all three or none. Without them anyone who reaches `--xds-address` can
/// read the session keys.
#[derive(Debug, Args)]
pub struct XdsTls {
    /// The controller's certificate chain (PEM), for mutual TLS with the Envoys
    #[arg(long = "xds-tls-cert", value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long = "xds-tls-key", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The authority that signs the Envoys' certificates (PEM)
    #[arg(long = "xds-client-ca", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
}

/// Where Envoy gets the filter from: one of the two.
#[derive(Debug, Args)]
pub struct FilterSource {
    /// The filter's module; the controller delivers it to every Envoy
    #[arg(long, value_name = "FILE")]
    pub filter: Option<PathBuf>,
    /// The filter's path on Envoy's own disk, if it shall not come from the controller
    #[arg(long, value_name = "PATH")]
    pub filter_in_envoy: Option<PathBuf>,
}

/// Two services are named for one cluster's proxies.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{flag} names {one} and {other} for the proxies of the cluster {cluster}: name one service a \
     cluster"
)]
pub struct TwoProxies {
    flag: &'static str,
    cluster: NodeCluster,
    one: String,
    other: String,
}

impl Serve {
    /// The service that runs the proxies of each cluster. Where both flags name one, the managed one
    /// holds: a file of Interlock's names its own proxy.
    pub fn proxies(&self) -> Result<BTreeMap<NodeCluster, ProxyService>, TwoProxies> {
        let mut proxies = by_cluster("--proxy-service", &self.proxy_service, Care::Owner)?;
        proxies.extend(by_cluster("--manage-proxy", &self.manage_proxy, Care::Controller)?);
        Ok(proxies)
    }
}

fn by_cluster(
    flag: &'static str,
    named: &[ProxyOf],
    care: Care,
) -> Result<BTreeMap<NodeCluster, ProxyService>, TwoProxies> {
    let mut proxies: BTreeMap<NodeCluster, ProxyService> = BTreeMap::new();
    for ProxyOf { cluster, service } in named {
        let proxy = ProxyService { name: service.clone(), care };
        let first = proxies.entry(cluster.clone()).or_insert(proxy);
        if first.name != *service {
            let (one, other) = (first.name.to_string(), service.to_string());
            return Err(TwoProxies { flag, cluster: cluster.clone(), one, other });
        }
    }
    Ok(proxies)
}

#[cfg(test)]
mod tests;

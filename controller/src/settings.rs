//! The command line: every flag is also a `WAGGLE_…` variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::bootstrap::BootstrapArgs;
use crate::check::CheckArgs;
use crate::routing::ShareHosts;

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
    Serve(Box<Serve>),
    /// Print Envoy's bootstrap for given addresses.
    Bootstrap(BootstrapArgs),
    /// Check the labels of Compose files.
    Check(CheckArgs),
}

/// The settings of `waggle serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Docker's API: `unix:///path`, `tcp://host:port` or `http://host:port` of a socket proxy
    /// [default: `DOCKER_HOST`, then `unix:///var/run/docker.sock`]
    #[arg(long, env = "WAGGLE_DOCKER", value_name = "URL")]
    pub docker: Option<String>,

    /// Where Envoys connect for their configuration
    #[arg(
        long,
        env = "WAGGLE_XDS_ADDRESS",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:18000"
    )]
    pub xds_address: SocketAddr,

    /// Mutual TLS with the Envoys; without it anyone who reaches the address can read the session
    /// keys
    #[command(flatten)]
    pub xds_tls: Option<XdsTls>,

    /// Where /healthz, /readyz, /status and /metrics are
    #[arg(
        long,
        env = "WAGGLE_STATUS_ADDRESS",
        value_name = "IP:PORT",
        default_value = "0.0.0.0:18080"
    )]
    pub status_address: SocketAddr,

    /// Where the last picture of the Swarm, the holders of hosts and the session key are kept
    #[arg(long, env = "WAGGLE_STATE_DIR", value_name = "DIR", default_value = "/var/lib/waggle")]
    pub state_dir: PathBuf,

    /// Where Envoy takes HTTP
    #[arg(long, env = "WAGGLE_HTTP_PORT", value_name = "PORT", default_value = "80")]
    pub http_port: u16,

    /// Where Envoy takes HTTPS; unused as long as no label can bring a certificate
    #[arg(long, env = "WAGGLE_HTTPS_PORT", value_name = "PORT", default_value = "443")]
    pub https_port: u16,

    /// Session keys, one a line, 32 bytes in base64: the first signs, all open
    /// [default: one that is made once and kept in the state directory]
    #[arg(long, env = "WAGGLE_SESSION_KEYS", value_name = "FILE")]
    pub session_keys: Option<PathBuf>,

    /// Networks that Envoy is on, by name or ID: preferred where a service is on several
    #[arg(long, env = "WAGGLE_PROXY_NETWORK", value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    pub proxy_network: Vec<String>,

    /// Whose services may join a host that another service holds
    #[arg(long, env = "WAGGLE_SHARE_HOSTS", value_enum, default_value_t)]
    pub share_hosts: ShareHosts,

    /// Send no debug headers (x-proxy-id, x-upstream-addr, …) to clients
    #[arg(long, env = "WAGGLE_HIDE_INFO_HEADERS")]
    pub hide_info_headers: bool,

    /// How many proxies in front of Envoy may be believed about X-Forwarded-For
    #[arg(long, env = "WAGGLE_TRUSTED_HOPS", value_name = "N", default_value = "0")]
    pub trusted_hops: u32,

    /// Where Envoy gets the filter from
    #[command(flatten)]
    pub filter: FilterSource,

    /// What is logged: error, warn, info, debug or trace, also by module
    #[arg(long, env = "WAGGLE_LOG", value_name = "LEVEL", default_value = "info")]
    pub log: String,
}

/// The files of mutual TLS: all three or none.
#[derive(Debug, Args)]
#[group(multiple = true)]
pub struct XdsTls {
    /// The controller's certificate chain (PEM)
    #[arg(
        long = "xds-tls-cert",
        env = "WAGGLE_XDS_TLS_CERT",
        value_name = "FILE",
        requires_all = ["key", "client_ca"],
        required = false
    )]
    pub cert: PathBuf,
    /// Its key (PEM)
    #[arg(
        long = "xds-tls-key",
        env = "WAGGLE_XDS_TLS_KEY",
        value_name = "FILE",
        requires_all = ["cert", "client_ca"],
        required = false
    )]
    pub key: PathBuf,
    /// The authority that signs the Envoys' certificates (PEM)
    #[arg(
        long = "xds-client-ca",
        env = "WAGGLE_XDS_CLIENT_CA",
        value_name = "FILE",
        requires_all = ["cert", "key"],
        required = false
    )]
    pub client_ca: PathBuf,
}

/// Where Envoy gets the filter from: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct FilterSource {
    /// The filter's module; the controller delivers it to every Envoy
    #[arg(long, env = "WAGGLE_FILTER", value_name = "FILE")]
    pub filter: Option<PathBuf>,
    /// The filter's path on Envoy's own disk, if it shall not come from the controller
    #[arg(long, env = "WAGGLE_FILTER_IN_ENVOY", value_name = "PATH")]
    pub filter_in_envoy: Option<PathBuf>,
}

//! The configuration that an Envoy starts with: `envoy/bootstrap.yaml`, for other addresses.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// The bootstrap for the default addresses, without TLS.
const DEFAULT: &str = include_str!("../../envoy/bootstrap.yaml");

/// Where the default one says that the controller is.
const CONTROLLER: &str = "{ address: waggle-controller, port_value: 18000 }";

/// Where the default one has the admin interface.
const ADMIN: &str = "{ address: 127.0.0.1, port_value: 9901 }";

/// Where the default one answers health checks.
const HEALTH: &str = "{ address: 0.0.0.0, port_value: 9902 }";

/// Where the cluster of the controller ends.
const END_OF_CLUSTER: &str = "connection_keepalive: { interval: 10s, timeout: 5s }\n";

/// The settings of `waggle bootstrap`.
#[derive(Debug, Args)]
pub struct BootstrapArgs {
    /// Where the controller serves xDS, as Envoy reaches it
    #[arg(long, value_name = "HOST:PORT", default_value = "waggle-controller:18000")]
    pub controller: HostPort,

    /// Where Envoy's admin interface listens; whoever reaches it can stop Envoy
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9901")]
    pub admin: SocketAddr,

    /// Where Envoy answers the health checks of balancers in front: `GET /health`
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:9902")]
    pub health: SocketAddr,

    /// Mutual TLS with the controller
    #[command(flatten)]
    pub xds_tls: Option<XdsTls>,
}

/// The files of mutual TLS with the controller, as Envoy finds them: all three or none.
#[derive(Debug, Args)]
#[group(id = "bootstrap_xds_tls", multiple = true)]
pub struct XdsTls {
    /// The authority that signed the controller's certificate (PEM), on Envoy's disk; the
    /// certificate must name the controller's host
    #[arg(long = "xds-ca", value_name = "FILE", requires_all = ["cert", "key"], required = false)]
    pub ca: PathBuf,
    /// Envoy's certificate chain (PEM)
    #[arg(long = "xds-cert", value_name = "FILE", requires_all = ["ca", "key"], required = false)]
    pub cert: PathBuf,
    /// Its key (PEM)
    #[arg(long = "xds-key", value_name = "FILE", requires_all = ["ca", "cert"], required = false)]
    pub key: PathBuf,
}

/// A host by name or address, and a port: `waggle-controller:18000`, `10.0.0.2:18000`, `[::1]:18000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// Why a text is no [`HostPort`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHostPort {
    /// There is no `:port` at the end, or it is not a number from 1 to 65535.
    #[error("a host and a port from 1 to 65535 were expected, such as `waggle-controller:18000`")]
    Port,
    /// The host is neither a name nor an address; an IPv6 address needs brackets.
    #[error("`{0}` is neither a host name nor an address; IPv6 is written `[::1]:18000`")]
    Host(String),
}

impl FromStr for HostPort {
    type Err = BadHostPort;

    fn from_str(written: &str) -> Result<Self, BadHostPort> {
        let (host, port) = written.rsplit_once(':').ok_or(BadHostPort::Port)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(BadHostPort::Port)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-._".contains(&c);
        let host = match bracketed {
            Some(v6) if v6.parse::<std::net::Ipv6Addr>().is_ok() => v6,
            None if !host.is_empty() && host.bytes().all(allowed) => host,
            _ => return Err(BadHostPort::Host(host.to_owned())),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(out, "[{}]:{}", self.host, self.port)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// The bootstrap as YAML.
pub fn bootstrap(args: &BootstrapArgs) -> String {
    let of = |address: SocketAddr| socket_address(&address.ip().to_string(), address.port());
    let mut yaml = DEFAULT
        .replace(CONTROLLER, &socket_address(&args.controller.host, args.controller.port))
        .replace(ADMIN, &of(args.admin))
        .replace(HEALTH, &of(args.health));
    if let Some(tls) = &args.xds_tls {
        let with_tls = format!("{END_OF_CLUSTER}{}", transport_socket(tls, &args.controller.host));
        yaml = yaml.replace(END_OF_CLUSTER, &with_tls);
    }
    yaml
}

/// As the default one writes it.
fn socket_address(host: &str, port: u16) -> String {
    let plain = !host.contains(':');
    let host = if plain { host.to_owned() } else { quoted(host) };
    format!("{{ address: {host}, port_value: {port} }}")
}

/// The controller has to prove the name that it is reached by: another holder of a certificate of
/// the same authority, such as an Envoy, cannot take its place.
fn transport_socket(tls: &XdsTls, host: &str) -> String {
    let [ca, cert, key] =
        [&tls.ca, &tls.cert, &tls.key].map(|file| quoted(&file.to_string_lossy()));
    let san_type = if host.parse::<IpAddr>().is_ok() { "IP_ADDRESS" } else { "DNS" };
    let mut yaml = format!(
        r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          tls_certificates:
          - certificate_chain: {{ filename: {cert} }}
            private_key: {{ filename: {key} }}
          validation_context:
            trusted_ca: {{ filename: {ca} }}
            match_typed_subject_alt_names:
            - {{ san_type: {san_type}, matcher: {{ exact: {host} }} }}
"#,
        host = quoted(host),
    );
    if san_type == "DNS" {
        let _ = writeln!(yaml, "        sni: {}", quoted(host));
    }
    yaml
}

/// A string of JSON is one of YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_needed() {
        for (written, host, port) in [
            ("waggle-controller:18000", "waggle-controller", 18000),
            ("10.0.0.2:1", "10.0.0.2", 1),
            ("[::1]:65535", "::1", 65535),
            ("tasks.waggle_controller:18000", "tasks.waggle_controller", 18000),
        ] {
            let parsed: HostPort = written.parse().unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port));
            assert_eq!(parsed.to_string(), written);
        }
        for written in ["", "host", "host:", "host:0", "host:65536", "host:http", "::1"] {
            assert!(written.parse::<HostPort>().is_err(), "{written}");
        }
        for written in [":1", "a b:1", "::1:1", "[a]:1", "a}:1", "a\n:1", "http://a:1"] {
            assert!(matches!(written.parse::<HostPort>(), Err(BadHostPort::Host(_))), "{written}");
        }
    }
}

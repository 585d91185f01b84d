//! `waggle bootstrap`: what an Envoy starts with. All else comes over xDS.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// Where the controller is in a stack.
const CONTROLLER: &str = "waggle-controller:18000";

/// Envoy's admin interface: it is unauthenticated, so for its own container alone.
const ADMIN: &str = "127.0.0.1:9901";

/// What the bootstrap depends on.
#[derive(Debug, Args)]
pub struct BootstrapArgs {
    /// Where the controller serves xDS
    #[arg(long, value_name = "HOST:PORT", default_value = CONTROLLER)]
    pub controller: HostPort,
    /// Where Envoy's admin interface listens
    #[arg(long, value_name = "IP:PORT", default_value = ADMIN)]
    pub admin: HostPort,
    /// Mutual TLS to the controller
    #[command(flatten)]
    pub tls: Option<ClientTls>,
}

/// The files of mutual TLS, as Envoy sees them: all three or none.
#[derive(Debug, Args)]
#[group(multiple = true)]
pub struct ClientTls {
    /// The authority that signs the controller's certificate (PEM), in Envoy's container
    #[arg(long = "xds-ca", value_name = "PATH", required = false, requires_all = ["cert", "key"])]
    pub ca: PathBuf,
    /// Envoy's certificate (PEM), in Envoy's container
    #[arg(long = "xds-cert", value_name = "PATH", required = false, requires_all = ["ca", "key"])]
    pub cert: PathBuf,
    /// Its key (PEM), in Envoy's container
    #[arg(long = "xds-key", value_name = "PATH", required = false, requires_all = ["ca", "cert"])]
    pub key: PathBuf,
}

/// A host name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// What is no [`HostPort`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a host and a port, such as waggle-controller:18000, 10.0.0.1:18000 or [::1]:18000"
)]
pub struct BadHostPort;

impl FromStr for HostPort {
    type Err = BadHostPort;

    fn from_str(written: &str) -> Result<Self, BadHostPort> {
        let (host, port) = written.rsplit_once(':').ok_or(BadHostPort)?;
        let bare = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or(BadHostPort)?,
            None if host.contains(':') => return Err(BadHostPort),
            None => host,
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(BadHostPort)?;
        let is_host = !bare.is_empty() && bare.chars().all(allowed);
        is_host.then(|| Self { host: bare.to_owned(), port }).ok_or(BadHostPort)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        write!(out, "{{ address: \"{host}\", port_value: {port} }}")
    }
}

/// The bootstrap, in YAML.
pub fn bootstrap(args: &BootstrapArgs) -> String {
    let tls = args.tls.as_ref().map(transport_socket).unwrap_or_default();
    include_str!("bootstrap/template.yaml")
        .replace("{{admin}}", &args.admin.to_string())
        .replace("{{controller}}", &args.controller.to_string())
        .replace("{{tls}}\n", &tls)
}

fn transport_socket(tls: &ClientTls) -> String {
    let path = |path: &PathBuf| serde_json::Value::from(path.to_string_lossy()).to_string();
    include_str!("bootstrap/tls.yaml")
        .replace("{{ca}}", &path(&tls.ca))
        .replace("{{cert}}", &path(&tls.cert))
        .replace("{{key}}", &path(&tls.key))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BootstrapArgs,
    }

    fn printed(line: &[&str]) -> String {
        let words = std::iter::once("bootstrap").chain(line.iter().copied());
        bootstrap(&Line::try_parse_from(words).unwrap().args)
    }

    #[test]
    fn the_file_in_the_repository_is_what_is_printed_by_default() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../envoy/bootstrap.yaml");
        let text = std::fs::read_to_string(file).unwrap();
        assert_eq!(text, printed(&[]), "renew it: waggle bootstrap > envoy/bootstrap.yaml");
    }

    #[test]
    fn addresses_and_tls_go_where_they_belong() {
        let text = printed(&["--controller", "[::1]:1", "--admin", "127.0.0.2:2"]);
        assert!(text.contains(r#"address: "::1", port_value: 1"#), "{text}");
        assert!(text.contains(r#"address: "127.0.0.2", port_value: 2"#), "{text}");
        assert!(!text.contains("{{") && !text.contains("transport_socket"), "{text}");
        let text = printed(&["--xds-ca", "/a \"b\"", "--xds-cert", "/c", "--xds-key", "/k"]);
        assert!(text.contains(r#"trusted_ca: { filename: "/a \"b\"" }"#), "{text}");
    }

    #[test]
    fn half_of_mutual_tls_is_refused() {
        assert!(Line::try_parse_from(["bootstrap", "--xds-ca", "/a"]).is_err());
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["a:1", "a-b_c.example:65535", "10.0.0.1:80", "[::1]:80"] {
            assert!(good.parse::<HostPort>().is_ok(), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "::1:80", "[::1:80", "a b:1", "a\":1"] {
            assert_eq!(bad.parse::<HostPort>(), Err(BadHostPort), "{bad}");
        }
    }
}

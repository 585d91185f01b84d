//! Where a Docker engine listens, as `DOCKER_HOST` writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::http::uri::Authority;

use super::tls::Tls;

/// The port of an engine, or of a socket proxy, that is named without one.
const DEFAULT_PORT: u16 = 2375;

/// The address of a Docker engine, or of a socket proxy before one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:///path/of/docker.sock`.
    Unix(PathBuf),
    /// `tcp://host:port` or `http://host:port`: HTTP without TLS.
    Tcp(Authority),
    /// The same with TLS.
    Tls(Authority, Tls),
}

/// A text that is no address of an engine that Waggle can reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Docker address: give unix:///path, tcp://host:port or http://host:port")]
pub struct AddressError(String);

/// An engine that is not reached over the network was to be reached over TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is reached without TLS: give tcp://host:port, or no certificates")]
pub struct NoTls(String);

impl Address {
    /// The same address, reached over TLS.
    pub fn over(self, tls: Tls) -> Result<Self, NoTls> {
        match self {
            Self::Tcp(host) | Self::Tls(host, _) => Ok(Self::Tls(host, tls)),
            Self::Unix(_) => Err(NoTls(self.to_string())),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(written: &str) -> Result<Self, AddressError> {
        // A password before the host is in no error.
        let shown = written.rsplit_once('@').map_or(written, |(_, host)| host);
        let bad = || AddressError(shown.to_owned());
        if let Some(path) = written.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(bad()) };
        }
        let host = written.strip_prefix("tcp://").or_else(|| written.strip_prefix("http://"));
        let host = host.ok_or_else(bad)?.trim_end_matches('/');
        let authority: Authority = host.parse().map_err(|_| bad())?;
        if authority.host().is_empty() || host.contains('@') {
            return Err(bad());
        }
        match authority.port_u16() {
            Some(_) => Ok(Self::Tcp(authority)),
            None => format!("{host}:{DEFAULT_PORT}").parse().map(Self::Tcp).map_err(|_| bad()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
            Self::Tcp(authority) | Self::Tls(authority, _) => write!(out, "tcp://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_host_with_a_port() {
        for (written, read) in [
            ("unix:///var/run/docker.sock", Some("unix:///var/run/docker.sock")),
            ("tcp://proxy:2376", Some("tcp://proxy:2376")),
            ("tcp://proxy", Some("tcp://proxy:2375")),
            ("http://10.0.0.1:80/", Some("tcp://10.0.0.1:80")),
            ("tcp://[::1]:2375", Some("tcp://[::1]:2375")),
            ("tcp://[::1]", Some("tcp://[::1]:2375")),
            ("unix://docker.sock", None),
            ("unix://", None),
            ("tcp://", None),
            ("tcp://:2375", None),
            ("tcp://user@proxy:2375", None),
            ("tcp://proxy:port", None),
            ("tcp://proxy:99999", None),
            ("tcp://proxy/path", None),
            ("https://proxy:2376", None),
            ("ssh://user@host", None),
            ("/var/run/docker.sock", None),
            ("", None),
        ] {
            let address = written.parse::<Address>().map(|address| address.to_string());
            assert_eq!(address.ok().as_deref(), read, "{written:?}");
        }
    }
}

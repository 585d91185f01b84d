//! What settings are made of, where no other module has the type.

use std::net::SocketAddr;
use std::str::FromStr;

use crate::envoy::limits::Expected;
use crate::labels::NodeCluster;
use crate::swarm::ServiceName;

pub(super) fn port(written: &str) -> Result<u16, Expected> {
    let port = written.parse().ok().filter(|port| *port != 0);
    port.ok_or(Expected("a port from 1 to 65535"))
}

pub(super) fn address(written: &str) -> Result<SocketAddr, Expected> {
    written.parse().map_err(|_| Expected("an IP address and a port, such as 0.0.0.0:18000"))
}

/// As labels write it.
pub(super) fn truth(written: &str) -> Result<bool, Expected> {
    match written.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Expected("`true` or `false`")),
    }
}

/// As many as a chain of proxies can have; Envoy looks at each.
pub(super) fn hops(written: &str) -> Result<u32, Expected> {
    let hops = written.parse().ok().filter(|hops| *hops <= 100);
    hops.ok_or(Expected("a number of proxies from 0 to 100"))
}

/// The service whose tasks are the proxies of a cluster: `NAME`, or `CLUSTER=NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyOf {
    /// The cluster.
    pub cluster: NodeCluster,
    /// The service.
    pub service: ServiceName,
}

impl FromStr for ProxyOf {
    type Err = Expected;

    fn from_str(written: &str) -> Result<Self, Expected> {
        let expected = Expected(
            "a service's name (letters, digits, `-`, `_` and `.`), or for a service cluster \
             CLUSTER=NAME",
        );
        let (cluster, service) = written.trim().split_once('=').unwrap_or(("", written.trim()));
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        if service.is_empty() || !service.bytes().all(allowed) {
            return Err(expected);
        }
        let cluster = NodeCluster::parse(cluster).map_err(|_| expected)?;
        Ok(Self { cluster, service: ServiceName::new(service) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_service_and_maybe_a_cluster() {
        for (written, read) in [
            ("proxy", Some(("default", "proxy"))),
            ("=proxy", Some(("default", "proxy"))),
            ("default=proxy", Some(("default", "proxy"))),
            ("east=stack_proxy.1", Some(("east", "stack_proxy.1"))),
            ("", None),
            ("east=", None),
            ("a b", None),
            ("a b=proxy", None),
            ("a=b=c", None),
        ] {
            let proxy = written.parse::<ProxyOf>().ok();
            let parts = proxy.as_ref().map(|it| (it.cluster.as_str(), it.service.as_str()));
            assert_eq!(parts, read, "{written:?}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (written, read) in [("1", Some(1)), ("65535", Some(65535)), ("0", None), ("http", None)]
        {
            assert_eq!(port(written).ok(), read, "{written:?}");
        }
        for (written, read) in [("0", Some(0)), ("100", Some(100)), ("101", None), ("-1", None)] {
            assert_eq!(hops(written).ok(), read, "{written:?}");
        }
        for (written, read) in
            [("TRUE", Some(true)), ("on", Some(true)), ("0", Some(false)), ("maybe", None)]
        {
            assert_eq!(truth(written).ok(), read, "{written:?}");
        }
        assert!(address("127.0.0.1:1").is_ok() && address("[::1]:1").is_ok());
        assert!(address("localhost:1").is_err() && address(":1").is_err());
    }
}

//! Hosts → route configurations: one for plain HTTP, and one for each certificate.
//!
//! Their hosts are told one by one, so that a change of one costs no other its bytes. One bad domain or
//! value makes Envoy refuse a host, so nothing gets in here that is not a type that cannot be wrong.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::route::v3 as route;
use prost::Message as _;
use waggle_filter::config::{PIN_HEADER, ROUTE_HEADER};

use super::chain::{Chain, Names};
use super::references::{self, References};
use super::virtual_host::{ANY_HOST, misdirected};
use super::{Kind, Resource, Settings, header, over_ads};
use crate::labels::{Host, HostPattern, Scheme};
use crate::protobuf;
use crate::routing::Routes;

/// What Envoy tells tasks of clients from outside, in a header of its own: `X-Real-IP` tells it too.
const ENVOYS_OWN: &str = "x-envoy-external-address";

/// The name of the routes for plain HTTP, and of their listener.
pub(super) const HTTP: &str = "http";

/// The name, within its routes, of the answer to hosts that are elsewhere. No host is called so.
pub(super) const ELSEWHERE: &str = "(elsewhere)";

/// The field of a virtual host.
const NAME: u32 = 1;

/// A virtual host without its name, as bytes, and the clusters that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    names: References,
}

impl Encoded {
    pub(super) fn new(host: &route::VirtualHost) -> Self {
        Self { bytes: host.encode_to_vec(), names: references::of_host(host) }
    }

    /// The host under this name in the routes of this name: Envoy finds by it to which they belong.
    pub(super) fn within(&self, routes: &str, host: &str) -> Resource {
        let name = name_within(routes, host);
        let mut message = Vec::with_capacity(2 * name.len() + self.bytes.len());
        protobuf::put(NAME, name.as_bytes(), &mut message);
        message.extend_from_slice(&self.bytes);
        Resource::encoded(Kind::VirtualHost, &name, &message, self.names.clone())
    }
}

/// The name of a host's resource.
pub(super) fn name_within(routes: &str, host: &str) -> String {
    format!("{routes}/{host}")
}

/// A chain's own hosts.
pub(super) fn own_hosts(chain: &Chain<'_>) -> Vec<Host> {
    match &chain.names {
        Names::Of(patterns) => patterns.iter().map(|it| Host::Named((*it).clone())).collect(),
        Names::AllOthers => vec![Host::AnyOther],
    }
}

/// The answer to all but a chain's own hosts: a client that asks for another on such a connection is
/// told to open one of its own, where the right certificate is.
pub(super) fn elsewhere(chain: &Chain<'_>, routes: &Routes) -> Option<Encoded> {
    let elsewhere: Vec<String> = match &chain.names {
        Names::Of(patterns) => {
            reached_beside(patterns, routes).into_iter().chain([ANY_HOST.to_owned()]).collect()
        }
        Names::AllOthers => {
            routes.sites.keys().filter_map(Host::named).map(ToString::to_string).collect()
        }
    };
    (!elsewhere.is_empty()).then(|| Encoded::new(&misdirected(elsewhere)))
}

/// The hosts that a pattern of a chain would take and that are not the chain's own: they need to be
/// kept away by name. A pattern that is no wildcard takes itself alone.
fn reached_beside(patterns: &[&HostPattern], routes: &Routes) -> Vec<String> {
    let wildcards: Vec<_> = patterns.iter().filter(|pattern| pattern.is_wildcard()).collect();
    if wildcards.is_empty() {
        return Vec::new();
    }
    let own: BTreeSet<&HostPattern> = patterns.iter().copied().collect();
    let others = routes.sites.keys().filter_map(Host::named).filter(|host| !own.contains(host));
    let reached = others.filter(|host| wildcards.iter().any(|wildcard| wildcard.covers(host)));
    reached.map(ToString::to_string).collect()
}

/// A route configuration without its hosts.
pub(super) fn configuration(
    name: &str,
    settings: &Settings,
    scheme: Scheme,
) -> route::RouteConfiguration {
    route::RouteConfiguration {
        name: name.to_owned(),
        ignore_port_in_host_matching: true,
        internal_only_headers: vec![PIN_HEADER.to_owned()],
        request_headers_to_add: header::to_task(settings, scheme),
        request_headers_to_remove: [PIN_HEADER, ROUTE_HEADER, ENVOYS_OWN].map(String::from).into(),
        response_headers_to_add: header::to_client(settings),
        response_headers_to_remove: vec![PIN_HEADER.to_owned()],
        ..Default::default()
    }
}

/// A route configuration whose hosts are told apart from it.
pub(super) fn of_hosts_apart(configuration: route::RouteConfiguration) -> Resource {
    let vhds = Some(route::Vhds { config_source: Some(over_ads()) });
    let name = configuration.name.clone();
    let message = route::RouteConfiguration { vhds, ..configuration };
    Resource::new(Kind::Routes, &name, &message)
}

//! Hosts → route configurations: one for plain HTTP, and one for each certificate.
//!
//! One bad domain or value makes Envoy refuse the whole of one, so nothing gets in here that is not a
//! type that cannot be wrong.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::route::v3 as route;
use prost::Message as _;
use waggle_filter::config::{PIN_HEADER, ROUTE_HEADER};

use super::chain::{Chain, End, Names};
use super::references::{self, References};
use super::virtual_host::{ANY_HOST, misdirected, nobody};
use super::{Kind, Resource, Settings, header};
use crate::labels::{Host, HostPattern, Scheme};
use crate::persistent::Map;
use crate::protobuf;
use crate::routing::Routes;

/// What Envoy tells tasks of clients from outside, in a header of its own: `X-Real-IP` tells it too.
const ENVOYS_OWN: &str = "x-envoy-external-address";

/// The name of the routes for plain HTTP, and of their listener.
pub(super) const HTTP: &str = "http";

/// The field of a route configuration.
const VIRTUAL_HOSTS: u32 = 2;

/// A virtual host as bytes, and the clusters that it names: made once for as long as it stays the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    names: References,
}

impl Encoded {
    pub(super) fn new(host: &route::VirtualHost) -> Self {
        Self { bytes: host.encode_to_vec(), names: references::of_host(host) }
    }
}

/// The routes for plain HTTP: of all hosts.
pub(super) fn plain(hosts: &Map<Host, Encoded>, settings: &Settings) -> Resource {
    let nobody = (!hosts.contains_key(&Host::AnyOther)).then(|| Encoded::new(&nobody()));
    configuration(HTTP, hosts.values().chain(&nobody), settings, Scheme::Http)
}

/// The routes of each certificate, of those hosts that it is for. `hosts` are as they answer over TLS.
pub(super) fn secure(
    hosts: &Map<Host, Encoded>,
    routes: &Routes,
    chains: &[Chain<'_>],
    settings: &Settings,
) -> Vec<Resource> {
    let over_tls = chains.iter().filter(|chain| matches!(chain.end, End::Here(_)));
    let of_chain = |chain: &Chain<'_>| {
        let (own, elsewhere) = of_chain(chain, hosts, routes);
        configuration(&chain.name, own.into_iter().chain(&elsewhere), settings, Scheme::Https)
    };
    over_tls.map(of_chain).collect()
}

/// A certificate's routes: those of its own hosts. A client that asks for another host on such a
/// connection is told to open one of its own, where the right certificate is.
fn of_chain<'a>(
    chain: &Chain<'_>,
    hosts: &'a Map<Host, Encoded>,
    routes: &Routes,
) -> (Vec<&'a Encoded>, Option<Encoded>) {
    let (own, mut elsewhere): (Vec<_>, Vec<String>) = match &chain.names {
        Names::Of(patterns) => {
            let own = patterns.iter().filter_map(|it| hosts.get(&Host::Named((*it).clone())));
            (own.collect(), reached_beside(patterns, routes))
        }
        Names::AllOthers => {
            let named = routes.sites.keys().filter_map(Host::named);
            (
                hosts.get(&Host::AnyOther).into_iter().collect(),
                named.map(ToString::to_string).collect(),
            )
        }
    };
    if chain.names != Names::AllOthers {
        elsewhere.push(ANY_HOST.to_owned());
    }
    let elsewhere = (!elsewhere.is_empty()).then(|| Encoded::new(&misdirected(elsewhere)));
    (own, elsewhere)
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

/// The hosts are encoded already: they go between the fields before and behind them, so that the
/// bytes are those of the whole message.
fn configuration<'a>(
    name: &str,
    hosts: impl Iterator<Item = &'a Encoded>,
    settings: &Settings,
    scheme: Scheme,
) -> Resource {
    let first = route::RouteConfiguration { name: name.to_owned(), ..Default::default() };
    let rest = route::RouteConfiguration {
        ignore_port_in_host_matching: true,
        internal_only_headers: vec![PIN_HEADER.to_owned()],
        request_headers_to_add: header::to_task(settings, scheme),
        request_headers_to_remove: [PIN_HEADER, ROUTE_HEADER, ENVOYS_OWN].map(String::from).into(),
        response_headers_to_add: header::to_client(settings),
        response_headers_to_remove: vec![PIN_HEADER.to_owned()],
        ..Default::default()
    };
    let mut value = first.encode_to_vec();
    let mut names = References::new();
    for host in hosts {
        protobuf::begin(VIRTUAL_HOSTS, host.bytes.len(), &mut value);
        value.extend_from_slice(&host.bytes);
        names.extend(host.names.iter().cloned());
    }
    value.extend(rest.encode_to_vec());
    Resource::encoded(Kind::Routes, name, &value, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_were_encoded_before_make_the_bytes_of_the_whole_message() {
        let hosts: Vec<_> = ["a", "b"]
            .map(|name| route::VirtualHost { name: name.into(), ..misdirected(vec![name.into()]) })
            .into();
        let encoded: Vec<_> = hosts.iter().map(Encoded::new).collect();
        let settings = crate::envoy::testing::settings();
        let resource = configuration("http", encoded.iter(), &settings, Scheme::Http);
        let whole = route::RouteConfiguration::decode(resource.body().message()).unwrap();
        assert_eq!(whole.virtual_hosts, hosts);
        assert_eq!(whole.encode_to_vec(), resource.body().message());
    }
}

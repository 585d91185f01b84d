//! Hosts → route configurations: one for plain HTTP, and one for each certificate.
//!
//! One bad domain or value makes Envoy refuse the whole of one, so nothing gets in here that is not a
//! type that cannot be wrong.

use envoy_types::pb::envoy::config::route::v3 as route;
use waggle_filter::config::{PIN_HEADER, ROUTE_HEADER};

use super::chain::{Chain, End, Names};
use super::virtual_host::{ANY_HOST, misdirected, nobody, virtual_host};
use super::{Kind, Resource, Settings, header};
use crate::labels::{Host, Scheme};
use crate::routing::Routes;

/// What Envoy tells tasks of clients from outside, in a header of its own: `X-Real-IP` tells it too.
const ENVOYS_OWN: &str = "x-envoy-external-address";

/// The name of the routes for plain HTTP, and of their listener.
pub(super) const HTTP: &str = "http";

/// The routes of all listeners.
pub(super) fn resources(
    routes: &Routes,
    chains: &[Chain<'_>],
    settings: &Settings,
) -> Vec<Resource> {
    let hosts = routes.sites.iter();
    let mut claimed: Vec<_> = hosts
        .map(|(host, site)| virtual_host(host, site, routes, settings, Scheme::Http))
        .collect();
    if !routes.sites.contains_key(&Host::AnyOther) {
        claimed.push(nobody());
    }
    let over_tls = chains.iter().filter(|chain| matches!(chain.end, End::Here(_)));
    let over_tls = over_tls.map(|chain| {
        configuration(&chain.name, of_chain(chain, routes, settings), settings, Scheme::Https)
    });
    [configuration(HTTP, claimed, settings, Scheme::Http)].into_iter().chain(over_tls).collect()
}

/// A certificate's routes: those of its own hosts. A client that asks for another host on such a
/// connection is told to open one of its own, where the right certificate is.
fn of_chain(chain: &Chain<'_>, routes: &Routes, settings: &Settings) -> Vec<route::VirtualHost> {
    let is_own = |host: &Host| match (&chain.names, host) {
        (Names::Of(hosts), Host::Named(host)) => hosts.contains(&host),
        (Names::AllOthers, Host::AnyOther) => true,
        _ => false,
    };
    let (own, others): (Vec<_>, Vec<_>) = routes.sites.iter().partition(|(host, _)| is_own(host));
    // Only hosts that a pattern of this chain would take need to be kept away by name.
    let reaches = |host: &Host| match (&chain.names, host) {
        (Names::Of(patterns), Host::Named(host)) => patterns.iter().any(|it| it.covers(host)),
        (Names::AllOthers, Host::Named(_)) => true,
        (_, Host::AnyOther) => false,
    };
    let mut elsewhere: Vec<String> =
        others.iter().filter(|(host, _)| reaches(host)).map(|(host, _)| host.to_string()).collect();
    if chain.names != Names::AllOthers {
        elsewhere.push(ANY_HOST.to_owned());
    }
    let own = own
        .into_iter()
        .map(|(host, site)| virtual_host(host, site, routes, settings, Scheme::Https));
    own.chain((!elsewhere.is_empty()).then(|| misdirected(elsewhere))).collect()
}

fn configuration(
    name: &str,
    virtual_hosts: Vec<route::VirtualHost>,
    settings: &Settings,
    scheme: Scheme,
) -> Resource {
    let message = route::RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        ignore_port_in_host_matching: true,
        internal_only_headers: vec![PIN_HEADER.to_owned()],
        request_headers_to_add: header::to_task(settings, scheme),
        request_headers_to_remove: [PIN_HEADER, ROUTE_HEADER, ENVOYS_OWN].map(String::from).into(),
        response_headers_to_add: header::to_client(settings),
        response_headers_to_remove: vec![PIN_HEADER.to_owned()],
        ..Default::default()
    };
    Resource::new(Kind::Routes, name, &message)
}

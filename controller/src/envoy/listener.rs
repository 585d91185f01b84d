//! The listeners: plain HTTP, and HTTPS where there are certificates or hosts that are passed through.

use std::net::{Ipv4Addr, SocketAddr};

use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::connection_limit::v3::ConnectionLimit;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use envoy_types::pb::envoy::r#type::v3::{HashPolicy, hash_policy};
use envoy_types::pb::google::protobuf::{Any, UInt64Value};
use envoy_types::util::pack_any;

use super::chain::{Chain, End, Names};
use super::cluster::BUFFER;
use super::route::HTTP;
use super::{Kind, Resource, Settings, duration, endpoint, manager, number, tls};
use crate::labels::HostPattern;
use crate::routing::PoolName;

/// The name of the listener for TLS.
const HTTPS: &str = "https";

/// The listener for plain HTTP.
pub(super) fn http(settings: &Settings) -> Resource {
    let chain = listener::FilterChain {
        filters: after_limit(HTTP, http_filter(HTTP, settings), settings),
        ..Default::default()
    };
    let message =
        listener::Listener { filter_chains: vec![chain], ..on_port(HTTP, settings.http_port) };
    Resource::new(Kind::Listener, HTTP, &message)
}

/// The listener for TLS. None without a chain: Envoy takes no such listener.
///
/// A connection whose name (SNI) leads to no chain is closed.
pub(super) fn https(chains: &[Chain<'_>], settings: &Settings) -> Option<Resource> {
    if chains.is_empty() {
        return None;
    }
    let (fallback, named): (Vec<_>, Vec<_>) =
        chains.iter().partition(|chain| chain.names == Names::AllOthers);
    let message = listener::Listener {
        listener_filters: vec![listener::ListenerFilter {
            name: "envoy.filters.listener.tls_inspector".to_owned(),
            config_type: Some(listener::listener_filter::ConfigType::TypedConfig(pack_any(
                TlsInspector::default(),
            ))),
            ..Default::default()
        }],
        filter_chains: named.into_iter().map(|chain| filter_chain(chain, settings)).collect(),
        default_filter_chain: fallback.first().map(|chain| filter_chain(chain, settings)),
        ..on_port(HTTPS, settings.https_port)
    };
    Some(Resource::new(Kind::Listener, HTTPS, &message))
}

fn on_port(name: &str, port: u16) -> listener::Listener {
    listener::Listener {
        name: name.to_owned(),
        address: Some(endpoint::address(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))),
        per_connection_buffer_limit_bytes: Some(number(BUFFER)),
        ..Default::default()
    }
}

fn filter_chain(chain: &Chain<'_>, settings: &Settings) -> listener::FilterChain {
    let (filter, transport_socket) = match chain.end {
        End::Here(certificate) => (
            http_filter(&chain.name, settings),
            Some(tls::downstream(certificate, &settings.limits)),
        ),
        End::InTask(pool) => (tcp_filter(pool, settings), None),
    };
    let names = |names: &Vec<&HostPattern>| names.iter().map(ToString::to_string).collect();
    listener::FilterChain {
        name: chain.name.clone(),
        filter_chain_match: match &chain.names {
            Names::Of(hosts) => Some(listener::FilterChainMatch {
                server_names: names(hosts),
                ..Default::default()
            }),
            Names::AllOthers => None,
        },
        filters: after_limit(HTTPS, filter, settings),
        transport_socket,
        ..Default::default()
    }
}

/// A filter, behind one that closes connections over the limit, if there is a limit.
fn after_limit(
    listener: &str,
    last: listener::Filter,
    settings: &Settings,
) -> Vec<listener::Filter> {
    let limit = settings.limits.max_connections.map(|most| {
        let limit = ConnectionLimit {
            stat_prefix: listener.to_owned(),
            max_connections: Some(UInt64Value { value: most.get().into() }),
            ..Default::default()
        };
        filter("envoy.filters.network.connection_limit", pack_any(limit))
    });
    limit.into_iter().chain([last]).collect()
}

fn http_filter(routes: &str, settings: &Settings) -> listener::Filter {
    let manager = manager::of(routes, settings);
    filter("envoy.filters.network.http_connection_manager", pack_any(manager))
}

/// Bytes go to the pool as they are.
fn tcp_filter(pool: &PoolName, settings: &Settings) -> listener::Filter {
    let by_client = HashPolicy {
        policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp {})),
    };
    let proxy = tcp::TcpProxy {
        stat_prefix: "passthrough".to_owned(),
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster(pool.to_string())),
        // Used by pools that choose by the client's address, ignored by others.
        hash_policy: vec![by_client],
        idle_timeout: Some(duration(settings.limits.idle_timeout.get())),
        max_connect_attempts: Some(number(3)),
        access_log: manager::access_log(settings),
        ..Default::default()
    };
    filter("envoy.filters.network.tcp_proxy", pack_any(proxy))
}

fn filter(name: &str, config: Any) -> listener::Filter {
    listener::Filter {
        name: name.to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(config)),
    }
}

//! Which other resources one resource names.
//!
//! ```text
//! listener ─▶ routes ─▶ cluster ─▶ endpoints
//!     └─────▶ extension
//! ```

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::listener::v3::{Filter, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{RouteAction, RouteConfiguration};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy, tcp_proxy::ClusterSpecifier as TcpClusters,
};
use prost::{DecodeError, Message, Name};

use crate::envoy::{Kind, Resource};

/// The resources that one resource names.
pub(super) type References = BTreeSet<(Kind, String)>;

/// Reads what a resource names.
pub(super) fn of(resource: &Resource) -> Result<References, DecodeError> {
    let mut found = References::new();
    let body = resource.body.value.as_slice();
    match resource.kind {
        Kind::Cluster => of_cluster(&Cluster::decode(body)?, &mut found),
        Kind::Listener => of_listener(&Listener::decode(body)?, &mut found)?,
        Kind::Routes => of_routes(&RouteConfiguration::decode(body)?, &mut found),
        Kind::Endpoints | Kind::Secret | Kind::Extension => {}
    }
    Ok(found)
}

fn of_cluster(cluster: &Cluster, found: &mut References) {
    if cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()))
    {
        let named = cluster.eds_cluster_config.as_ref().map(|eds| &eds.service_name);
        let named = named.filter(|name| !name.is_empty()).unwrap_or(&cluster.name);
        found.insert((Kind::Endpoints, named.clone()));
    }
}

fn of_listener(listener: &Listener, found: &mut References) -> Result<(), DecodeError> {
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    chains.flat_map(|chain| &chain.filters).try_for_each(|filter| of_filter(filter, found))
}

fn of_filter(filter: &Filter, found: &mut References) -> Result<(), DecodeError> {
    match &filter.config_type {
        Some(filter::ConfigType::ConfigDiscovery(_)) => {
            found.insert((Kind::Extension, filter.name.clone()));
        }
        Some(filter::ConfigType::TypedConfig(config)) => {
            if config.type_url == HttpConnectionManager::type_url() {
                of_http(&HttpConnectionManager::decode(config.value.as_slice())?, found);
            } else if config.type_url == TcpProxy::type_url() {
                of_tcp(TcpProxy::decode(config.value.as_slice())?, found);
            }
        }
        None => {}
    }
    Ok(())
}

fn of_http(manager: &HttpConnectionManager, found: &mut References) {
    match &manager.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => {
            found.insert((Kind::Routes, rds.route_config_name.clone()));
        }
        Some(RouteSpecifier::RouteConfig(routes)) => of_routes(routes, found),
        Some(RouteSpecifier::ScopedRoutes(_)) | None => {}
    }
    for filter in &manager.http_filters {
        if let Some(http_filter::ConfigType::ConfigDiscovery(_)) = filter.config_type {
            found.insert((Kind::Extension, filter.name.clone()));
        }
    }
}

fn of_tcp(proxy: TcpProxy, found: &mut References) {
    let clusters = match proxy.cluster_specifier {
        Some(TcpClusters::Cluster(name)) => vec![name],
        Some(TcpClusters::WeightedClusters(weighted)) => {
            weighted.clusters.into_iter().map(|cluster| cluster.name).collect()
        }
        None => vec![],
    };
    found.extend(clusters.into_iter().map(|name| (Kind::Cluster, name)));
}

fn of_routes(config: &RouteConfiguration, found: &mut References) {
    let routes = config.virtual_hosts.iter().flat_map(|host| &host.routes);
    for route in routes {
        if let Some(Action::Route(action)) = &route.action {
            found.extend(clusters(action).map(|name| (Kind::Cluster, name.clone())));
        }
    }
}

fn clusters(action: &RouteAction) -> impl Iterator<Item = &String> {
    let (one, weighted) = match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => (Some(name), None),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => (None, Some(&weighted.clusters)),
        _ => (None, None),
    };
    let mirrors = action.request_mirror_policies.iter().map(|mirror| &mirror.cluster);
    let weighted = weighted.into_iter().flatten().map(|cluster| &cluster.name);
    one.into_iter().chain(weighted).chain(mirrors.filter(|name| !name.is_empty()))
}

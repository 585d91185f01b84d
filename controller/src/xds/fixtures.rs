//! Worlds in one line, for tests.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::{ExtensionConfigSource, TypedExtensionConfig};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, VirtualHost,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager::RouteSpecifier, http_filter,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use prost::{Message, Name};

use super::snapshot::Snapshot;
use crate::envoy::{Kind, Resource};

/// The snapshot that a line describes; see [`resources`].
pub(super) fn world(line: &str) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(resources(line)).unwrap())
}

/// The resources that a line describes. Its words:
///
/// - `a/1/2`: cluster `a` in version 1, its endpoints in version 2;
/// - `r/1=a,b`: routes `r` in version 1, to clusters `a` and `b`;
/// - `http/1>r,x!`: listener `http` in version 1, with routes `r` and extension `x`;
/// - `x/1!`: extension `x` in version 1.
pub(super) fn resources(line: &str) -> Vec<Resource> {
    line.split_whitespace().flat_map(word).collect()
}

fn word(word: &str) -> Vec<Resource> {
    let (name, rest) = word.split_once('/').unwrap();
    if let Some((version, names)) = rest.split_once('>') {
        return vec![listener(name, version, names)];
    }
    if let Some((version, clusters)) = rest.split_once('=') {
        return vec![routes(name, version, clusters)];
    }
    if let Some(version) = rest.strip_suffix('!') {
        let message = TypedExtensionConfig { name: name.into(), typed_config: None };
        return vec![resource(Kind::Extension, name, version, &message)];
    }
    let (cluster_version, endpoints_version) = rest.split_once('/').unwrap();
    vec![cluster(name, cluster_version), endpoints(name, endpoints_version)]
}

/// A cluster that takes endpoints of its own name.
pub(super) fn cluster(name: &str, version: &str) -> Resource {
    let kind = Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()));
    let message = Cluster { name: name.into(), cluster_discovery_type: kind, ..Cluster::default() };
    resource(Kind::Cluster, name, version, &message)
}

/// Endpoints, none of them.
pub(super) fn endpoints(name: &str, version: &str) -> Resource {
    let message =
        ClusterLoadAssignment { cluster_name: name.into(), ..ClusterLoadAssignment::default() };
    resource(Kind::Endpoints, name, version, &message)
}

fn routes(name: &str, version: &str, clusters: &str) -> Resource {
    let to = |cluster: &str| RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())),
        ..RouteAction::default()
    };
    let clusters = clusters.split(',').filter(|name| !name.is_empty());
    let routes = clusters.map(|c| Route { action: Some(Action::Route(to(c))), ..Route::default() });
    let host = VirtualHost { routes: routes.collect(), ..VirtualHost::default() };
    let message = RouteConfiguration {
        name: name.into(),
        virtual_hosts: vec![host],
        ..RouteConfiguration::default()
    };
    resource(Kind::Routes, name, version, &message)
}

fn listener(name: &str, version: &str, names: &str) -> Resource {
    let mut manager = HttpConnectionManager::default();
    for named in names.split(',') {
        if let Some(extension) = named.strip_suffix('!') {
            let config = http_filter::ConfigType::ConfigDiscovery(ExtensionConfigSource::default());
            manager.http_filters.push(HttpFilter {
                name: extension.into(),
                config_type: Some(config),
                ..HttpFilter::default()
            });
        } else {
            let rds = Rds { route_config_name: named.into(), ..Rds::default() };
            manager.route_specifier = Some(RouteSpecifier::Rds(rds));
        }
    }
    let config = Some(filter::ConfigType::TypedConfig(pack_any(manager)));
    let filters = vec![Filter { name: "http".into(), config_type: config }];
    let message = Listener {
        name: name.into(),
        filter_chains: vec![FilterChain { filters, ..FilterChain::default() }],
        ..Listener::default()
    };
    resource(Kind::Listener, name, version, &message)
}

fn resource<M: Message + Name>(kind: Kind, name: &str, version: &str, message: &M) -> Resource {
    let body = Any { type_url: M::type_url(), value: message.encode_to_vec() };
    Resource { kind, name: name.into(), version: version.into(), body }
}

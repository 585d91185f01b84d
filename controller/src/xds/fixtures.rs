//! Worlds in one line, for tests.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, TransportSocketMatch,
};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ConfigSource, ExtensionConfigSource, TransportSocket,
    TypedExtensionConfig, transport_socket,
};
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
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret, UpstreamTlsContext,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use prost::Message;

use super::snapshot::Snapshot;
use crate::envoy::{Kind, Resource};

/// The snapshot that a line describes; see [`resources`].
pub(super) fn world(line: &str) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(resources(line)).unwrap())
}

/// The resources that a line describes. Its words:
///
/// - `a/1/2`: cluster `a` in version 1, its endpoints in version 2;
/// - `r/1=a,b`: routes `r` in version 1, to clusters `a` and `b`, in either variant's form;
/// - `r/h/1=a,b`: host `r/h` of routes `r` in version 1, to clusters `a` and `b`;
/// - `a/1/2#s`: a cluster as above, some of whose endpoints take secret `s`;
/// - `http/1>r,x!`: listener `http` in version 1, with routes `r` and extension `x`;
/// - `https/1>r,q,a~,s#`: a listener with a filter chain for each of routes `r`, routes `q` and cluster
///   `a`, each with secret `s`;
/// - `x/1!`: extension `x` in version 1;
/// - `s/1#`: secret `s` in version 1.
pub(super) fn resources(line: &str) -> Vec<Resource> {
    line.split_whitespace().flat_map(word).collect()
}

fn word(word: &str) -> Vec<Resource> {
    let (name, rest) = word.split_once('/').unwrap();
    if let Some((version, names)) = rest.split_once('>') {
        return vec![listener(name, version, names)];
    }
    if let Some((version, clusters)) = rest.split_once('=') {
        return match version.split_once('/') {
            None => [Kind::Routes, Kind::WholeRoutes]
                .map(|kind| routes(kind, name, version, clusters))
                .into(),
            Some((host, version)) => {
                let message = host_to(clusters);
                vec![resource(Kind::VirtualHost, &format!("{name}/{host}"), version, &message)]
            }
        };
    }
    if let Some(version) = rest.strip_suffix('!') {
        let message = TypedExtensionConfig { name: name.into(), typed_config: None };
        return vec![resource(Kind::Extension, name, version, &message)];
    }
    if let Some(version) = rest.strip_suffix('#') {
        let message = Secret { name: name.into(), ..Secret::default() };
        return vec![resource(Kind::Secret, name, version, &message)];
    }
    let (cluster_version, rest) = rest.split_once('/').unwrap();
    match rest.split_once('#') {
        None => vec![cluster(name, cluster_version), endpoints(name, rest)],
        Some((version, secret)) => {
            let secure = cluster_with_secret(name, cluster_version, secret);
            vec![secure, endpoints(name, version)]
        }
    }
}

/// A cluster that takes endpoints of its own name.
pub(super) fn cluster(name: &str, version: &str) -> Resource {
    let kind = Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()));
    let message = Cluster { name: name.into(), cluster_discovery_type: kind, ..Cluster::default() };
    resource(Kind::Cluster, name, version, &message)
}

fn cluster_with_secret(name: &str, version: &str, secret: &str) -> Resource {
    let plain = cluster(name, version);
    let authority = ValidationContextType::ValidationContextSdsSecretConfig(over_ads(secret));
    let tls = CommonTlsContext {
        validation_context_type: Some(authority),
        ..CommonTlsContext::default()
    };
    let tls = UpstreamTlsContext { common_tls_context: Some(tls), ..UpstreamTlsContext::default() };
    let socket = Some(socket(pack_any(tls)));
    let matched =
        TransportSocketMatch { transport_socket: socket, ..TransportSocketMatch::default() };
    let message = Cluster {
        transport_socket_matches: vec![matched],
        ..Cluster::decode(plain.body().message()).unwrap()
    };
    resource(Kind::Cluster, name, version, &message)
}

fn socket(config: Any) -> TransportSocket {
    let config_type = Some(transport_socket::ConfigType::TypedConfig(config));
    TransportSocket { name: "tls".into(), config_type }
}

fn over_ads(secret: &str) -> SdsSecretConfig {
    let ads = ConfigSourceSpecifier::Ads(AggregatedConfigSource {});
    let source = ConfigSource { config_source_specifier: Some(ads), ..ConfigSource::default() };
    SdsSecretConfig { name: secret.into(), sds_config: Some(source) }
}

/// Endpoints, none of them.
pub(super) fn endpoints(name: &str, version: &str) -> Resource {
    let message =
        ClusterLoadAssignment { cluster_name: name.into(), ..ClusterLoadAssignment::default() };
    resource(Kind::Endpoints, name, version, &message)
}

fn routes(kind: Kind, name: &str, version: &str, clusters: &str) -> Resource {
    let message = RouteConfiguration {
        name: name.into(),
        virtual_hosts: vec![host_to(clusters)],
        ..RouteConfiguration::default()
    };
    resource(kind, name, version, &message)
}

fn host_to(clusters: &str) -> VirtualHost {
    let to = |cluster: &str| RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())),
        ..RouteAction::default()
    };
    let clusters = clusters.split(',').filter(|name| !name.is_empty());
    let routes = clusters.map(|c| Route { action: Some(Action::Route(to(c))), ..Route::default() });
    VirtualHost { routes: routes.collect(), ..VirtualHost::default() }
}

fn listener(name: &str, version: &str, names: &str) -> Resource {
    let ending = |mark: char| names.split(',').filter_map(move |name| name.strip_suffix(mark));
    let extensions = ending('!').map(|extension| HttpFilter {
        name: extension.into(),
        config_type: Some(http_filter::ConfigType::ConfigDiscovery(
            ExtensionConfigSource::default(),
        )),
        ..HttpFilter::default()
    });
    let http = HttpConnectionManager {
        http_filters: extensions.collect(),
        ..HttpConnectionManager::default()
    };
    let plain = names.split(',').filter(|name| !name.ends_with(['!', '~', '#']));
    let to_routes = plain.map(|routes| {
        let rds = Rds { route_config_name: routes.into(), ..Rds::default() };
        pack_any(HttpConnectionManager {
            route_specifier: Some(RouteSpecifier::Rds(rds)),
            ..http.clone()
        })
    });
    let to_clusters = ending('~').map(|cluster| {
        let specifier = Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.into()));
        pack_any(TcpProxy { cluster_specifier: specifier, ..TcpProxy::default() })
    });
    let tls = CommonTlsContext {
        tls_certificate_sds_secret_configs: ending('#').map(over_ads).collect(),
        ..CommonTlsContext::default()
    };
    let tls =
        DownstreamTlsContext { common_tls_context: Some(tls), ..DownstreamTlsContext::default() };
    let chains = to_routes.chain(to_clusters).map(|config| {
        let config = Some(filter::ConfigType::TypedConfig(config));
        FilterChain {
            filters: vec![Filter { name: "only".into(), config_type: config }],
            transport_socket: Some(socket(pack_any(tls.clone()))),
            ..FilterChain::default()
        }
    });
    let message =
        Listener { name: name.into(), filter_chains: chains.collect(), ..Listener::default() };
    resource(Kind::Listener, name, version, &message)
}

fn resource<M: Message>(kind: Kind, name: &str, version: &str, message: &M) -> Resource {
    Resource::of_version(kind, name, version, &message.encode_to_vec()).unwrap()
}

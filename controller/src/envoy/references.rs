//! Which other resources one resource names.
//!
//! ```text
//! listener ─▶ routes    virtual host ─▶ cluster ─▶ endpoints
//!   │  └─────────────────────────────▶ │
//!   ├───▶ extension                    │
//!   └───▶ secret ◀─────────────────────┘
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket};
use envoy_types::pb::envoy::config::listener::v3::{Filter, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{RouteAction, RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier, http_filter,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy, tcp_proxy::ClusterSpecifier as TcpClusters,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, UpstreamTlsContext,
};
use prost::{DecodeError, Message, Name};

use super::Kind;

/// The resources that one resource names.
pub type References = BTreeSet<(Kind, Arc<str>)>;

/// Reads what a resource of a kind names.
pub(super) fn of(kind: Kind, body: &[u8]) -> Result<References, DecodeError> {
    let mut found = References::new();
    match kind {
        Kind::Cluster => of_cluster(&Cluster::decode(body)?, &mut found)?,
        Kind::Listener => of_listener(&Listener::decode(body)?, &mut found)?,
        Kind::Routes | Kind::WholeRoutes => {
            of_routes(&RouteConfiguration::decode(body)?, &mut found);
        }
        Kind::VirtualHost => of_virtual_host(&VirtualHost::decode(body)?, &mut found),
        Kind::Endpoints | Kind::Secret | Kind::Extension => {}
    }
    Ok(found)
}

/// What a virtual host names.
pub(super) fn of_host(host: &VirtualHost) -> References {
    let mut found = References::new();
    of_virtual_host(host, &mut found);
    found
}

fn of_cluster(cluster: &Cluster, found: &mut References) -> Result<(), DecodeError> {
    if cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()))
    {
        let named = cluster.eds_cluster_config.as_ref().map(|eds| &eds.service_name);
        let named = named.filter(|name| !name.is_empty()).unwrap_or(&cluster.name);
        found.insert((Kind::Endpoints, named.as_str().into()));
    }
    let sockets = cluster.transport_socket_matches.iter().map(|it| &it.transport_socket);
    let mut sockets = sockets.chain([&cluster.transport_socket]).flatten();
    sockets.try_for_each(|socket| of_socket(socket, found))
}

fn of_socket(socket: &TransportSocket, found: &mut References) -> Result<(), DecodeError> {
    let Some(transport_socket::ConfigType::TypedConfig(config)) = &socket.config_type else {
        return Ok(());
    };
    let body = config.value.as_slice();
    let tls = if config.type_url == DownstreamTlsContext::type_url() {
        DownstreamTlsContext::decode(body)?.common_tls_context
    } else if config.type_url == UpstreamTlsContext::type_url() {
        UpstreamTlsContext::decode(body)?.common_tls_context
    } else {
        None
    };
    let secrets = tls.iter().flat_map(secrets).filter(|secret| is_asked_of_us(secret));
    found.extend(secrets.map(|secret| (Kind::Secret, secret.name.as_str().into())));
    Ok(())
}

fn secrets(tls: &CommonTlsContext) -> impl Iterator<Item = &SdsSecretConfig> {
    let authority = match &tls.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) => Some(secret),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            combined.validation_context_sds_secret_config.as_ref()
        }
        _ => None,
    };
    tls.tls_certificate_sds_secret_configs.iter().chain(authority)
}

fn is_asked_of_us(secret: &SdsSecretConfig) -> bool {
    let source = secret.sds_config.as_ref().and_then(|it| it.config_source_specifier.as_ref());
    matches!(source, Some(ConfigSourceSpecifier::Ads(_)))
}

fn of_listener(listener: &Listener, found: &mut References) -> Result<(), DecodeError> {
    let mut chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    chains.try_for_each(|chain| {
        chain.transport_socket.iter().try_for_each(|socket| of_socket(socket, found))?;
        chain.filters.iter().try_for_each(|filter| of_filter(filter, found))
    })
}

fn of_filter(filter: &Filter, found: &mut References) -> Result<(), DecodeError> {
    match &filter.config_type {
        Some(filter::ConfigType::ConfigDiscovery(_)) => {
            found.insert((Kind::Extension, filter.name.as_str().into()));
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
            found.insert((Kind::Routes, rds.route_config_name.as_str().into()));
        }
        Some(RouteSpecifier::RouteConfig(routes)) => of_routes(routes, found),
        Some(RouteSpecifier::ScopedRoutes(_)) | None => {}
    }
    for filter in &manager.http_filters {
        if let Some(http_filter::ConfigType::ConfigDiscovery(_)) = filter.config_type {
            found.insert((Kind::Extension, filter.name.as_str().into()));
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
    found.extend(clusters.into_iter().map(|name| (Kind::Cluster, name.into())));
}

fn of_routes(config: &RouteConfiguration, found: &mut References) {
    config.virtual_hosts.iter().for_each(|host| of_virtual_host(host, found));
}

fn of_virtual_host(host: &VirtualHost, found: &mut References) {
    for route in &host.routes {
        if let Some(Action::Route(action)) = &route.action {
            found.extend(clusters(action).map(|name| (Kind::Cluster, name.as_str().into())));
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

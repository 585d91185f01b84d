//! A pool → its endpoints.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
use waggle_filter::config::SERVICE_KEY;

use super::{Kind, Resource, metadata};
use crate::labels::Affinity;
use crate::routing::{Endpoint, Pool, PoolName};

/// An empty pool is an empty resource: without one, the cluster warms for 15 s.
///
/// An endpoint that is [leaving](crate::routing::Presence::Leaving) is like any other: it is the last
/// of its pool, and Envoy would not choose it if it were marked.
pub(super) fn resource(name: &PoolName, pool: &Pool) -> Resource {
    let message = endpoint::ClusterLoadAssignment {
        cluster_name: name.as_str().to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            lb_endpoints: pool.endpoints.iter().map(|it| lb_endpoint(it, pool)).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    Resource::new(Kind::Endpoints, name.as_str(), &message)
}

/// Whose it is matters to the filter, where that keeps sessions on their task. It is most of an
/// endpoint's bytes, here and in Envoy.
fn lb_endpoint(endpoint: &Endpoint, pool: &Pool) -> endpoint::LbEndpoint {
    let service = || metadata(SERVICE_KEY, endpoint.service.as_str());
    endpoint::LbEndpoint {
        metadata: matches!(pool.options.affinity, Affinity::Cookie(_)).then(service),
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
            endpoint::Endpoint { address: Some(address(endpoint.address)), ..Default::default() },
        )),
        ..Default::default()
    }
}

pub(super) fn address(address: SocketAddr) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(
                address.port().into(),
            )),
            ..Default::default()
        })),
    }
}

//! The two variants of the protocol on the wire.

use envoy_types::pb::envoy::config::core::v3::{ControlPlane, Node};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc;

use super::message::{Names, Request, Response};
use super::observer::printable;
use super::pieces::{Pieces, TooLong};
use crate::envoy::Body;

/// A request of either variant, as it came.
pub(super) trait Incoming: Send + 'static {
    /// Who sends it, and what it says. Only the first request of a stream needs to tell who.
    fn read(self) -> (Option<Node>, Request);
}

impl Incoming for DiscoveryRequest {
    fn read(self) -> (Option<Node>, Request) {
        let request = Request {
            type_url: self.type_url,
            nonce: self.response_nonce,
            error: self.error_detail.as_ref().map(reason),
            names: Names::Whole(self.resource_names),
        };
        (self.node, request)
    }
}

impl Incoming for DeltaDiscoveryRequest {
    fn read(self) -> (Option<Node>, Request) {
        let request = Request {
            type_url: self.type_url,
            nonce: self.response_nonce,
            error: self.error_detail.as_ref().map(reason),
            names: Names::Delta {
                subscribe: self.resource_names_subscribe,
                unsubscribe: self.resource_names_unsubscribe,
                initial: self.initial_resource_versions,
            },
        };
        (self.node, request)
    }
}

fn reason(error: &rpc::Status) -> String {
    printable(&error.message)
}

/// A response as state of the world.
pub(super) fn whole(response: Response, identifier: &str) -> Result<Pieces, TooLong> {
    let first =
        DiscoveryResponse { version_info: response.version, ..DiscoveryResponse::default() };
    let last = DiscoveryResponse {
        type_url: response.kind.type_url(),
        nonce: response.nonce,
        control_plane: Some(ControlPlane { identifier: identifier.to_owned() }),
        ..DiscoveryResponse::default()
    };
    Pieces::new(&first, response.resources, Body::any, &last)
}

/// A response as delta.
pub(super) fn delta(response: Response, identifier: &str) -> Result<Pieces, TooLong> {
    let first = DeltaDiscoveryResponse {
        system_version_info: response.version,
        ..DeltaDiscoveryResponse::default()
    };
    let last = DeltaDiscoveryResponse {
        type_url: response.kind.type_url(),
        nonce: response.nonce,
        removed_resources: response.removed,
        control_plane: Some(ControlPlane { identifier: identifier.to_owned() }),
        ..DeltaDiscoveryResponse::default()
    };
    Pieces::new(&first, response.resources, Body::resource, &last)
}

#[cfg(test)]
mod tests;

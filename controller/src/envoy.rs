//! The routes of a node cluster → Envoy resources: a pure function, of the last resources too, so that
//! it works on what has changed alone ([`Built`]).
//!
//! A listener for HTTP with one route configuration; a listener for HTTPS, where there are
//! certificates, with a filter chain and a route configuration for each of them; the hosts of these one
//! by one; one cluster a pool, with its endpoints apart; certificates by the names of their files; and
//! the filter. A task that comes or goes changes one resource: its pool's endpoints. So does a host:
//! itself.
//!
//! A map that we fill has one entry, or is made in the order of its keys: the types keep maps in
//! `HashMap`s, whose order is random, and a version is a hash of the encoded bytes.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::{BoolValue, Duration, Struct, UInt32Value, Value, value};
use waggle_filter::config::{METADATA_NAMESPACE, PluginConfig};

use crate::routing::Routes;

mod assembly;
mod body;
mod built;
mod chain;
mod cluster;
mod digest;
mod endpoint;
mod extension;
mod header;
pub mod limits;
mod listener;
mod manager;
mod references;
mod resource;
mod route;
#[cfg(test)]
pub(crate) mod testing;
mod tls;
mod virtual_host;

pub use body::Body;
pub use built::Built;
pub(crate) use digest::Digest;
pub use limits::Limits;
pub use references::References;
pub use resource::{Kind, Resource, Resources, collection, members};
pub use tls::secrets_of;

/// What the resources depend on beside the routing.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where Envoy takes HTTP.
    pub http_port: u16,
    /// Where Envoy takes HTTPS.
    pub https_port: u16,
    /// The port by which clients reach HTTP.
    pub public_http_port: u16,
    /// The port by which clients reach HTTPS.
    pub public_https_port: u16,
    /// How many proxies in front of Envoy tell the truth in `X-Forwarded-For`.
    pub trusted_hops: u32,
    /// Where Envoy gets the filter's code from.
    pub filter_code: FilterCode,
    /// The filter's own configuration, keys included.
    pub filter: PluginConfig,
    /// The value of `x-server-info`.
    pub server_info: String,
    /// What it allows clients and tasks.
    pub limits: Limits,
}

/// Where Envoy gets the filter's code from.
#[derive(Clone)]
pub enum FilterCode {
    /// From us, inside the extension configuration.
    Inline(Vec<u8>),
    /// From a file of its own.
    InEnvoy(std::path::PathBuf),
}

impl std::fmt::Debug for FilterCode {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(code) => write!(out, "Inline({} bytes)", code.len()),
            Self::InEnvoy(path) => write!(out, "InEnvoy({})", path.display()),
        }
    }
}

/// Everything that the Envoys of a node cluster are told, in the order of [`Kind`].
pub fn resources(routes: &Routes, settings: &Settings) -> Vec<Resource> {
    Built::without_routes(settings).next(routes, settings).resources().iter().cloned().collect()
}

/// "Ask on the stream that you have."
fn over_ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

/// One string, where the filter looks for it.
fn metadata(key: &str, value: &str) -> core::Metadata {
    let value = Value { kind: Some(value::Kind::StringValue(value.to_owned())) };
    let fields = Struct { fields: HashMap::from([(key.to_owned(), value)]) };
    core::Metadata {
        filter_metadata: HashMap::from([(METADATA_NAMESPACE.to_owned(), fields)]),
        ..Default::default()
    }
}

const ON: BoolValue = BoolValue { value: true };

const OFF: BoolValue = BoolValue { value: false };

const fn number(value: u32) -> UInt32Value {
    UInt32Value { value }
}

const fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

/// A time as Envoy has it: at most its ten thousand years.
fn duration(time: std::time::Duration) -> Duration {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Duration { seconds, nanos: time.subsec_nanos().cast_signed() }
}

const fn millis(millis: i32) -> Duration {
    Duration { seconds: 0, nanos: millis * 1_000_000 }
}

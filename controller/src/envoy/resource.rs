//! One Envoy resource, encoded once and versioned by its content.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use sha2::{Digest, Sha256};

/// The types of resources that we serve, in the order in which a change is sent. The order matters:
/// make before break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// SDS.
    Secret,
    /// ECDS.
    Extension,
    /// LDS.
    Listener,
    /// RDS.
    Routes,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Secret,
        Self::Extension,
        Self::Listener,
        Self::Routes,
    ];

    /// The type URL by which xDS asks for it.
    pub fn type_url(self) -> String {
        match self {
            Self::Cluster => Cluster::type_url(),
            Self::Endpoints => ClusterLoadAssignment::type_url(),
            Self::Secret => Secret::type_url(),
            Self::Extension => TypedExtensionConfig::type_url(),
            Self::Listener => Listener::type_url(),
            Self::Routes => RouteConfiguration::type_url(),
        }
    }

    /// Its name in logs, in `/status` and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Endpoints => "endpoints",
            Self::Secret => "secret",
            Self::Extension => "extension",
            Self::Listener => "listener",
            Self::Routes => "routes",
        }
    }

    /// The kind with this type URL, if we serve it.
    pub fn of_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

/// One named resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its type.
    pub kind: Kind,
    /// Its name, unique within its type.
    pub name: String,
    /// A hash of its content: the same on every replica and after a restart.
    pub version: String,
    /// The encoded message.
    pub body: Any,
}

impl Resource {
    /// Encodes a message. Its version is half of the SHA-256 of its bytes, in hex: strong, because
    /// an equal version of other content would keep an Envoy on the old one.
    pub(super) fn new<M: Message + Name>(kind: Kind, name: &str, message: &M) -> Self {
        let value = message.encode_to_vec();
        let (half, _) = Sha256::digest(&value).split::<sha2::digest::consts::U16>();
        let version = format!("{:032x}", u128::from_be_bytes(half.into()));
        Self { kind, name: name.to_owned(), version, body: Any { type_url: M::type_url(), value } }
    }
}

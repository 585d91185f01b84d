//! One Envoy resource, encoded once and versioned by its content.

use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use sha2::{Digest, Sha256};

/// The types of resources that we serve, in the order in which a change is sent. The order matters:
/// make before break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

//! One Envoy resource, encoded once and versioned by its content.

use envoy_types::pb::google::protobuf::Any;

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

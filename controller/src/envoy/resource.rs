//! One Envoy resource, encoded once and versioned by its content; and all of them.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use prost::{DecodeError, Message, Name};
use sha2::{Digest, Sha256};

use super::body::Body;
use super::references::{self, References};
use crate::persistent::Map;

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
    pub name: Arc<str>,
    /// A hash of its content: the same on every replica and after a restart.
    pub version: Arc<str>,
    /// What it names.
    pub names: Arc<References>,
    body: Body,
}

impl Resource {
    /// Encodes a message. Its version is half of the SHA-256 of its bytes, in hex: strong, because
    /// an equal version of other content would keep an Envoy on the old one.
    pub(super) fn new<M: Message>(kind: Kind, name: &str, message: &M) -> Self {
        let message = message.encode_to_vec();
        let names = references::of(kind, &message).expect("what was just encoded can be decoded");
        Self::encoded(kind, name, &message, names)
    }

    /// The same of a message that is encoded, with what it names.
    pub(super) fn encoded(kind: Kind, name: &str, message: &[u8], names: References) -> Self {
        let version = format!("{:032x}", half_of_sha256(&[message]));
        Self::assembled(kind, name, &version, message, names)
    }

    /// A resource of this version, whatever its content; fails if that is no message of its kind.
    pub fn of_version(
        kind: Kind,
        name: &str,
        version: &str,
        message: &[u8],
    ) -> Result<Self, DecodeError> {
        let names = references::of(kind, message)?;
        Ok(Self::assembled(kind, name, version, message, names))
    }

    fn assembled(kind: Kind, name: &str, version: &str, message: &[u8], names: References) -> Self {
        let body = Body::new(&kind.type_url(), name, version, message);
        Self { kind, name: name.into(), version: version.into(), names: Arc::new(names), body }
    }

    /// It on the wire.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

/// Half of the SHA-256 of texts, one behind the other.
pub(crate) fn half_of_sha256(texts: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    texts.iter().for_each(|text| hash.update(text));
    let (half, _) = hash.finalize().split::<sha2::digest::consts::U16>();
    u128::from_be_bytes(half.into())
}

/// Resources by kind and name. Copies share what they have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources([Map<Arc<str>, Resource>; Kind::ALL.len()]);

impl Resources {
    /// The resources of a kind, by name.
    pub fn of(&self, kind: Kind) -> &Map<Arc<str>, Resource> {
        &self.0[kind as usize]
    }

    /// All resources, by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.0.iter().flat_map(Map::values)
    }

    /// Puts a resource in place of the one of its kind and name, if it is another version. Returns
    /// whether it is.
    pub fn put(&mut self, resource: Resource) -> bool {
        let own = &mut self.0[resource.kind as usize];
        let has = own.get(&*resource.name).is_some_and(|own| own.version == resource.version);
        if !has {
            own.insert(Arc::clone(&resource.name), resource);
        }
        !has
    }

    /// Takes a resource away.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.0[kind as usize].remove(name);
    }

    /// Has these of a kind and no others, but for the ones whose names are to be left alone.
    pub(super) fn replace(&mut self, kind: Kind, all: Vec<Resource>, alone: &[&str]) {
        let names: std::collections::BTreeSet<_> = all.iter().map(|it| it.name.clone()).collect();
        self.0[kind as usize].retain(|name, _| names.contains(name) || alone.contains(&&**name));
        for resource in all {
            self.put(resource);
        }
    }
}

/// Of two of one kind and name, the last stays.
impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut all = Self::default();
        for resource in resources {
            all.put(resource);
        }
        all
    }
}

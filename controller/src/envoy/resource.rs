//! One Envoy resource, encoded once and versioned by its content; and all of them.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use prost::{DecodeError, Message, Name};

use super::body::{Body, Later};
use super::digest::Digest;
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
    /// RDS: route configurations whose hosts come one by one.
    Routes,
    /// VHDS: the hosts of route configurations. A host is named `<route configuration>/<host>`.
    VirtualHost,
    /// RDS in state of the world, which knows no VHDS: route configurations with their hosts.
    WholeRoutes,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Secret,
        Self::Extension,
        Self::Listener,
        Self::Routes,
        Self::VirtualHost,
        Self::WholeRoutes,
    ];

    /// The type URL by which xDS asks for it.
    pub fn type_url(self) -> String {
        match self {
            Self::Cluster => Cluster::type_url(),
            Self::Endpoints => ClusterLoadAssignment::type_url(),
            Self::Secret => Secret::type_url(),
            Self::Extension => TypedExtensionConfig::type_url(),
            Self::Listener => Listener::type_url(),
            Self::Routes | Self::WholeRoutes => RouteConfiguration::type_url(),
            Self::VirtualHost => VirtualHost::type_url(),
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
            Self::VirtualHost => "virtual_host",
            Self::WholeRoutes => "whole_routes",
        }
    }

    /// The kind that a delta client means by this type URL, if we serve it.
    pub fn of_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }

    /// What a client of the state of the world means by the same type URL.
    pub fn in_state_of_the_world(self) -> Option<Self> {
        match self {
            Self::Routes => Some(Self::WholeRoutes),
            Self::VirtualHost => None,
            other => Some(other),
        }
    }
}

/// The collection that a resource of a kind belongs to, by its name: a host's routes. Envoy calls it its
/// namespace, and looks for it from the right, as routes may have slashes in their names.
pub fn collection(kind: Kind, name: &str) -> Option<&str> {
    let named = (kind == Kind::VirtualHost).then(|| name.rsplit_once('/'))?;
    named.map(|(collection, _)| collection)
}

/// The resources of a collection, of those of a kind.
pub fn members<'a>(
    all: &'a Map<Arc<str>, Resource>,
    collection: &str,
) -> impl Iterator<Item = &'a Resource> {
    let first = format!("{collection}/");
    let from = all.starting_at(&*first).map(|(_, resource)| resource);
    let length = first.len();
    let under = from.take_while(move |resource| resource.name.starts_with(&first));
    under.filter(move |it| {
        self::collection(it.kind, &it.name).is_some_and(|of| of.len() + 1 == length)
    })
}

/// One named resource.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its type.
    pub kind: Kind,
    /// Its name, unique within its type.
    pub name: Arc<str>,
    /// A hash of its content: the same on every replica and after a restart.
    pub version: Arc<str>,
    /// What it names.
    pub names: Arc<References>,
    content: Content,
}

/// What a resource holds.
#[derive(Debug, Clone)]
enum Content {
    Now(Body),
    Later(Arc<Later>),
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
        let version = Digest::of(&[message]).to_string();
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
        let content = Content::Now(Body::new(&kind.type_url(), name, version, message));
        Self { kind, name: name.into(), version: version.into(), names: Arc::new(names), content }
    }

    /// A resource whose message is made when it is first asked for. It names nothing.
    pub(super) fn later(
        kind: Kind,
        name: &str,
        version: &str,
        message: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let content = Content::Later(Arc::new(Later::new(message)));
        Self { kind, name: name.into(), version: version.into(), names: Arc::default(), content }
    }

    /// It on the wire.
    pub fn body(&self) -> &Body {
        match &self.content {
            Content::Now(body) => body,
            Content::Later(later) => later.body(&self.kind.type_url(), &self.name, &self.version),
        }
    }

    /// A hash of its name and version.
    pub(crate) fn digest(&self) -> Digest {
        let name = self.name.as_bytes();
        Digest::of(&[&name.len().to_be_bytes(), name, self.version.as_bytes()])
    }
}

/// Two resources are equal if their names and versions are.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.name, &self.version) == (other.kind, &other.name, &other.version)
    }
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

    /// Takes a resource away. Returns it.
    pub fn remove(&mut self, kind: Kind, name: &str) -> Option<Arc<Resource>> {
        self.0[kind as usize].remove(name)
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

//! Identities that Swarm gives out, kept apart by type.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the identity as Swarm wrote it.
            pub fn new(written: impl Into<Arc<str>>) -> Self {
                Self(written.into())
            }

            /// The identity as Swarm wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

identity!(
    /// A service's ID.
    ServiceId
);
identity!(
    /// A service's name: unique at any one time, free again after removal.
    ServiceName
);
identity!(
    /// A task's ID.
    TaskId
);
identity!(
    /// A network's ID.
    NetworkId
);
identity!(
    /// A node's ID.
    NodeId
);
identity!(
    /// A secret's ID.
    SecretId
);

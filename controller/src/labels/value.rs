//! Label values that cannot be wrong once parsed.

use serde::{Deserialize, Serialize};

/// A host name in A-label form, lower case, or such a name behind `*.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostPattern(String);

impl HostPattern {
    /// As Envoy's `domains` take it: `a.example` or `*.example`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A TCP port, 1 to 65535.
pub type Port = std::num::NonZeroU16;

/// A cookie name: an RFC 6265 token of at most 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CookieName(String);

impl CookieName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

//! What services compete for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BadHost, HostPattern};

/// What a service wants to answer for: the key of ownership. It is written as the host, or as `*`
/// for all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Claim {
    /// Requests for a host, or for all hosts under a suffix (`hosts`).
    Host(HostPattern),
    /// Requests for every host that nobody claims (`default_backend`).
    AnyOther,
}

impl Claim {
    /// The host, unless it is all others.
    pub fn host(&self) -> Option<&HostPattern> {
        match self {
            Self::Host(host) => Some(host),
            Self::AnyOther => None,
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.host().map_or("*", HostPattern::as_str))
    }
}

impl From<Claim> for String {
    fn from(claim: Claim) -> Self {
        claim.to_string()
    }
}

impl TryFrom<String> for Claim {
    type Error = BadHost;

    fn try_from(written: String) -> Result<Self, BadHost> {
        match written.as_str() {
            "*" => Ok(Self::AnyOther),
            host => HostPattern::parse(host).map(Self::Host),
        }
    }
}

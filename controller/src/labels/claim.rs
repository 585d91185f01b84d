//! What services compete for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BadHost, BadNodeCluster, BadPath, HostPattern, NodeCluster, PathPrefix};

/// What stands between two parts of a claim as it is written. No node cluster's name has one.
const SEPARATOR: char = '|';

/// A host that requests can be for. It is written as the host, or as `*` for all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Host {
    /// A host, or all hosts under a suffix (`hosts`).
    Named(HostPattern),
    /// Every host that nobody claims (`default_backend`).
    AnyOther,
}

/// A host, as the proxies of one node cluster answer for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Site {
    /// Whose proxies answer.
    pub cluster: NodeCluster,
    /// The host.
    pub host: Host,
}

/// What a service wants to answer for: the key of ownership. It is written as `host/path`, behind
/// `cluster|` unless the cluster is the default one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Claim {
    /// The host.
    pub site: Site,
    /// The paths of that host.
    pub path: PathPrefix,
}

/// Why a text is no [`Claim`].
#[derive(Debug, thiserror::Error)]
pub enum BadClaim {
    /// The host is none.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// The path is none.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// The node cluster is none.
    #[error(transparent)]
    Cluster(#[from] BadNodeCluster),
}

impl Host {
    /// The host, unless it is all others.
    pub fn named(&self) -> Option<&HostPattern> {
        match self {
            Self::Named(host) => Some(host),
            Self::AnyOther => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.named().map_or("*", HostPattern::as_str))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.cluster.is_default() {
            write!(out, "{}{SEPARATOR}", self.cluster)?;
        }
        self.host.fmt(out)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(out)?;
        if self.path.is_root() { Ok(()) } else { self.path.fmt(out) }
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.to_string()
    }
}

impl TryFrom<String> for Host {
    type Error = BadHost;

    fn try_from(written: String) -> Result<Self, BadHost> {
        match written.as_str() {
            "*" => Ok(Self::AnyOther),
            host => HostPattern::parse(host).map(Self::Named),
        }
    }
}

impl From<Site> for String {
    fn from(site: Site) -> Self {
        site.to_string()
    }
}

impl TryFrom<String> for Site {
    type Error = BadClaim;

    fn try_from(written: String) -> Result<Self, BadClaim> {
        let (cluster, host) = written.split_once(SEPARATOR).unwrap_or(("", &written));
        let cluster = NodeCluster::parse(cluster)?;
        Ok(Self { cluster, host: Host::try_from(host.to_owned())? })
    }
}

impl From<Claim> for String {
    fn from(claim: Claim) -> Self {
        claim.to_string()
    }
}

impl TryFrom<String> for Claim {
    type Error = BadClaim;

    fn try_from(written: String) -> Result<Self, BadClaim> {
        let at = written.find('/').unwrap_or(written.len());
        let (site, path) = written.split_at(at);
        let path = if path.is_empty() { PathPrefix::root() } else { PathPrefix::parse(path)? };
        Ok(Self { site: Site::try_from(site.to_owned())?, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_reads_as_it_is_written() {
        for written in
            ["a.example", "*.a.example/app/x", "*", "*/app", "east|a.example", "east|*/app"]
        {
            let claim = Claim::try_from(written.to_owned()).unwrap();
            assert_eq!(String::from(claim), written);
        }
        for written in ["", "a b", "east|", "ea st|a.example", "a.example//x"] {
            assert!(Claim::try_from(written.to_owned()).is_err(), "{written}");
        }
    }
}

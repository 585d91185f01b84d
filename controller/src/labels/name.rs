//! Names of node clusters and of secrets.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::text::text;

/// The name of a proxy's Envoy node cluster: at most 64 letters, digits, `-`, `_` and `.`. The
/// default cluster's is empty here; Envoys call it `default`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeCluster(Arc<str>);

/// A text is no [`NodeCluster`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cluster's name has at most 64 letters, digits, `-`, `_` and `.`")]
pub struct BadNodeCluster;

impl NodeCluster {
    /// What Envoys of the default cluster call it.
    pub const DEFAULT: &'static str = "default";

    /// Takes a name; nothing and `default` name the default cluster.
    pub fn parse(written: &str) -> Result<Self, BadNodeCluster> {
        if written == Self::DEFAULT {
            return Ok(Self::default());
        }
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        let fits = written.len() <= 64 && written.bytes().all(allowed);
        if fits { Ok(Self(written.into())) } else { Err(BadNodeCluster) }
    }

    /// The name as Envoys call it.
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { Self::DEFAULT } else { &self.0 }
    }

    /// Whether it is the default cluster.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

text!(NodeCluster, BadNodeCluster);

/// The name of a Docker secret: at most 64 letters, digits, `-`, `_` and `.`, the first and the last
/// a letter or digit (Swarm's own rule).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(Arc<str>);

/// A text is no [`SecretName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret's name has at most 64 letters, digits, `-`, `_` and `.`, and begins and ends with a \
     letter or digit"
)]
pub struct BadSecretName;

impl SecretName {
    /// Takes a name as written.
    pub fn parse(written: &str) -> Result<Self, BadSecretName> {
        let bytes = written.as_bytes();
        let ends = [bytes.first(), bytes.last()];
        let allowed = |c: &u8| c.is_ascii_alphanumeric() || b"-_.".contains(c);
        let fits = bytes.len() <= 64
            && bytes.iter().all(allowed)
            && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric));
        if fits { Ok(Self(written.into())) } else { Err(BadSecretName) }
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text!(SecretName, BadSecretName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_cluster_is_a_short_word_and_default_is_the_empty_one() {
        for (written, shown) in
            [("", "default"), ("default", "default"), ("us-east_1.a", "us-east_1.a")]
        {
            assert_eq!(NodeCluster::parse(written).unwrap().as_str(), shown);
        }
        assert!(NodeCluster::parse("default").unwrap().is_default());
        for bad in ["a b", "a|b", "a/b", "é", "a\n", &"a".repeat(65)] {
            assert_eq!(NodeCluster::parse(bad), Err(BadNodeCluster), "{bad}");
        }
    }

    #[test]
    fn a_secrets_name_is_what_swarm_takes() {
        for good in ["a", "demo_app.example.org.cert", "A-1", &"a".repeat(64)] {
            assert_eq!(SecretName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a.", "_", "a b", "a/b", "../a", "é", "a\n", &"a".repeat(65)] {
            assert_eq!(SecretName::parse(bad), Err(BadSecretName), "{bad}");
        }
    }
}

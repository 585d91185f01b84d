//! Hashes that versions are made of.

use std::fmt;

use sha2::Sha256;

/// A hash, or what hashes add up to: so a change of a set costs as much as it changes. A sum shows
/// whether sets differ; it is no proof against one who looks for two with one sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest(u128);

impl Digest {
    /// Half of the SHA-256 of texts, one behind the other: strong.
    pub(crate) fn of(texts: &[&[u8]]) -> Self {
        use sha2::Digest as _;
        let mut hash = Sha256::new();
        texts.iter().for_each(|text| hash.update(text));
        let (half, _) = hash.finalize().split::<sha2::digest::consts::U16>();
        Self(u128::from_be_bytes(half.into()))
    }

    /// The sum with one that came, without one that went.
    #[must_use]
    pub(crate) fn with(self, came: Option<Self>, gone: Option<Self>) -> Self {
        let [came, gone] = [came, gone].map(|it| it.unwrap_or_default().0);
        Self(self.0.wrapping_sub(gone).wrapping_add(came))
    }
}

/// In 32 hex digits.
impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

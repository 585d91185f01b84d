//! How far a client follows, for people and for the control loop.

use std::collections::BTreeMap;

/// How far a client follows one type.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// The version of the type that the client has: of the last response that it acknowledged, or
    /// the newest if nothing of it needs to be sent.
    pub acknowledged: Option<String>,
    /// The response that it rejected last. Gone as soon as it accepts what follows.
    pub rejected: Option<Rejection>,
    /// The resources that it refuses, by name: each was rejected alone.
    pub refused: BTreeMap<String, Rejection>,
    /// The versions that it runs on, by name; of listeners and routes alone, as others are many.
    pub accepted: BTreeMap<String, String>,
}

/// A response or a resource that a client refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Rejection {
    /// The version that it refused: of the type, or of the resource.
    pub version: String,
    /// Why: the client's own words, made printable and cut.
    pub message: String,
}

//! Requests and responses, as both variants of the protocol mean them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::envoy::{Kind, Resource};

/// A request of either variant.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The type that it is about.
    pub(super) type_url: String,
    /// The response that it answers. Empty: none.
    pub(super) nonce: String,
    /// Why the client rejects that response.
    pub(super) error: Option<String>,
    /// What it asks for.
    pub(super) names: Names,
}

/// What a request asks for, and by that which variant of the protocol it speaks.
#[derive(Debug, Clone)]
pub(super) enum Names {
    /// State of the world: all that the client asks for.
    Whole(Vec<String>),
    /// Delta: what changes in that.
    Delta {
        /// What it asks for from now on.
        subscribe: Vec<String>,
        /// What it asks for no longer. Counts after `subscribe`.
        unsubscribe: Vec<String>,
        /// What it has, by name and version, from an earlier stream.
        initial: HashMap<String, String>,
    },
}

/// A response of either variant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Response {
    /// The type that it is about.
    pub(super) kind: Kind,
    /// Its name on the stream.
    pub(super) nonce: String,
    /// The version of the type.
    pub(super) version: String,
    /// The resources that it carries.
    pub(super) resources: Vec<Arc<Resource>>,
    /// The names of those that are gone. Delta only.
    pub(super) removed: Vec<String>,
}

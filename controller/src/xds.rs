//! xDS: snapshots of resources, served to every Envoy that connects.
//!
//! [`serve`] is a thin shell over pure state: each stream compares what its client has acknowledged
//! with the newest [`Snapshot`] of its node cluster and says what comes next.

mod answer;
mod conversation;
#[cfg(test)]
mod fixtures;
mod message;
mod methods;
mod observer;
mod pieces;
mod service;
mod snapshot;
mod snapshots;
mod status;
mod stream;
mod wire;

pub use observer::{Envoy, Observer, Opinion, Opinions, Report, Responses, Variant};
pub use service::{Tls, serve};
pub use snapshot::{Inconsistent, Snapshot};
pub use snapshots::Snapshots;
pub use status::{Rejection, Status};

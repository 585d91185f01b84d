//! Waggle's controller: Docker Swarm in, Envoy xDS out.
//!
//! The modules are the flow, in order; none imports a later one:
//!
//! ```text
//! swarm ─▶ labels ─▶ routing ─▶ envoy ─▶ xds ─▶ control ─▶ admin
//! ```
//!
//! [`swarm`] reads a complete [`swarm::Picture`]; [`labels`], [`routing`] and [`envoy`] are pure
//! functions that turn it into Envoy resources; [`xds`] serves those. [`control`] joins the steps.

pub mod envoy;
pub mod labels;
pub mod routing;
pub mod swarm;
pub mod xds;

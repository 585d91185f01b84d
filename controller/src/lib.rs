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
//! [`persistent`] is the map that lets each step work with the change, not with the Swarm; [`few`] is
//! the one for a few entries. [`side_by_side`] puts what is independent on all cores.
//! [`proxy`] looks after the services that run the Envoys; it alone writes to the Swarm.

pub mod admin;
pub mod bootstrap;
pub mod check;
pub mod control;
pub mod envoy;
pub mod few;
pub mod keys;
pub mod labels;
pub mod persistent;
mod protobuf;
pub mod proxy;
pub mod routing;
pub mod serve;
pub mod settings;
pub mod side_by_side;
pub mod state;
pub mod swarm;
pub mod version;
pub mod xds;

//! Rigs: what the end-to-end tests and the demo walk stand on.

pub mod engine;
pub mod envoy;
pub mod private_swarm;
pub mod sandbox;

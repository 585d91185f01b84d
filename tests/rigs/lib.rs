//! Rigs: what the end-to-end tests run against.

pub mod private_swarm;
pub mod sandbox;

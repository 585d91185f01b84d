//! The rigs of the end-to-end tests and of the demo walk.

pub mod engine;

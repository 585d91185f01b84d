//! Tests against the simulated engine.

mod source;

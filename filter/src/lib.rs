//! Waggle's Envoy filter: keeps sessions on their task, and says which endpoint answered.
//!
//! The decisions are plain Rust, tested natively; the Proxy-Wasm glue is compiled for wasi only.

pub mod config;

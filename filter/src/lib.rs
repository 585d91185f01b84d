//! Waggle's Envoy filter: keeps sessions on their task, and says which endpoint answered.
//!
//! The decisions are plain Rust without any Proxy-Wasm type, tested natively: `config` (what the
//! controller tells) → `pairs`, `cookie`, `set_cookie`, `date`, `cache_control` (what goes over the
//! wire) → `token` (what our cookie holds), `opened` (what was opened before) and `plugin` (what streams
//! share) → `pin` (what to do with a request and its response) and `info` (debug headers). Only
//! `adapter` and `abi`, compiled for wasi, speak with Envoy.
//!
//! A panic would end Envoy's VM and cut all its streams, so whatever can panic is denied here.

#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

#[cfg(target_os = "wasi")]
mod abi;
#[cfg(target_os = "wasi")]
mod adapter;
pub mod cache_control;
pub mod config;
pub mod cookie;
mod date;
pub mod info;
pub mod opened;
pub mod pairs;
#[cfg(all(target_os = "wasi", feature = "panic-for-tests"))]
mod panics;
pub mod pin;
pub mod plugin;
pub mod set_cookie;
pub mod token;

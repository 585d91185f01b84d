//! The product on loopback: a simulated engine, the real controller, the real Envoy with the real
//! filter, and real applications.

mod headers;
mod injection;
mod manage;
mod modes;
mod outages;
mod problems;
mod sessions;
mod silence;
mod source;
mod tls;
mod updates;

//! Rigs: what the end-to-end tests and the demo walk stand on.

pub mod agents;
pub mod authority;
pub mod backend;
pub mod balancer;
pub mod client;
pub mod controller;
pub mod engine;
pub mod envoy;
pub mod frames;
pub mod grpc;
pub mod load;
pub mod orchestrator;
pub mod private_swarm;
pub mod program;
pub mod raw;
pub mod relay;
pub mod sandbox;
pub mod scenarios;
pub mod scripted;
pub mod source;
pub mod stage;
pub mod steady;
pub mod tls;
pub mod tokens;
pub mod websocket;

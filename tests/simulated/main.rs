//! The product on loopback: a simulated engine, the real controller, the real Envoy with the real
//! filter, and real applications.

mod attacks;
mod backend_tls;
mod balancing;
mod clusters;
mod crashes;
mod docker_tls;
mod envoy_updates;
mod grpc;
mod headers;
mod hosts;
mod injection;
mod load;
mod manage;
mod modes;
mod outages;
mod paths;
mod problems;
mod redirects;
mod scenarios;
mod sessions;
mod silence;
mod source;
mod tls;
mod watch;
mod websockets;

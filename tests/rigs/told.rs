//! What an Envoy is told where no controller reads a Swarm: settings, and hosts with a pool each.

use std::net::SocketAddr;

use anyhow::Context;
use waggle_controller::envoy::{FilterCode, Limits, Settings};
use waggle_controller::labels::{
    Affinity, Host, HostPattern, PathPrefix, PoolOptions, RouteOptions,
};
use waggle_controller::routing::{
    Connections, Endpoint, Pool, PoolName, Presence, Route, Routes, SiteRoutes, Target,
};
use waggle_controller::swarm::{ServiceId, TaskId};
use waggle_filter::config::PluginConfig;

/// A pool by its name, which is that of its service too, and its tasks.
pub type Tasks<'a> = (&'a str, Affinity, &'a [SocketAddr]);

/// The code of a filter that is there and does nothing.
pub const NO_FILTER: &[u8] = b"\0asm\x01\0\0\0";

/// The defaults, but for these.
pub fn settings(http_port: u16, filter: PluginConfig, filter_code: FilterCode) -> Settings {
    Settings {
        http_port,
        https_port: 443,
        public_http_port: 80,
        public_https_port: 443,
        trusted_hops: 0,
        filter_code,
        filter,
        server_info: "waggle/test (100%)".to_owned(),
        limits: Limits::default(),
    }
}

/// One host a pool, named `NAME.local`.
pub fn routes(pools: &[Tasks<'_>]) -> anyhow::Result<Routes> {
    let mut routes = Routes::default();
    for (name, affinity, tasks) in pools {
        let host = HostPattern::parse(&format!("{name}.local")).context("a host")?;
        let route = Route { pool: PoolName::new(*name), options: RouteOptions::default() };
        let paths = [(PathPrefix::root(), route)].into();
        routes.sites.insert(Host::Named(host), SiteRoutes { paths, ..SiteRoutes::default() });
        routes.pools.insert(PoolName::new(*name), pool(name, affinity, tasks));
    }
    Ok(routes)
}

fn pool(name: &str, affinity: &Affinity, tasks: &[SocketAddr]) -> Pool {
    let service = ServiceId::new(name);
    let endpoint = |address: &SocketAddr| Endpoint {
        address: *address,
        service: service.clone(),
        target: Target::Task {
            task: TaskId::new(address.to_string()),
            node: None,
            presence: Presence::Running,
        },
    };
    Pool {
        services: [service.clone()].into(),
        options: PoolOptions { affinity: affinity.clone(), ..PoolOptions::default() },
        connections: Connections::Kept,
        endpoints: tasks.iter().map(endpoint).collect(),
    }
}

//! A pool → its cluster. What changes often is not in here: a changed cluster warms anew.

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3::{
    BindConfig, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions, SocketOption,
    TcpKeepalive, UpstreamHttpProtocolOptions, socket_option,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::util::pack_any;

use super::{Kind, Limits, Resource, duration, number, over_ads, seconds, tls};
use crate::labels::{Affinity, Ejection, PoolOptions, Protocol, Transport, Verify};
use crate::routing::{Connections, Pool, PoolName};

/// No queue of ours is to fill before the task's own: Envoy's default of 1,024 would.
const UNLIMITED: u32 = 1_000_000;

/// Retries at most, in percent of a pool's present requests; but [`RETRIES_AT_LEAST`] are allowed. If
/// one of two tasks crashes, half of them fail at once, and all of these are to be tried again.
const RETRIES_AT_MOST_PERCENT: f64 = 50.0;

/// Retries that are always allowed at one time, a pool. Envoy's budget does not count requests that
/// wait for another try: when a connection to a lost node is given up, all that waited for it fail at
/// once, and what is over the budget gets 503. At 1,000 requests a second and one node of three that
/// is 333.
const RETRIES_AT_LEAST: u32 = 5_000;

/// A task that refuses so many connections in a row, or does not answer them, rests for [`REST`].
const DEAF_AFTER: u32 = 3;

/// Longer than Swarm needs to tell of a node that is gone (15 s), so that it costs one wait for
/// connections, not two.
const REST: Duration = Duration::from_secs(20);

/// How long a connection may be without a request. Many servers (Node.js, Uvicorn, Apache) close it
/// after 5 s, Gunicorn after 2 s: a request that meets that is lost.
const IDLE: Duration = Duration::from_millis(1_500);

/// How long what was sent may stay without a sign of its arrival, in milliseconds: then the task is
/// gone, although its address is still told. Linux would try for a quarter of an hour. (gRPC's value.)
const UNACKNOWLEDGED: i64 = 20_000;

/// `IPPROTO_TCP`, and its `TCP_USER_TIMEOUT` (Linux).
const TCP_USER_TIMEOUT: (i64, i64) = (6, 18);

/// How much of a stream waits in Envoy for a slow reader, in bytes.
pub(super) const BUFFER: u32 = 32 * 1024;

pub(super) fn resource(name: &PoolName, pool: &Pool, limits: &Limits) -> Resource {
    let lb_policy = match pool.options.affinity {
        Affinity::None => cluster::cluster::LbPolicy::RoundRobin,
        Affinity::Cookie(_) | Affinity::ClientAddress => cluster::cluster::LbPolicy::Maglev,
    };
    let transport_socket = match &pool.options.transport {
        Transport::Plain => None,
        Transport::Tls { name, verify } => {
            Some(tls::upstream(name.as_ref(), verify, alpn(pool.options.protocol)))
        }
    };
    let message = cluster::Cluster {
        name: name.as_str().to_owned(),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Eds.into(),
        )),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig {
            eds_config: Some(over_ads()),
            ..Default::default()
        }),
        connect_timeout: Some(duration(limits.connect_timeout.get())),
        per_connection_buffer_limit_bytes: Some(number(BUFFER)),
        lb_policy: lb_policy.into(),
        common_lb_config: Some(cluster::cluster::CommonLbConfig {
            // Never to an endpoint that rests, while one in a hundred does not. If all of them rest,
            // they are asked: one that listens late may be all that an update leaves.
            healthy_panic_threshold: Some(Percent { value: 1.0 }),
            // By default the second task that fails within a second is asked for the rest of it.
            update_merge_window: Some(seconds(0)),
            ..Default::default()
        }),
        // An endpoint that is gone is gone, whatever a health check says.
        ignore_health_on_host_removal: true,
        circuit_breakers: Some(circuit_breakers()),
        outlier_detection: outlier_detection(pool),
        upstream_connection_options: Some(connection_options()),
        upstream_bind_config: Some(give_up_on_the_silent()),
        transport_socket,
        typed_extension_protocol_options: HashMap::from([(
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            pack_any(http_options(pool)),
        )]),
        ..Default::default()
    };
    Resource::new(Kind::Cluster, name.as_str(), &message)
}

fn circuit_breakers() -> cluster::CircuitBreakers {
    cluster::CircuitBreakers {
        thresholds: vec![cluster::circuit_breakers::Thresholds {
            max_connections: Some(number(UNLIMITED)),
            max_pending_requests: Some(number(UNLIMITED)),
            max_requests: Some(number(UNLIMITED)),
            retry_budget: Some(cluster::circuit_breakers::thresholds::RetryBudget {
                budget_percent: Some(Percent { value: RETRIES_AT_MOST_PERCENT }),
                min_retry_concurrency: Some(number(RETRIES_AT_LEAST)),
                ..Default::default()
            }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Who rests. A virtual IP never does for a connection that failed: others behind it take the next.
fn outlier_detection(pool: &Pool) -> Option<cluster::OutlierDetection> {
    match (pool.options.ejection, pool.connections) {
        (Some(ejection), _) => Some(failing(ejection)),
        (None, Connections::Kept) => Some(deaf()),
        (None, Connections::Renewed) => None,
    }
}

/// Only failures to answer count, so that one URL that always fails by itself ejects nobody. A task
/// rests as long the second time as the first.
fn failing(ejection: Ejection) -> cluster::OutlierDetection {
    cluster::OutlierDetection {
        consecutive_gateway_failure: Some(number(ejection.after.get())),
        enforcing_consecutive_gateway_failure: Some(number(100)),
        ..resting(ejection.rest)
    }
}

/// Only failures to connect count: what an application answers is its own matter.
fn deaf() -> cluster::OutlierDetection {
    cluster::OutlierDetection {
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: Some(number(DEAF_AFTER)),
        enforcing_consecutive_local_origin_failure: Some(number(100)),
        enforcing_local_origin_success_rate: Some(number(0)),
        ..resting(REST)
    }
}

fn resting(rest: Duration) -> cluster::OutlierDetection {
    let rest = duration(rest);
    cluster::OutlierDetection {
        enforcing_consecutive_5xx: Some(number(0)),
        enforcing_success_rate: Some(number(0)),
        interval: Some(seconds(1)),
        base_ejection_time: Some(rest),
        max_ejection_time: Some(rest),
        max_ejection_percent: Some(number(50)),
        ..Default::default()
    }
}

/// A connection on which nothing moves (a WebSocket, a long poll) is probed: its task may be gone.
fn connection_options() -> cluster::UpstreamConnectionOptions {
    cluster::UpstreamConnectionOptions {
        tcp_keepalive: Some(TcpKeepalive {
            keepalive_time: Some(number(30)),
            keepalive_interval: Some(number(5)),
            keepalive_probes: Some(number(3)),
        }),
        ..Default::default()
    }
}

fn give_up_on_the_silent() -> BindConfig {
    let (level, name) = TCP_USER_TIMEOUT;
    BindConfig {
        socket_options: vec![SocketOption {
            description: "TCP_USER_TIMEOUT".to_owned(),
            level,
            name,
            value: Some(socket_option::Value::IntValue(UNACKNOWLEDGED)),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// What is offered to a task over TLS.
fn alpn(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Http1 => &["http/1.1"],
        Protocol::Http2 => &["h2"],
    }
}

/// An idle connection is closed before the task would close it.
fn http_options(pool: &Pool) -> upstream::HttpProtocolOptions {
    use upstream::http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    };
    let protocol = match pool.options.protocol {
        Protocol::Http1 => ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()),
        Protocol::Http2 => ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default()),
    };
    upstream::HttpProtocolOptions {
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(IDLE)),
            max_connection_duration: match pool.connections {
                Connections::Kept => None,
                Connections::Renewed => Some(seconds(1)),
            },
            ..Default::default()
        }),
        upstream_http_protocol_options: called_by_host(&pool.options),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(
            ExplicitHttpConfig { protocol_config: Some(protocol) },
        )),
        ..Default::default()
    }
}

/// Over TLS, a task without a name of its own is called by the request's host.
fn called_by_host(options: &PoolOptions) -> Option<UpstreamHttpProtocolOptions> {
    match &options.transport {
        Transport::Tls { name: None, verify } => Some(UpstreamHttpProtocolOptions {
            auto_sni: true,
            auto_san_validation: matches!(verify, Verify::Required(_)),
            ..Default::default()
        }),
        Transport::Plain | Transport::Tls { name: Some(_), .. } => None,
    }
}

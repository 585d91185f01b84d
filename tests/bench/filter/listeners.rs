//! The ways to do the job, each a listener of one Envoy.
//!
//! All are made from what the controller tells an Envoy: the plain one is Waggle's listener without
//! the filter, so that what differs is the filter and what it asks of Envoy.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use envoy_types::pb::envoy::config::bootstrap::v3::bootstrap::{self, StaticResources};
use envoy_types::pb::envoy::config::bootstrap::v3::{Admin, Bootstrap};
use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use envoy_types::pb::envoy::extensions::wasm::v3 as wasm;
use envoy_types::pb::envoy::r#type::http::v3::Cookie;
use envoy_types::pb::google::protobuf::{Any, StringValue};
use envoy_types::util::pack_any;
use prost::{Message, Name};
use waggle_controller::envoy::limits::AccessLog;
use waggle_controller::envoy::{FilterCode, Kind, Limits, Resource, Settings, resources};
use waggle_controller::labels::{
    Affinity, CookieName, Host, HostPattern, PathPrefix, PoolOptions, RouteOptions,
};
use waggle_controller::routing::{
    Connections, Endpoint, Pool, PoolName, Presence, Route, Routes, SiteRoutes, Target,
};
use waggle_controller::swarm::{ServiceId, TaskId};
use waggle_filter::config::{InfoHeaders, PluginConfig};
use waggle_tests::program::{filter_module, free_address};

/// The name that a case has in Envoy does not matter; the pool's is in this namespace.
const POOL: &str = "demo";

/// A way to do the job, or not to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Waggle's listener without the filter.
    Plain,
    /// The same once more: how far two equal ones are apart.
    PlainAgain,
    /// Envoy with its defaults, nothing of Waggle's listener.
    Bare,
    /// The same job by Envoy's own filters and formatters.
    Native,
    /// A Rust filter that does nothing.
    Noop,
    /// One that makes a call of Envoy twenty times in each request.
    Probe(&'static str),
    /// A route that needs nothing of the filter.
    Nothing,
    /// Five debug headers.
    Headers,
    /// A sticky route, debug headers hidden, a client without our cookie.
    New,
    /// The same, a client with it.
    Pinned,
    /// Debug headers and stickiness, a client without our cookie.
    HeadersNew,
    /// The same, a client with it.
    HeadersPinned,
    /// The same, more such clients than the filter remembers tokens.
    HeadersMany,
}

impl Case {
    pub(crate) const ALL: [Self; 12] = [
        Self::Plain,
        Self::PlainAgain,
        Self::Bare,
        Self::Native,
        Self::Noop,
        Self::Nothing,
        Self::Headers,
        Self::New,
        Self::Pinned,
        Self::HeadersNew,
        Self::HeadersPinned,
        Self::HeadersMany,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain: Waggle's listener, no filter",
            Self::PlainAgain => "the same again",
            Self::Bare => "Envoy's defaults",
            Self::Native => "Envoy's own session cookie and formatters",
            Self::Noop => "a Wasm filter that does nothing",
            Self::Probe(call) => call,
            Self::Nothing => "Waggle: a route that needs nothing",
            Self::Headers => "Waggle: debug headers",
            Self::New => "Waggle: sticky, new client",
            Self::Pinned => "Waggle: sticky, pinned client",
            Self::HeadersNew => "Waggle: both, new client",
            Self::HeadersPinned => "Waggle: both, pinned client",
            Self::HeadersMany => "Waggle: both, 8,000 pinned clients in turn",
        }
    }

    /// How many clients ask in turn.
    pub(crate) fn clients(self) -> usize {
        if self == Self::HeadersMany { 8_000 } else { 1 }
    }

    /// Whether the client brings the cookie of an earlier answer.
    pub(crate) fn is_of_known_client(self) -> bool {
        matches!(self, Self::Native | Self::Pinned | Self::HeadersPinned | Self::HeadersMany)
    }

    /// Whether each answer sets a cookie.
    pub(crate) fn sets_cookie(self) -> bool {
        matches!(self, Self::New | Self::HeadersNew)
    }

    /// What each answer must carry.
    pub(crate) fn headers(self) -> &'static [&'static str] {
        match self {
            Self::Native
            | Self::Headers
            | Self::HeadersNew
            | Self::HeadersPinned
            | Self::HeadersMany => &[
                "x-request-id",
                "x-proxy-id",
                "x-server-info",
                "x-upstream-addr",
                "x-upstream-response-time",
            ],
            _ => &[],
        }
    }

    fn info_headers(self) -> InfoHeaders {
        match self {
            Self::Headers | Self::HeadersNew | Self::HeadersPinned | Self::HeadersMany => {
                InfoHeaders::Shown
            }
            _ => InfoHeaders::Hidden,
        }
    }

    fn affinity(self) -> Result<Affinity> {
        Ok(match self {
            Self::New
            | Self::Pinned
            | Self::HeadersNew
            | Self::HeadersPinned
            | Self::HeadersMany => {
                Affinity::Cookie(CookieName::parse("session").context("a cookie name")?)
            }
            _ => Affinity::None,
        })
    }
}

/// An Envoy's whole configuration.
pub(crate) struct Listeners {
    /// As protobuf.
    pub(crate) bootstrap: Vec<u8>,
    /// Where each case listens.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Listeners {
    /// A listener and a pool of these tasks for each case.
    pub(crate) fn new(cases: &[Case], tasks: &[SocketAddr], admin: SocketAddr) -> Result<Self> {
        let mut addresses = Vec::new();
        let mut all = StaticResources::default();
        for case in cases {
            let address = free_address()?;
            let (listener, cluster) = of(*case, address, tasks)?;
            all.listeners.push(listener);
            all.clusters.push(cluster);
            addresses.push(address);
        }
        let bootstrap = Bootstrap {
            admin: Some(Admin { address: Some(socket(admin)), ..Default::default() }),
            static_resources: Some(all),
            // Not while it is measured.
            stats_flush: Some(bootstrap::StatsFlush::StatsFlushOnAdmin(true)),
            ..Default::default()
        };
        Ok(Self { bootstrap: bootstrap.encode_to_vec(), addresses })
    }
}

fn of(
    case: Case,
    address: SocketAddr,
    tasks: &[SocketAddr],
) -> Result<(listener::Listener, cluster::Cluster)> {
    let name = format!("{case:?}");
    let routes = routes(case.affinity()?, tasks)?;
    let told = resources(&routes, &settings(address.port(), case.info_headers())?);
    let mut cluster: cluster::Cluster = find(&told, Kind::Cluster, POOL)?;
    cluster.name.clone_from(&name);
    cluster.eds_cluster_config = None;
    cluster.cluster_discovery_type = Some(cluster::cluster::ClusterDiscoveryType::Type(
        cluster::cluster::DiscoveryType::Static.into(),
    ));
    let assignment: ClusterLoadAssignment = find(&told, Kind::Endpoints, POOL)?;
    cluster.load_assignment =
        Some(ClusterLoadAssignment { cluster_name: name.clone(), ..assignment });

    let mut listener: listener::Listener = find(&told, Kind::Listener, "http")?;
    listener.name.clone_from(&name);
    listener.address = Some(socket(address));
    let filter = listener
        .filter_chains
        .first_mut()
        .and_then(|chain| chain.filters.last_mut())
        .context("the listener has a filter")?;
    let Some(listener::filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
        anyhow::bail!("the connection manager is no Any");
    };
    let mut manager = hcm::HttpConnectionManager::decode(any.value.as_slice())?;
    let mut configuration: route::RouteConfiguration = find(&told, Kind::Routes, "http")?;
    to_cluster(&mut configuration, &name);
    for filter in &mut manager.http_filters {
        if let Some(hcm::http_filter::ConfigType::ConfigDiscovery(_)) = filter.config_type {
            let extension: core::TypedExtensionConfig = find(&told, Kind::Extension, &filter.name)?;
            filter.config_type = extension.typed_config.clone().map(typed);
        }
    }
    if case == Case::Bare {
        manager = hcm::HttpConnectionManager {
            stat_prefix: "bare".to_owned(),
            http_filters: vec![http_filter("router", pack_any(Router::default()))],
            ..Default::default()
        };
        configuration.request_headers_to_add.clear();
        configuration.request_headers_to_remove.clear();
        configuration.response_headers_to_remove.clear();
        configuration.internal_only_headers.clear();
    }
    if matches!(case, Case::Plain | Case::PlainAgain | Case::Native | Case::Noop | Case::Probe(_)) {
        manager.http_filters.drain(..manager.http_filters.len() - 1);
    }
    match case {
        Case::Native => native(&mut manager, &mut configuration),
        Case::Noop => manager.http_filters.insert(0, http_filter("noop", example("noop", "")?)),
        Case::Probe(call) => {
            manager.http_filters.insert(0, http_filter("probe", example("probe", call)?));
        }
        _ => {}
    }
    manager.route_specifier =
        Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(configuration));
    filter.config_type = Some(listener::filter::ConfigType::TypedConfig(pack_any(manager)));
    Ok((listener, cluster))
}

/// Envoy's own session cookie, and the debug headers as its formatters give them.
fn native(manager: &mut hcm::HttpConnectionManager, routes: &mut route::RouteConfiguration) {
    let state = CookieBasedSessionState {
        cookie: Some(Cookie {
            name: "native_lb".to_owned(),
            path: "/".to_owned(),
            ..Default::default()
        }),
    };
    let session = StatefulSession {
        session_state: Some(core::TypedExtensionConfig {
            name: "envoy.http.stateful_session.cookie".to_owned(),
            typed_config: Some(pack_any(state)),
        }),
        ..Default::default()
    };
    manager.http_filters.insert(0, http_filter("session", pack_any(session)));
    manager.always_set_request_id_in_response = true;
    routes.response_headers_to_add = [
        ("x-proxy-id", "%HOSTNAME%"),
        ("x-server-info", "waggle/bench"),
        ("x-upstream-addr", "%UPSTREAM_REMOTE_ADDRESS%"),
        ("x-upstream-response-time", "%RESPONSE_DURATION%"),
    ]
    .map(|(name, value)| core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: core::header_value_option::HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    })
    .into();
}

/// A filter of the folder `filter/examples`.
fn example(name: &str, configuration: &str) -> Result<Any> {
    let module = filter_module()?.with_file_name("examples").join(format!("{name}.wasm"));
    let code = core::DataSource {
        specifier: Some(core::data_source::Specifier::Filename(module.display().to_string())),
        ..Default::default()
    };
    Ok(pack_any(Wasm {
        config: Some(wasm::PluginConfig {
            name: name.to_owned(),
            configuration: Some(pack_any(StringValue { value: configuration.to_owned() })),
            vm: Some(wasm::plugin_config::Vm::VmConfig(wasm::VmConfig {
                vm_id: name.to_owned(),
                runtime: "envoy.wasm.runtime.v8".to_owned(),
                code: Some(core::AsyncDataSource {
                    specifier: Some(core::async_data_source::Specifier::Local(code)),
                }),
                ..Default::default()
            })),
            ..Default::default()
        }),
    }))
}

fn to_cluster(configuration: &mut route::RouteConfiguration, name: &str) {
    let routes = configuration.virtual_hosts.iter_mut().flat_map(|host| &mut host.routes);
    for route in routes {
        if let Some(route::route::Action::Route(action)) = &mut route.action {
            action.cluster_specifier =
                Some(route::route_action::ClusterSpecifier::Cluster(name.to_owned()));
        }
    }
}

fn routes(affinity: Affinity, tasks: &[SocketAddr]) -> Result<Routes> {
    let service = ServiceId::new("9mnpnzenvg8p8tdbtq4wvbkcz");
    let endpoint = |address: &SocketAddr| Endpoint {
        address: *address,
        service: service.clone(),
        target: Target::Task {
            task: TaskId::new(address.to_string()),
            node: None,
            presence: Presence::Running,
        },
    };
    let pool = Pool {
        services: [service.clone()].into(),
        options: PoolOptions { affinity, ..PoolOptions::default() },
        connections: Connections::Kept,
        endpoints: tasks.iter().map(endpoint).collect(),
    };
    let route = Route { pool: PoolName::new(POOL), options: RouteOptions::default() };
    let site = SiteRoutes { paths: [(PathPrefix::root(), route)].into(), ..SiteRoutes::default() };
    let mut routes = Routes::default();
    routes.sites.insert(Host::Named(HostPattern::parse("bench.local")?), site);
    routes.pools.insert(PoolName::new(POOL), pool);
    Ok(routes)
}

fn settings(http_port: u16, info_headers: InfoHeaders) -> Result<Settings> {
    Ok(Settings {
        http_port,
        https_port: 443,
        public_http_port: 80,
        public_https_port: 443,
        trusted_hops: 0,
        filter_code: FilterCode::InEnvoy(filter_module()?),
        filter: PluginConfig {
            keys: vec!["a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=".to_owned()],
            info_headers,
            ..PluginConfig::default()
        },
        server_info: waggle_controller::version::server_info(),
        // It costs the same everywhere.
        limits: Limits { access_log: AccessLog::Off, ..Limits::default() },
    })
}

fn find<M: Message + Name + Default>(told: &[Resource], kind: Kind, name: &str) -> Result<M> {
    let found = told.iter().find(|resource| resource.kind == kind && &*resource.name == name);
    let found = found.with_context(|| format!("no {} {name}", kind.as_str()))?;
    Ok(M::decode(found.body.value.as_slice())?)
}

fn http_filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(typed(config)),
        ..Default::default()
    }
}

fn typed(config: Any) -> hcm::http_filter::ConfigType {
    hcm::http_filter::ConfigType::TypedConfig(config)
}

fn socket(address: SocketAddr) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(
                address.port().into(),
            )),
            ..Default::default()
        })),
    }
}

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
use waggle_filter::config::{InfoHeaders, PluginConfig};
use waggle_tests::program::{filter_module, free_address};
use waggle_tests::told;

use super::case::Case;

/// The pool is named as its service, whose ID is as long in a token as a Swarm's.
const POOL: &str = "9mnpnzenvg8p8tdbtq4wvbkcz";

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
    let routes = told::routes(&[(POOL, case.affinity()?, tasks)])?;
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
    let mut configuration: route::RouteConfiguration = find(&told, Kind::WholeRoutes, "http")?;
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

fn settings(http_port: u16, info_headers: InfoHeaders) -> Result<Settings> {
    let keys = vec!["a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=".to_owned()];
    let filter = PluginConfig { keys, info_headers, ..PluginConfig::default() };
    Ok(Settings {
        server_info: waggle_controller::version::server_info(),
        // It costs the same everywhere.
        limits: Limits { access_log: AccessLog::Off, ..Limits::default() },
        ..told::settings(http_port, filter, FilterCode::InEnvoy(filter_module()?))
    })
}

fn find<M: Message + Name + Default>(told: &[Resource], kind: Kind, name: &str) -> Result<M> {
    let found = told.iter().find(|resource| resource.kind == kind && &*resource.name == name);
    let found = found.with_context(|| format!("no {} {name}", kind.as_str()))?;
    Ok(M::decode(found.body().message())?)
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

//! What routing becomes in Envoy: snapshots to read, each accepted by the real Envoy.
//!
//! `INSTA_UPDATE=always cargo nextest run --test envoy` writes the snapshots anew.

mod bootstrap;
mod injection;
mod limits;
mod proto_json;
mod validate;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use waggle_controller::envoy::{FilterCode, Kind, Resource, Settings, resources};
use waggle_controller::routing::{Connections, Routes};
use waggle_filter::config::InfoHeaders;
use world::{VIP_ADDRESS, any_other, host, labelled, pool, routing, settings, sticky, task, vip};

/// The bodies of all resources of a kind, by name.
fn printed(resources: &[Resource], kind: Kind) -> BTreeMap<&str, Value> {
    let of_kind = resources.iter().filter(|resource| resource.kind == kind);
    of_kind.map(|resource| (&*resource.name, proto_json::print(resource))).collect()
}

fn accepted(routing: &Routes) -> Vec<Resource> {
    let resources = resources(routing, &settings());
    validate::accepts(&resources);
    resources
}

#[test]
fn a_service_in_task_mode() {
    let tasks = pool(["demo"]).endpoints([task("demo", 1), task("demo", 2)]);
    let resources = accepted(&routing([(host("demo.local"), tasks)]));
    insta::assert_json_snapshot!("cluster", printed(&resources, Kind::Cluster));
    insta::assert_json_snapshot!("endpoints", printed(&resources, Kind::Endpoints));
    insta::assert_json_snapshot!("routes", printed(&resources, Kind::WholeRoutes));
    insta::assert_json_snapshot!("listener", printed(&resources, Kind::Listener));
    insta::assert_json_snapshot!("extension", printed(&resources, Kind::Extension));
}

#[test]
fn a_service_in_vip_mode() {
    let vip = pool(["demo"]).connections(Connections::Renewed).endpoints([vip("demo")]);
    let resources = accepted(&routing([(host("demo.local"), vip)]));
    insta::assert_json_snapshot!("vip_cluster", printed(&resources, Kind::Cluster));
    insta::assert_json_snapshot!("vip_endpoints", printed(&resources, Kind::Endpoints));
}

#[test]
fn a_canary_with_sticky_sessions() {
    let both = pool(["demo", "demo-canary"])
        .affinity(sticky("session"))
        .endpoints([task("demo", 1), task("demo-canary", 2)]);
    let resources = accepted(&routing([(host("*.demo.local"), both)]));
    insta::assert_json_snapshot!("sticky_cluster", printed(&resources, Kind::Cluster));
    insta::assert_json_snapshot!("sticky_endpoints", printed(&resources, Kind::Endpoints));
    insta::assert_json_snapshot!("sticky_routes", printed(&resources, Kind::WholeRoutes));
}

#[test]
fn a_default_backend_answers_in_place_of_nobody() {
    let resources = accepted(&routing([(any_other(), pool(["demo"]))]));
    insta::assert_json_snapshot!("default_routes", printed(&resources, Kind::WholeRoutes));
}

#[test]
fn an_empty_swarm_is_a_whole_configuration() {
    let resources = accepted(&Routes::default());
    let kinds: Vec<_> = resources.iter().map(|resource| resource.kind).collect();
    let routes = [Kind::Routes, Kind::VirtualHost, Kind::WholeRoutes];
    let others = [Kind::Extension, Kind::Extension, Kind::Listener];
    assert_eq!(kinds, [&others[..], &routes].concat());
    insta::assert_json_snapshot!("routes_without_hosts", printed(&resources, Kind::Routes));
    insta::assert_json_snapshot!("empty_routes", printed(&resources, Kind::WholeRoutes));
}

#[test]
fn every_kind_of_pool_together_is_accepted() {
    accepted(&routing([
        (any_other(), pool(["default"])),
        (host("*.a.local"), pool(["wild"]).affinity(sticky("a_b"))),
        (host("a.local"), pool(["exact"]).endpoints([task("exact", 1)])),
        (host("vip.local"), pool(["v"]).connections(Connections::Renewed).endpoints([vip("v")])),
        (host("xn--bcher-kva.example"), pool(["a.b_c-d"])),
    ]));
}

#[test]
fn hidden_debug_headers_leave_no_trace() {
    let mut settings = settings();
    settings.filter.info_headers = InfoHeaders::Hidden;
    let plain = pool(["demo"]).endpoints([task("demo", 1)]);
    let resources = resources(&routing([(host("demo.local"), plain)]), &settings);
    validate::accepts(&resources);
    let listener = printed(&resources, Kind::Listener);
    let routes = printed(&resources, Kind::WholeRoutes);
    let manager = &listener["http"]["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(manager["always_set_request_id_in_response"], Value::Null);
    assert_eq!(routes["http"]["response_headers_to_add"], Value::Null);
    assert_eq!(routes["http"]["virtual_hosts"][0]["typed_per_filter_config"], Value::Null);
    let mappers = manager["local_reply_config"]["mappers"].to_string();
    assert!(!mappers.contains("x-proxy-id"), "{mappers}");
}

#[test]
fn only_a_proxy_in_front_may_tell_a_prefix() {
    for (trusted_hops, removed) in [(0, true), (1, false)] {
        let settings = Settings { trusted_hops, ..settings() };
        let resources = resources(&Routes::default(), &settings);
        let listener = printed(&resources, Kind::Listener)["http"].to_string();
        assert_eq!(listener.contains(r#"{"remove":"x-forwarded-prefix"}"#), removed, "{listener}");
    }
}

#[test]
fn a_percent_sign_in_the_server_info_is_no_formatter() {
    let mut settings = settings();
    settings.server_info = "waggle/1 (%HOSTNAME%) 100%".to_owned();
    validate::accepts(&resources(&Routes::default(), &settings));
}

#[test]
fn the_filters_code_may_come_from_a_file_of_envoys() {
    let mut settings = settings();
    settings.filter_code = FilterCode::InEnvoy("/etc/waggle/filter.wasm".into());
    let resources = resources(&Routes::default(), &settings);
    let extension = &printed(&resources, Kind::Extension)["waggle"];
    let code = &extension["typed_config"]["config"]["vm_config"]["code"]["local"];
    assert_eq!(code["filename"], "/etc/waggle/filter.wasm");
}

#[test]
fn a_task_that_leaves_changes_its_pools_endpoints_alone() {
    let two = |first: world::PoolBuilder| {
        let other = pool(["other"]).affinity(sticky("session")).endpoints([task("other", 9)]);
        resources(&routing([(host("a.local"), first), (host("b.local"), other)]), &settings())
    };
    let before = two(pool(["demo"]).endpoints([task("demo", 1), task("demo", 2)]));
    let after = two(pool(["demo"]).endpoints([task("demo", 1)]));
    let of = |resources: &[Resource]| -> BTreeSet<_> {
        let key =
            |resource: &Resource| (resource.kind, resource.name.clone(), resource.version.clone());
        resources.iter().map(key).collect()
    };
    let changed: Vec<_> =
        of(&after).difference(&of(&before)).map(|(kind, name, _)| (*kind, name.clone())).collect();
    assert_eq!(changed, [(Kind::Endpoints, "demo".into())]);
}

/// A map with two entries would be encoded in one of two orders.
#[test]
fn equal_routings_give_equal_bytes_each_time() {
    let build = || {
        let sticky =
            pool(["demo", "x"]).affinity(sticky("s")).endpoints([vip("x"), task("demo", 1)]);
        resources(&routing([(host("demo.local"), sticky), (any_other(), pool(["d"]))]), &settings())
    };
    let first = build();
    for _ in 0..50 {
        assert_eq!(build(), first);
    }
}

/// Another value after a change of a dependency or of the compiler would send every resource to
/// every Envoy again when a controller is updated.
#[test]
fn versions_are_the_same_in_every_build() {
    let vip = pool(["demo"]).endpoints([vip("demo")]);
    let resources = resources(&routing([(host("demo.local"), vip)]), &settings());
    let endpoints = resources.iter().find(|resource| resource.kind == Kind::Endpoints).unwrap();
    assert!(proto_json::print(endpoints).to_string().contains(VIP_ADDRESS));
    assert_eq!(&*endpoints.version, "5fd901080f5e3ffc0f6527a44e2e065b");
}

const SHOP: &[(&str, &str)] = &[
    ("hosts", "shop.example"),
    ("port", "80"),
    ("ssl_cert", "shop.cert"),
    ("ssl_key", "shop.key"),
];

#[test]
fn certificates_are_filter_chains_with_routes_of_their_own() {
    let wild = &[("hosts", "*.example,*.other.example"), ("port", "80"), ("ssl_cert", "wild")];
    let raw = &[("hosts", "raw.example"), ("port", "443"), ("ssl_passthrough", "true")];
    let resources = accepted(&labelled(&[("shop", SHOP), ("wild", wild), ("raw", raw)]));
    insta::assert_json_snapshot!("tls_listeners", printed(&resources, Kind::Listener)["https"]);
    insta::assert_json_snapshot!("tls_secrets", printed(&resources, Kind::Secret));
    insta::assert_json_snapshot!("tls_routes", printed(&resources, Kind::WholeRoutes));
}

#[test]
fn a_default_backend_with_a_certificate_answers_for_all_other_names() {
    let any = &[("default_backend", "true"), ("port", "80"), ("ssl_cert", "any")];
    let resources = accepted(&labelled(&[("shop", SHOP), ("any", any)]));
    let listener = &printed(&resources, Kind::Listener)["https"];
    assert_eq!(listener["default_filter_chain"]["name"], "https/*");
    insta::assert_json_snapshot!(
        "tls_default_routes",
        printed(&resources, Kind::WholeRoutes)["https/*"]
    );
}

#[test]
fn plain_http_is_sent_to_https_and_hosts_that_moved_to_their_new_place() {
    let only =
        &[("hosts", "a.example,*.b.example"), ("port", "80"), ("ssl_cert", "c"), ("ssl_only", "1")];
    let moved = &[
        ("hosts", "old.example,older.example"),
        ("port", "80"),
        (
            "redirects",
            "http://old.example,https://new.example:8443/x;https://older.example,http://older.example",
        ),
    ];
    let resources = accepted(&labelled(&[("only", only), ("moved", moved)]));
    insta::assert_json_snapshot!("redirect_routes", printed(&resources, Kind::WholeRoutes)["http"]);
}

#[test]
fn paths_go_to_their_services_the_longest_first() {
    let web = &[("hosts", "a.example"), ("port", "80"), ("websocket_endpoints", "/ws,/api/ws")];
    let api = &[
        ("hosts", "a.example"),
        ("port", "80"),
        ("context_root", "/api/v1.0"),
        ("context_root_rewrite", "true"),
        ("sticky_session_cookie", "SID"),
    ];
    let resources = accepted(&labelled(&[("web", web), ("api", api)]));
    insta::assert_json_snapshot!("path_routes", printed(&resources, Kind::WholeRoutes)["http"]);
}

#[test]
fn pools_have_the_settings_of_their_labels() {
    let hashed = &[
        ("hosts", "a.example"),
        ("port", "80"),
        ("ip_hash", "true"),
        ("max_fails", "3"),
        ("fail_timeout", "1m"),
    ];
    let grpc = &[("hosts", "b.example"), ("port", "80"), ("waggle.backend_protocol", "h2")];
    let secured = &[("hosts", "c.example"), ("port", "80"), ("ssl_backend", "true")];
    let verified = &[
        ("hosts", "d.example"),
        ("port", "80"),
        ("ssl_backend", "true"),
        ("ssl_backend_tls_verify", "required"),
    ];
    let named = &[
        ("hosts", "e.example"),
        ("port", "80"),
        ("ssl_backend", "true"),
        ("ssl_backend_tls_verify", "required"),
        ("waggle.backend_ca", "ca"),
        ("waggle.backend_name", "tasks.internal"),
        ("waggle.backend_protocol", "h2"),
    ];
    let resources = accepted(&labelled(&[
        ("hashed", hashed),
        ("grpc", grpc),
        ("secured", secured),
        ("verified", verified),
        ("named", named),
    ]));
    insta::assert_json_snapshot!("labelled_clusters", printed(&resources, Kind::Cluster));
    insta::assert_json_snapshot!("authorities", printed(&resources, Kind::Secret));
}

//! Nothing that a label can say makes Envoy reject an update, or changes what others are told.
//!
//! Every case is one service beside good ones. Three things hold for each: the fault is told (or the
//! value is valid), the good services' resources are byte for byte what they were, and Envoy takes
//! what comes out.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::listener::v3::{FilterChain, Listener};
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use prost::Message;
use waggle_controller::envoy::{Kind, Resource};
use waggle_controller::routing::{Standing, Turn};

use crate::validate;
use crate::world::{Swarm, id, told};

mod labels;
mod meetings;
mod soup;
mod table;

/// The good services, one for each way in which a service can be answered.
fn good() -> Swarm {
    Swarm::default()
        .service(
            "shop",
            &[
                ("hosts", "shop.test,*.shop.test"),
                ("port", "80"),
                ("ssl_cert", "shop.cert"),
                ("ssl_key", "shop.key"),
                ("ssl_only", "true"),
            ],
        )
        .service("raw", &[("hosts", "raw.test"), ("port", "443"), ("ssl_passthrough", "true")])
        .service(
            "api",
            &[
                ("hosts", "api.test"),
                ("port", "80"),
                ("context_root", "/api/v1"),
                ("context_root_rewrite", "true"),
                ("sticky_session_cookie", "SID"),
                ("websocket_endpoints", "/api/v1/ws"),
            ],
        )
        .service("a", &[("hosts", "pair.test"), ("port", "80")])
        .service("b", &[("hosts", "pair.test"), ("port", "80")])
        .service(
            "inner",
            &[
                ("hosts", "inner.test"),
                ("port", "80"),
                ("ssl_backend", "true"),
                ("ssl_backend_tls_verify", "required"),
                ("waggle.backend_ca", "ca"),
                ("max_fails", "3"),
            ],
        )
        .service(
            "moved",
            &[
                ("hosts", "old.test"),
                ("port", "80"),
                ("redirects", "http://old.test,https://new.test/x"),
            ],
        )
        .service("any", &[("default_backend", "true"), ("port", "80")])
}

/// What Envoys are told that belongs to one service.
#[derive(PartialEq)]
enum Part {
    /// A resource, by its version.
    Whole(String),
    Routes(Box<RouteConfiguration>),
    Host(Box<VirtualHost>),
    Listener(Box<Listener>),
    Chain(Box<FilterChain>),
}

/// The parts by a name.
fn parts(resources: &[Resource]) -> BTreeMap<String, Part> {
    let mut parts = BTreeMap::new();
    for resource in resources {
        let name = format!("{:?} {}", resource.kind, resource.name);
        let body = resource.body().message();
        match resource.kind {
            Kind::WholeRoutes => {
                let mut routes = RouteConfiguration::decode(body).unwrap();
                for host in routes.virtual_hosts.drain(..) {
                    parts.insert(format!("{name} {}", host.name), Part::Host(Box::new(host)));
                }
                parts.insert(name, Part::Routes(Box::new(routes)));
            }
            Kind::Listener => {
                let mut listener = Listener::decode(body).unwrap();
                let chains = std::mem::take(&mut listener.filter_chains);
                for chain in chains.into_iter().chain(listener.default_filter_chain.take()) {
                    parts.insert(format!("{name} {}", chain.name), Part::Chain(Box::new(chain)));
                }
                parts.insert(name, Part::Listener(Box::new(listener)));
            }
            _ => drop(parts.insert(name, Part::Whole(resource.version.to_string()))),
        }
    }
    // The hosts of others that a certificate's chain keeps away, whoever's they are.
    parts.retain(|name, _| !name.ends_with("/(elsewhere)"));
    parts
}

/// Panics if anything that belongs to a service of the one turn is not the same in the other.
fn assert_unharmed(before: &Turn, after: &Turn, what: &str) {
    let after_told = told(after);
    for (cluster, resources) in told(before) {
        let after = parts(&after_told[&cluster]);
        for (name, part) in parts(&resources) {
            assert!(after.get(&name) == Some(&part), "{what} changed {name}");
        }
    }
    for (id, outcome) in &before.routing.services {
        assert_eq!(after.routing.services.get(id), Some(outcome), "{what}");
    }
}

/// Panics with Envoy's words if it refuses what it is told.
fn assert_accepted(turn: &Turn) {
    for resources in told(turn).values() {
        validate::accepts(resources);
    }
}

/// The codes of a service's problems, and whether it is routed.
fn outcome<'a>(turn: &'a Turn, service: &str) -> (BTreeSet<&'a str>, bool) {
    let outcome = &turn.routing.services[&id(service)];
    let codes = outcome.problems.iter().map(|problem| problem.code.as_str());
    (codes.collect(), outcome.standing != Standing::Rejected)
}

#[test]
fn no_name_of_a_service_changes_what_others_are_told() {
    let before = good().turn();
    let long = "n".repeat(5000);
    let names = [
        "a+b",
        "a+b+c",
        "xds",
        "http",
        "*",
        "",
        ";",
        "|",
        "a;b|c",
        "a~0123456789abcdef",
        "é",
        "a b",
        "a\0",
        "a\r\nx: y",
        "%REQ(authorization)%",
        "../x",
        "xdstp://a/b",
        "misdirected/",
        &long,
    ];
    let mut all = good();
    for (number, name) in names.into_iter().enumerate() {
        let host = format!("named-{number}.example");
        let labels = [("hosts", &*host), ("port", "80"), ("ssl_passthrough", "true")];
        let turn = good().service(name, &labels).turn();
        assert_unharmed(&before, &turn, name);
        assert_eq!(outcome(&turn, name), (BTreeSet::new(), true), "{name:?}");
        all = all.service(name, &labels);
    }
    assert_accepted(&all.turn());
}

/// Docker lets a secret be mounted anywhere, and says nothing of signs.
#[test]
fn no_place_of_a_secret_in_the_proxy_makes_envoy_reject_it() {
    let long = format!("/{}", "x".repeat(4000));
    for (target, codes) in [
        ("tls/cert.pem", &[][..]),
        ("/etc/waggle/%HOSTNAME%", &[]),
        ("../../etc/passwd", &[]),
        (&long, &[]),
        ("", &["secret-without-proxy"]),
        ("a\0b", &["secret-without-proxy"]),
        ("a\r\nb", &["secret-without-proxy"]),
    ] {
        let swarm = good().service("proxy", &[] as &[(&str, &str)]).proxy(
            "proxy",
            &[("c", target), ("shop.cert", "shop.cert"), ("shop.key", "k"), ("ca", "ca")],
        );
        let before = swarm.turn();
        let bad = [("hosts", "bad.example"), ("port", "80"), ("ssl_cert", "c")];
        let turn = swarm.service("bad", &bad).turn();
        assert_unharmed(&before, &turn, target);
        assert_eq!(outcome(&turn, "bad"), (codes.iter().copied().collect(), true), "{target:?}");
        assert_accepted(&turn);
    }
}

/// A change of one route sends its whole route configuration anew.
#[test]
fn the_most_that_one_service_can_say_stays_small() {
    let list = |count: u32, item: &dyn Fn(u32) -> String, separator: &str| {
        (0..count).map(item).collect::<Vec<_>>().join(separator)
    };
    let hosts = list(64, &|n| format!("x{n}.example"), ",");
    let paths = list(16, &|n| format!("/app/{n}{}", "a".repeat(240)), ",");
    let redirects = list(64, &|n| format!("http://x{n}.example,http://y/{}", "a".repeat(24)), ";");
    let most = vec![
        ("hosts", &*hosts),
        ("port", "80"),
        ("context_root", "/app"),
        ("context_root_rewrite", "true"),
        ("websocket_endpoints", &paths),
        ("ssl_cert", "c"),
        ("sticky_session_cookie", "SID"),
    ];
    let moved = [&most[..], &[("redirects", &*redirects)]].concat();
    for labels in [most, moved] {
        let turn = Swarm::default().service("x", &labels).turn();
        assert_eq!(outcome(&turn, "x"), (BTreeSet::new(), true));
        let size = |resource: &Resource| resource.body().message().len();
        // State of the world tells the same in another form.
        let delta = told(&turn).into_values().flatten().filter(|it| it.kind != Kind::WholeRoutes);
        let size: usize = delta.map(|it| size(&it)).sum();
        assert!(size < 4 << 20, "{size} bytes");
    }
}

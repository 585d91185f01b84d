//! Swarms of 200 services with labels at random: valid, broken, and at odds with each other.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestRunner};
use prost::Message;
use serde_json::Value;
use waggle_controller::envoy::{Kind, Resource};
use waggle_controller::routing::Standing;
use waggle_controller::xds::Snapshot;

use crate::world::{Swarm, told};
use crate::{proto_json, validate};

/// How many services a Swarm has.
const SERVICES: usize = 200;

/// Few hosts for many services, so that they meet.
fn a_host() -> impl Strategy<Value = String> {
    let name = (0..60u32).prop_map(|n| format!("h{n}.example"));
    let wildcard = (0..6u32).prop_map(|n| format!("*.h{n}.example"));
    let below = (0..6u32).prop_map(|n| format!("X.H{n}.Example."));
    let odd = select(&["*", "", "a b", "x:80", "*.example", "bücher.example", "%H%", "a\r\nb"][..]);
    prop_oneof![6 => name, 2 => wildcard, 1 => below, 1 => odd.prop_map(String::from)]
}

fn a_path() -> impl Strategy<Value = String> {
    let good = select(&["/", "/app", "/app/x", "/app/x/", "/%2F", "/a(b)", "/api/v1.0"][..]);
    let bad = select(&["", "app", "/a b", "/a?b", "/../x", "/%"][..]);
    prop_oneof![5 => good, 1 => bad].prop_map(String::from)
}

fn a_redirect() -> impl Strategy<Value = String> {
    let scheme = || select(&["http", "https"][..]);
    let target = prop_oneof![a_host(), Just("new.test:8443/x".to_owned())];
    (scheme(), a_host(), scheme(), target)
        .prop_map(|(from, source, to, target)| format!("{from}://{source},{to}://{target}"))
}

fn list<S>(item: S, most: usize, separator: &'static str) -> impl Strategy<Value = String>
where
    S: Strategy<Value = String>,
{
    proptest::collection::vec(item, 1..=most).prop_map(move |items| items.join(separator))
}

fn word(words: &'static [&'static str]) -> BoxedStrategy<String> {
    select(words).prop_map(String::from).boxed()
}

/// Labels of one service; most of them are there now and then.
fn some_labels() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let on = || word(&["true", "true", "false", "maybe"]);
    let secret = || word(&["c1", "c2", "c3", "shop.cert", "../c", "a b"]);
    let usual =
        [("hosts", list(a_host(), 5, ",").boxed()), ("port", word(&["80", "8080", "443", "x"]))];
    let seldom = [
        ("network", word(&["net", "other", "nowhere"])),
        ("context_root", a_path().boxed()),
        ("context_root_rewrite", on()),
        ("ssl_cert", secret()),
        ("ssl_key", secret()),
        ("ssl_only", on()),
        ("ssl_passthrough", on()),
        ("ssl_backend", on()),
        ("ssl_backend_tls_verify", word(&["none", "optional", "required", "some"])),
        ("waggle.backend_ca", secret()),
        ("waggle.backend_name", a_host().boxed()),
        ("waggle.backend_protocol", word(&["h2", "http1", "h3"])),
        ("websocket_endpoints", list(a_path(), 4, ",").boxed()),
        ("service_cluster", word(&["east", "east", "", "e a"])),
        ("sticky_session_cookie", word(&["SID", "JSESSIONID", "%", "a b"])),
        ("ip_hash", on()),
        ("redirects", list(a_redirect(), 4, ";").boxed()),
        ("backend_mode", word(&["vip", "task", "tasc"])),
        ("default_backend", on()),
        ("max_fails", word(&["1", "3", "0", "-1"])),
        ("fail_timeout", word(&["1ms", "10", "1m", "soon"])),
        ("hoss", r"\PC{0,20}".boxed()),
    ];
    let usual = usual.map(|(name, value)| (name, weighted(0.95, value)));
    let seldom = seldom.map(|(name, value)| (name, weighted(0.2, value)));
    let label = |(name, value): (&'static str, _)| {
        Strategy::prop_map(value, move |it: Option<_>| (name, it))
    };
    let labels: Vec<_> = usual.into_iter().chain(seldom).map(label).collect();
    labels
        .prop_map(|labels| labels.into_iter().filter_map(|(name, it)| Some((name, it?))).collect())
}

fn some_swarm() -> impl Strategy<Value = Swarm> {
    let service = (some_labels(), any::<bool>());
    proptest::collection::vec(service, SERVICES).prop_map(|services| {
        let add = |swarm: Swarm, (number, (labels, both)): (usize, (Vec<_>, bool))| {
            let name = format!("service-{number}");
            let swarm = swarm.service(&name, &labels);
            if both { swarm.attached(&name, "other") } else { swarm }
        };
        services.into_iter().enumerate().fold(Swarm::default(), add)
    })
}

/// Whether a text is the first of its kind, whatever the case.
fn is_new(seen: &mut BTreeSet<String>, text: &str) -> bool {
    seen.insert(text.to_lowercase())
}

/// Whether all that is named is there, and nothing is there twice.
pub(super) fn holds_together(resources: &[Resource]) -> Result<(), TestCaseError> {
    let snapshot = Snapshot::new(resources.to_vec());
    prop_assert!(snapshot.is_ok(), "{:?}", snapshot.err());
    for resource in resources {
        let body = resource.body().message();
        match resource.kind {
            Kind::WholeRoutes => {
                let routes = RouteConfiguration::decode(body).unwrap();
                let (mut names, mut domains) = (BTreeSet::new(), BTreeSet::new());
                for host in &routes.virtual_hosts {
                    prop_assert!(is_new(&mut names, &host.name), "two are named {}", host.name);
                    prop_assert!(!host.domains.is_empty() && !host.routes.is_empty());
                    for domain in &host.domains {
                        prop_assert!(is_new(&mut domains, domain), "{domain} twice");
                    }
                }
            }
            Kind::Listener => {
                let listener = Listener::decode(body).unwrap();
                let (mut names, mut servers) = (BTreeSet::new(), BTreeSet::new());
                for chain in listener.filter_chains.iter().chain(&listener.default_filter_chain) {
                    prop_assert!(is_new(&mut names, &chain.name), "two are named {}", chain.name);
                    let matches = chain.filter_chain_match.iter();
                    for server in matches.flat_map(|it| &it.server_names) {
                        prop_assert!(is_new(&mut servers, server), "{server} twice");
                    }
                }
            }
            _ => {}
        }
    }
    let secrets = resources.iter().filter(|it| it.kind == Kind::Secret);
    let secrets: BTreeSet<_> = secrets.map(|it| it.name.to_string()).collect();
    let holders = resources.iter().filter(|it| matches!(it.kind, Kind::Cluster | Kind::Listener));
    let asked: BTreeSet<_> = holders.flat_map(|it| secrets_of(&proto_json::print(it))).collect();
    prop_assert_eq!(asked, secrets, "the secrets that are asked for are those that are told");
    Ok(())
}

/// The names of the secrets that a message asks for, which `Snapshot` does not look at.
fn secrets_of(message: &Value) -> Vec<String> {
    match message {
        Value::Object(fields) if fields.contains_key("sds_config") => {
            vec![fields["name"].as_str().unwrap().to_owned()]
        }
        Value::Object(fields) => fields.values().flat_map(secrets_of).collect(),
        Value::Array(items) => items.iter().flat_map(secrets_of).collect(),
        _ => vec![],
    }
}

/// A number that is another one in each run, unless `SEED` says which.
fn seed() -> u64 {
    let told = std::env::var("SEED").ok().map(|told| told.parse().unwrap());
    told.unwrap_or_else(|| RandomState::new().hash_one(()))
}

#[test]
fn whatever_200_services_say_holds_together_and_is_accepted() {
    let seed = seed();
    println!("SEED={seed} repeats this run");
    let config = ProptestConfig {
        cases: 10,
        max_shrink_iters: 20,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&some_swarm(), |swarm| {
        let turn = swarm.turn();
        let published = turn.routing.services.values();
        let published = published.filter(|outcome| outcome.standing != Standing::Rejected).count();
        prop_assert!(published > SERVICES / 4, "only {published} are routed");
        for resources in told(&turn).values() {
            holds_together(resources)?;
            validate::accepts(resources);
        }
        Ok(())
    });
    outcome.unwrap();
}

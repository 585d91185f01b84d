//! What holds for every Swarm and every history.

use proptest::prelude::*;
use proptest::sample::select;

use super::tests::{at, settings};
use super::*;
use crate::labels::testing::{Swarm, a_service, a_swarm};
use crate::labels::{self, PREFIX};
use crate::swarm::{Scale, Service, TaskState, Update};

const SERVICES: [&str; 4] = ["ant", "bee", "cat", "dog"];

/// A service with labels that may be good, bad or in conflict with another's.
fn some_service(
    name: &'static str,
    hosts: &'static [&'static str],
) -> impl Strategy<Value = Service> {
    let labels = (
        select(hosts),
        select(&["80", "8080", "", "x"][..]),
        select(&["task", "vip", "", "tasc"][..]),
        proptest::option::of(select(&["SID", "JSESSIONID", "no cookie"][..])),
        proptest::option::of(select(&["net", "other", "nowhere"][..])),
        select(&["true", "false"][..]),
    );
    let more = (
        proptest::option::of(select(&["/", "/app", "/app/x", "app"][..])),
        proptest::option::of(select(&["east", "default", "e a"][..])),
        proptest::option::of(select(&["one", "two", "no secret"][..])),
        proptest::option::of(select(&["true", "false", "x"][..])),
        proptest::option::of(select(
            &["http://a.example,https://a.example", "http://b.example,http://a.example"][..],
        )),
    );
    let rest = (0..3u64, 0..4u64, any::<bool>());
    (labels, more, rest).prop_map(
        move |((hosts, port, mode, cookie, network, default), more, rest)| {
            let (root, cluster, cert, passthrough, redirects) = more;
            let (replicas, age, has_vip) = rest;
            let address = format!("10.0.9.{}", name.len() + usize::from(name.as_bytes()[0]));
            let mut service = a_service(name)
                .on(&["net", "other"])
                .serving(hosts)
                .label("port", port)
                .label("backend_mode", mode)
                .label("default_backend", default)
                .created_at(age)
                .scale(Scale::Replicated(replicas));
            if has_vip {
                service = service.vip(&address);
            }
            for (name, value) in [
                ("sticky_session_cookie", cookie),
                ("network", network),
                ("context_root", root),
                ("service_cluster", cluster),
                ("ssl_cert", cert),
                ("ssl_passthrough", passthrough),
                ("redirects", redirects),
            ] {
                if let Some(value) = value {
                    service = service.label(name, value);
                }
            }
            service
        },
    )
}

/// A swarm with some of four services and of eight tasks.
pub(crate) fn some_swarm(hosts: &'static [&'static str]) -> impl Strategy<Value = Swarm> {
    let services = SERVICES.map(|name| proptest::option::of(some_service(name, hosts)));
    let state = select(&[TaskState::Running, TaskState::Waiting, TaskState::Ended][..]);
    let tasks = proptest::collection::btree_map(2..10u8, (select(&SERVICES[..]), state), 0..8);
    (services, tasks).prop_map(|(services, tasks)| {
        let swarm = a_swarm().network("other");
        let swarm = services.into_iter().flatten().fold(swarm, Swarm::service);
        tasks.into_iter().fold(swarm, |swarm, (host, (service, state))| {
            swarm.task_in_state(service, &format!("10.0.0.{host}"), state)
        })
    })
}

/// One thing that may happen in a Swarm.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Service(Box<Service>),
    NoService(&'static str),
    Task(&'static str, u8, TaskState),
    NoTask(u8),
    Network(&'static str),
    NoNetwork(&'static str),
    Secrets(bool),
    Nothing,
}

impl Edit {
    pub(crate) fn apply(self, mut swarm: Swarm) -> Swarm {
        match self {
            Self::Service(service) => swarm.service(*service),
            Self::NoService(name) => swarm.no_service(name),
            Self::Task(service, host, state) => {
                swarm.task_in_state(service, &format!("10.0.0.{host}"), state)
            }
            Self::NoTask(host) => swarm.no_task(&format!("10.0.0.{host}")),
            Self::Network(name) => swarm.network(name),
            Self::NoNetwork(name) => {
                swarm.picture.networks.remove(&NetworkId::new(format!("id-{name}")));
                swarm
            }
            Self::Secrets(are_told) => swarm.secrets(if are_told { &["one"] } else { &[] }),
            Self::Nothing => swarm,
        }
    }
}

pub(crate) fn some_edit() -> impl Strategy<Value = Edit> {
    let state = select(&[TaskState::Running, TaskState::Running, TaskState::Ended][..]);
    let service = select(&SERVICES[..]).prop_flat_map(|name| some_service(name, HOSTS));
    let network = select(&["net", "other"][..]);
    prop_oneof![
        4 => service.prop_map(|service| Edit::Service(Box::new(service))),
        2 => select(&SERVICES[..]).prop_map(Edit::NoService),
        4 => (select(&SERVICES[..]), 2..10u8, state)
            .prop_map(|(service, host, state)| Edit::Task(service, host, state)),
        4 => (2..10u8).prop_map(Edit::NoTask),
        1 => network.clone().prop_map(Edit::Network),
        1 => network.prop_map(Edit::NoNetwork),
        1 => any::<bool>().prop_map(Edit::Secrets),
        1 => Just(Edit::Nothing),
    ]
}

fn id(name: &str) -> ServiceId {
    ServiceId::new(format!("id-{name}"))
}

pub(crate) const HOSTS: &[&str] =
    &["a.example", "a.example,b.example", "*.example,a.example", "b.example", "!"];

fn consistent(turn: &Turn, swarm: &Swarm) -> Result<(), TestCaseError> {
    let Routing { clusters, services } = &*turn.routing;
    for routes in clusters.values() {
        let paths = routes.sites.values().flat_map(|site| site.paths.values());
        let named: BTreeSet<_> = paths.map(|route| &route.pool).collect();
        prop_assert_eq!(named, routes.pools.keys().collect::<BTreeSet<_>>());
        prop_assert!(routes.sites.values().all(|site| !site.paths.is_empty()));
    }
    for pool in clusters.values().flat_map(|routes| routes.pools.values()) {
        prop_assert!(!pool.services.is_empty());
        let addresses: Vec<_> = pool.endpoints.iter().map(|endpoint| endpoint.address).collect();
        prop_assert!(addresses.is_sorted_by(|one, next| one < next), "{:?}", addresses);
        let leaving = pool.endpoints.iter().filter(|endpoint| {
            matches!(endpoint.target, Target::Task { presence: Presence::Leaving, .. })
        });
        let leaving: Vec<_> = leaving.filter_map(|endpoint| endpoint.target.task()).collect();
        prop_assert!(leaving.is_empty() || leaving.len() == pool.endpoints.len());
        prop_assert!(leaving.is_empty() || turn.wake_at.is_some());
        prop_assert!(leaving.iter().all(|task| !swarm.picture.tasks.contains_key(*task)));
    }
    for (id, outcome) in services {
        prop_assert!(outcome.problems.is_sorted());
        prop_assert!(outcome.standing != Standing::Rejected || !outcome.problems.is_empty());
        if let Standing::Published { claims, endpoints, .. } = &outcome.standing {
            prop_assert!(!claims.is_empty());
            prop_assert!(endpoints.iter().all(|endpoint| endpoint.service == *id));
            for (claim, name) in claims {
                prop_assert_eq!(turn.routing.pool_of(claim), Some(name));
                prop_assert!(clusters[&claim.site.cluster].pools[name].services.contains(id));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_turn_of_every_history_is_consistent(
        history in proptest::collection::vec((some_swarm(HOSTS), 0..2000u64), 1..6),
    ) {
        let mut last = Turn::default();
        let mut time = 0;
        for (swarm, wait) in history {
            time += wait;
            let turn = route(&swarm.picture, &settings(), &last, at(time));
            consistent(&turn, &swarm)?;
            let again = route(&swarm.picture, &settings(), &turn, at(time));
            prop_assert_eq!(&again, &turn, "nothing changed");
            for (claim, holder) in &last.ledger.holders {
                let still = turn.routing.services.get(holder).is_some_and(|outcome| {
                    matches!(&outcome.standing, Standing::Published { claims, .. } if claims.contains_key(claim))
                });
                prop_assert!(!still || turn.ledger.holders.get(claim) == Some(holder));
            }
            last = turn;
        }
    }

    #[test]
    fn a_turn_after_a_change_is_as_if_everything_had_been_made_anew(
        start in some_swarm(HOSTS),
        history in proptest::collection::vec((some_edit(), 0..800u64), 1..12),
        left_out in proptest::collection::btree_map(0..12_usize, select(&SERVICES[..]), 0..3),
        share_hosts in select(&[ShareHosts::Any, ShareHosts::Stack, ShareHosts::None][..]),
    ) {
        let proxies = [(NodeCluster::default(), ProxyService {
            name: ServiceName::new("dog"),
            care: labels::Care::Owner,
        })];
        let settings = Settings { share_hosts, proxies: proxies.into(), ..settings() };
        let (mut swarm, mut time) = (start, 0);
        let mut last = Turn::default();
        for (step, (edit, wait)) in history.into_iter().enumerate() {
            swarm = edit.apply(swarm);
            time += wait;
            last.left_out = left_out.get(&step).map(|name| id(name)).into_iter().collect();
            let anew = Turn { memo: work::Memo::default(), ..last.clone() };
            let anew = route(&swarm.picture, &settings, &anew, at(time));
            last = route(&swarm.picture, &settings, &last, at(time));
            prop_assert_eq!(&last.routing, &anew.routing);
            prop_assert_eq!(&last.ledger, &anew.ledger);
            prop_assert_eq!(&last, &anew);
        }
    }

    #[test]
    fn a_restart_between_two_turns_changes_nothing_but_leaving_endpoints(
        history in proptest::collection::vec(some_swarm(HOSTS), 1..5),
    ) {
        let settings = Settings { linger: Duration::ZERO, ..settings() };
        let (mut steady, mut restarted) = (Turn::default(), Turn::default());
        for swarm in history {
            steady = route(&swarm.picture, &settings, &steady, at(0));
            let ledger = serde_json::to_vec(&restarted.ledger).unwrap();
            let resumed = Turn::resume(serde_json::from_slice(&ledger).unwrap());
            restarted = route(&swarm.picture, &settings, &resumed, at(0));
            prop_assert_eq!(&restarted, &steady);
        }
    }

    #[test]
    fn the_order_in_which_docker_tells_changes_nothing(swarm in some_swarm(HOSTS)) {
        let mut other = swarm.clone();
        for name in SERVICES {
            let service = other.picture.services.get_mut(&ServiceId::new(format!("id-{name}")));
            service.into_iter().for_each(|service| service.networks.reverse());
        }
        let turn = |swarm: &Swarm| route(&swarm.picture, &settings(), &Turn::default(), at(0));
        prop_assert_eq!(turn(&swarm), turn(&other));
    }

    #[test]
    fn a_bad_service_changes_nothing_for_the_others(
        good in some_swarm(&["a.example", "a.example,b.example", "b.example"]),
        soup in proptest::collection::btree_map(
            select(labels::LABELS.map(|label| label.name).to_vec()),
            prop_oneof![r"\PC{0,30}", select(&["c.example", "*", "80", "vip", "net", "true", "/app", "http://c.example,http://d.example"][..]).prop_map(String::from)],
            0..6,
        ),
    ) {
        let bad = soup.iter().fold(a_service("zoo").vip("10.0.8.1"), |bad, (name, value)| bad.label(name, value));
        let claims_theirs = bad.labels.get("com.docker.lb.hosts").is_some_and(|hosts| {
            hosts.contains("a.example") || hosts.contains("b.example")
        });
        let is_default = |service: &Service| {
            service.labels.get("com.docker.lb.default_backend").is_some_and(|value| value != "false")
        };
        let shares_default = is_default(&bad) && good.picture.services.values().any(is_default);
        prop_assume!(!claims_theirs && !shares_default);
        let both = good.clone().service(bad.clone()).task("zoo", "10.0.0.99");
        let without = route(&good.picture, &settings(), &Turn::default(), at(0));
        let with = route(&both.picture, &settings(), &Turn::default(), at(0));
        for (cluster, routes) in &without.routing.clusters {
            let with = &with.routing.clusters[cluster];
            for (host, site) in &routes.sites {
                prop_assert_eq!(with.sites.get(host), Some(site));
            }
            for (name, pool) in &routes.pools {
                prop_assert_eq!(with.pools.get(name), Some(pool));
            }
        }
        for (id, outcome) in &without.routing.services {
            prop_assert_eq!(with.routing.services.get(id), Some(outcome));
        }
    }

    #[test]
    fn nothing_that_a_virtual_ip_hides_reaches_the_routing(
        before in silent(),
        after in silent(),
    ) {
        let first = route(&before.picture, &settings(), &Turn::default(), at(0));
        prop_assert_eq!(first.routing.clusters[&NodeCluster::default()].pools.len(), 1);
        for last in [Turn::default(), first.clone()] {
            let second = route(&after.picture, &settings(), &last, at(1));
            prop_assert_eq!(&second.routing, &first.routing);
            prop_assert_eq!(&second.ledger, &first.ledger);
            prop_assert_eq!(second.wake_at, None);
        }
    }
}

/// One VIP service, with anything about it that may change without a word to Envoy.
fn silent() -> impl Strategy<Value = Swarm> {
    let scale = prop_oneof![(1..9u64).prop_map(Scale::Replicated), Just(Scale::Global)];
    let state = select(&[TaskState::Running, TaskState::Waiting, TaskState::Ended][..]);
    let tasks = proptest::collection::btree_map(3..9u8, state, 0..6);
    let labels = proptest::collection::btree_map(r"[a-z.]{1,20}", r"\PC{0,20}", 0..4);
    let update = select(&[Update::Idle, Update::Rolling][..]);
    (scale, tasks, labels, update, any::<u64>()).prop_map(
        |(scale, tasks, labels, update, version)| {
            let mut web = a_service("web")
                .serving("a.example")
                .label("backend_mode", "vip")
                .vip("10.0.0.2")
                .scale(scale);
            for (key, value) in labels.into_iter().filter(|(key, _)| !key.starts_with(PREFIX)) {
                web.labels.insert(key, value);
            }
            (web.update, web.version) = (update, version);
            tasks.into_iter().fold(a_swarm().service(web), |swarm, (host, state)| {
                swarm.task_in_state("web", &format!("10.0.0.{host}"), state)
            })
        },
    )
}

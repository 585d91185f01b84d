//! What becomes of small swarms, rule by rule.

use super::*;
use crate::labels::testing::{Swarm, a_service, a_swarm};
use crate::labels::{Affinity, Code};
use crate::swarm::{Scale, Service, TaskState};

mod the_last_endpoints;

pub(super) const LINGER: Duration = Duration::from_millis(1400);

pub(super) fn settings() -> Settings {
    Settings {
        share_hosts: ShareHosts::Any,
        proxy_networks: BTreeSet::new(),
        proxies: BTreeMap::new(),
        linger: LINGER,
    }
}

/// A moment, in milliseconds after some noon.
pub(super) fn at(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_secs(1_700_000_000)
        + Duration::from_millis(milliseconds)
}

fn routed(swarm: &Swarm) -> Turn {
    route(&swarm.picture, &settings(), &Turn::default(), at(0))
}

fn sharing(swarm: &Swarm, share_hosts: ShareHosts) -> Turn {
    let settings = Settings { share_hosts, ..settings() };
    route(&swarm.picture, &settings, &Turn::default(), at(0))
}

/// The routing in lines: `claim -> pool: endpoints`.
fn shown(turn: &Turn) -> Vec<String> {
    let mut lines = Vec::new();
    for (cluster, routes) in &turn.routing.clusters {
        for (host, site) in &routes.sites {
            for (path, route) in &site.paths {
                let site = Site { cluster: cluster.clone(), host: host.clone() };
                let claim = Claim { site, path: path.clone() };
                let endpoints = routes.pools[&route.pool].endpoints.iter().map(address);
                lines.push(format!("{claim} -> {}:{}", route.pool, endpoints.collect::<String>()));
            }
        }
    }
    lines
}

fn address(endpoint: &Endpoint) -> String {
    match endpoint.target {
        Target::Task { presence: Presence::Leaving, .. } => {
            format!(" {} leaving", endpoint.address)
        }
        _ => format!(" {}", endpoint.address),
    }
}

/// The pools of the default cluster.
fn pools(turn: &Turn) -> &Map<PoolName, Pool> {
    &turn.routing.clusters[&NodeCluster::default()].pools
}

fn told(turn: &Turn, service: &str) -> Vec<Code> {
    let outcome = &turn.routing.services[&ServiceId::new(format!("id-{service}"))];
    outcome.problems.iter().map(|problem| problem.code).collect()
}

fn standing_of<'a>(turn: &'a Turn, service: &str) -> &'a Standing {
    &turn.routing.services[&ServiceId::new(format!("id-{service}"))].standing
}

fn sticky(service: Service, cookie: &str) -> Service {
    service.label("sticky_session_cookie", cookie)
}

fn vip(service: Service, address: &str) -> Service {
    service.vip(address).label("backend_mode", "vip")
}

#[test]
fn running_tasks_with_an_address_on_the_network_are_the_endpoints() {
    let mut swarm = a_swarm()
        .network("other")
        .service(a_service("web").serving("a.example").label("network", "net"))
        .service(a_service("quiet"))
        .task("web", "10.0.0.9")
        .task("web", "10.0.0.10")
        .task("quiet", "10.0.0.11")
        .task_in_state("web", "10.0.0.12", TaskState::Waiting)
        .task_in_state("web", "10.0.0.13", TaskState::Ended)
        .task("web", "10.0.0.14");
    swarm.picture.tasks.get_mut(&TaskId::new("10.0.0.14")).unwrap().addresses = [].into();
    let turn = routed(&swarm);
    assert_eq!(shown(&turn), ["a.example -> web: 10.0.0.9:80 10.0.0.10:80"]);
    assert_eq!(turn.routing.services.len(), 1, "a service without labels has no outcome");
    let Standing::Published { mode: Mode::Task, claims, endpoints } = standing_of(&turn, "web")
    else {
        panic!("{turn:?}")
    };
    assert_eq!((claims.len(), endpoints.len()), (1, 2));
}

#[test]
fn a_job_is_routed_to_its_running_tasks() {
    let job = a_service("job").serving("a.example").scale(Scale::Job);
    let turn = routed(&a_swarm().service(job).task("job", "10.0.0.2"));
    assert_eq!(shown(&turn), ["a.example -> job: 10.0.0.2:80"]);
}

#[test]
fn a_pool_without_an_endpoint_stays_as_an_empty_one() {
    let turn = routed(&a_swarm().service(a_service("web").serving("a.example")));
    assert_eq!(shown(&turn), ["a.example -> web:"]);
    assert_eq!(turn.wake_at, None);
}

#[test]
fn vip_mode_has_one_endpoint_while_a_replica_is_asked_for() {
    for (scale, expected) in [
        (Scale::Replicated(4), "a.example -> web: 10.0.0.2:80"),
        (Scale::Replicated(0), "a.example -> web:"),
        (Scale::Global, "a.example -> web: 10.0.0.2:80"),
    ] {
        let web = vip(a_service("web").serving("a.example"), "10.0.0.2").scale(scale);
        let turn = routed(&a_swarm().service(web).task("web", "10.0.0.3"));
        assert_eq!(shown(&turn), [expected], "{scale:?}");
        let pool = pools(&turn).values().next().unwrap();
        assert_eq!(pool.connections, Connections::Renewed);
    }
}

#[test]
fn services_on_one_host_form_one_pool_and_keep_their_other_hosts_apart() {
    let swarm = a_swarm()
        .service(a_service("demo").serving("demo.example,only.example,also.example"))
        .service(a_service("demo-canary").serving("demo.example").created_at(9))
        .task("demo", "10.0.0.2")
        .task("demo-canary", "10.0.0.3");
    let turn = routed(&swarm);
    assert_eq!(
        shown(&turn),
        [
            "also.example -> demo: 10.0.0.2:80",
            "demo.example -> demo+demo-canary: 10.0.0.2:80 10.0.0.3:80",
            "only.example -> demo: 10.0.0.2:80",
        ]
    );
    assert_eq!(pools(&turn).len(), 2);
    assert_eq!(told(&turn, "demo"), [Code::SharesHost]);
    assert_eq!(told(&turn, "demo-canary"), [Code::SharesHost]);
    let Standing::Published { endpoints, .. } = standing_of(&turn, "demo") else { panic!() };
    assert_eq!(endpoints.len(), 1, "its own endpoint, once");
}

#[test]
fn tasks_and_virtual_ips_share_a_pool_as_one_endpoint_each() {
    let swarm = a_swarm()
        .service(a_service("old").serving("a.example"))
        .service(vip(a_service("new").serving("a.example").created_at(9), "10.0.0.9"))
        .task("old", "10.0.0.2")
        .task("old", "10.0.0.3")
        .task("new", "10.0.0.4");
    let turn = routed(&swarm);
    assert_eq!(shown(&turn), ["a.example -> new+old: 10.0.0.2:80 10.0.0.3:80 10.0.0.9:80"]);
    let pool = pools(&turn).values().next().unwrap();
    assert_eq!(pool.connections, Connections::Renewed);
    assert_eq!(told(&turn, "new"), [Code::SharesHost], "the mode is no option that disagrees");
}

#[test]
fn one_address_is_one_endpoint() {
    let mut swarm = a_swarm()
        .service(a_service("web").serving("a.example"))
        .task("web", "10.0.0.2")
        .task("web", "10.0.0.3");
    let net = crate::swarm::NetworkId::new("id-net");
    let same = "10.0.0.2".parse().unwrap();
    swarm.picture.tasks.get_mut(&TaskId::new("10.0.0.3")).unwrap().addresses.insert(net, same);
    assert_eq!(shown(&routed(&swarm)), ["a.example -> web: 10.0.0.2:80"]);
}

#[test]
fn the_oldest_service_owns_a_host_and_its_options_apply() {
    let swarm = a_swarm()
        .service(sticky(a_service("b").serving("a.example"), "SID"))
        .service(a_service("a").serving("a.example").created_at(9));
    let turn = routed(&swarm);
    let pool = pools(&turn).values().next().unwrap();
    assert!(matches!(&pool.options.affinity, Affinity::Cookie(cookie) if cookie.as_str() == "SID"));
    assert_eq!(told(&turn, "b"), [Code::SharesHost]);
    assert_eq!(told(&turn, "a"), [Code::OptionsDiffer]);
    let problem = &turn.routing.services[&ServiceId::new("id-a")].problems[0];
    assert_eq!(
        problem.message,
        "host `a.example` is held by `b`, whose options apply; this service differs in `sticky_session_cookie`"
    );
    assert_eq!(
        problem.fix,
        "docker service update --label-add com.docker.lb.sticky_session_cookie=SID a"
    );
}

#[test]
fn a_virtual_ip_in_a_sticky_pool_is_fine() {
    let swarm = a_swarm()
        .service(sticky(a_service("old").serving("a.example"), "SID"))
        .service(vip(a_service("new").serving("a.example").created_at(9), "10.0.0.9"));
    let turn = routed(&swarm);
    assert_eq!(told(&turn, "new"), [Code::SharesHost]);
    let pool = pools(&turn).values().next().unwrap();
    assert!(matches!(pool.options.affinity, Affinity::Cookie(_)));
}

#[test]
fn the_incumbent_keeps_its_host_from_an_older_service() {
    let web = a_service("web").serving("a.example").created_at(5);
    let first = routed(&a_swarm().service(web.clone()));
    let older = sticky(a_service("older").serving("a.example").created_at(1), "SID");
    let both = a_swarm().service(web).service(older.clone());
    let second = route(&both.picture, &settings(), &Turn::resume(first.ledger), at(1));
    assert_eq!(told(&second, "older"), [Code::OptionsDiffer]);

    let alone = a_swarm().service(older);
    let third = route(&alone.picture, &settings(), &second, at(2));
    assert_eq!(told(&third, "older"), [], "the incumbent is gone");
}

#[test]
fn the_same_services_with_other_settings_are_another_pool() {
    let one = sticky(a_service("one").serving("a.example,b.example").created_at(1), "SID");
    let two = a_service("two").serving("b.example").created_at(2);
    let first = routed(&a_swarm().service(one.clone()).service(two));
    // `one` holds a.example and b.example, and `two` comes to hold c.example before they meet there.
    let two = a_service("two").serving("b.example,c.example,a.example").created_at(2);
    let second = route(
        &a_swarm().service(one.clone()).service(two.clone()).picture,
        &settings(),
        &first,
        at(1),
    );
    let one = one.label("hosts", "a.example,b.example,c.example");
    let third = route(&a_swarm().service(one).service(two).picture, &settings(), &second, at(2));
    let names: Vec<_> = pools(&third).keys().map(PoolName::as_str).collect();
    let [plain, hashed] = names[..] else { panic!("{names:?}") };
    assert_eq!(plain, "one+two");
    assert!(hashed.starts_with("one+two~") && hashed.len() == "one+two~".len() + 16, "{hashed}");
    assert_eq!(
        third.routing.pool_of(&Claim::try_from("c.example".to_owned()).unwrap()).unwrap().as_str(),
        plain
    );
    let shared: Vec<_> = pools(&second).keys().filter(|it| it.as_str() == hashed).collect();
    assert_eq!(shared.len(), 1, "the name does not depend on the other pool");
}

#[test]
fn a_pool_of_many_services_has_a_short_name_of_its_own() {
    let many = |count: u32| {
        let names = (0..count).map(|n| format!("a-service-with-quite-a-name-{n:02}"));
        names.fold(a_swarm(), |swarm, name| swarm.service(a_service(&name).serving("a.example")))
    };
    let name = |swarm: &Swarm| pools(&routed(swarm)).keys().next().unwrap().to_string();
    let (twenty, thirty) = (name(&many(20)), name(&many(30)));
    assert_eq!((twenty.len(), thirty.len()), (128 + 1 + 16, 128 + 1 + 16));
    assert_ne!(twenty, thirty);
}

#[test]
fn a_pool_never_has_the_name_of_another_or_of_the_controllers_cluster() {
    let swarm = a_swarm()
        .service(a_service("a").serving("both.example,a.example"))
        .service(a_service("b").serving("both.example"))
        .service(a_service("a+b").serving("other.example"))
        .service(a_service("c+d").serving("c.example"))
        .service(a_service("c;d|*\n/").serving("d.example"))
        .service(a_service("").serving("e.example"))
        .service(a_service("xds").serving("xds.example"));
    let turn = routed(&swarm);
    let names: Vec<_> = pools(&turn).keys().map(PoolName::as_str).collect();
    let told: Vec<_> = names.iter().map(|name| name.split('~').next().unwrap()).collect();
    assert_eq!(
        BTreeSet::from_iter(told),
        BTreeSet::from(["", "a", "a+b", "c+d", "c_d____", "xds"])
    );
    assert_eq!(names.len(), 7, "{names:?}");
    let plain: Vec<_> = names.iter().filter(|name| !name.contains('~')).collect();
    assert_eq!(plain, [&"a", &"a+b"]);
}

#[test]
fn two_default_backends_answer_together_and_both_are_told() {
    let swarm = a_swarm()
        .service(a_service("one").label("port", "80").label("default_backend", "true"))
        .service(a_service("two").label("port", "80").label("default_backend", "true"))
        .task("one", "10.0.0.2")
        .task("two", "10.0.0.3");
    let turn = routed(&swarm);
    assert_eq!(shown(&turn), ["* -> one+two: 10.0.0.2:80 10.0.0.3:80"]);
    for service in ["one", "two"] {
        assert_eq!(told(&turn, service), [Code::TwoDefaultBackends], "{service}");
        let problem = &turn.routing.services[&ServiceId::new(format!("id-{service}"))].problems[0];
        let message = &problem.message;
        assert!(message.contains("`one`") && message.contains("`two`"), "{message}");
        assert!(
            problem
                .fix
                .ends_with("docker service update --label-rm com.docker.lb.default_backend two"),
            "{}",
            problem.fix
        );
    }
}

#[test]
fn the_operator_may_keep_services_from_joining() {
    let in_stack = |name: &str, stack: &str, age: u64, hosts: &str| {
        let mut service = a_service(name).serving(hosts).created_at(age);
        service.labels.insert("com.docker.stack.namespace".to_owned(), stack.to_owned());
        service
    };
    let swarm = a_swarm()
        .service(in_stack("web", "shop", 1, "a.example"))
        .service(in_stack("canary", "shop", 2, "a.example"))
        .service(in_stack("thief", "other", 3, "a.example,b.example"))
        .service(a_service("loner").serving("a.example").created_at(4));
    let pools = |turn: &Turn| -> Vec<_> { pools(turn).keys().map(ToString::to_string).collect() };
    let stack = sharing(&swarm, ShareHosts::Stack);
    assert_eq!(pools(&stack), ["canary+web", "thief"]);
    assert_eq!(told(&stack, "canary"), [Code::SharesHost]);
    assert_eq!(told(&stack, "thief"), [Code::HostRefused]);
    assert_eq!(told(&stack, "loner"), [Code::HostRefused]);
    assert_eq!(*standing_of(&stack, "loner"), Standing::Rejected);
    let Standing::Published { claims, .. } = standing_of(&stack, "thief") else { panic!() };
    assert_eq!(claims.len(), 1, "its other host is its own");

    let none = sharing(&swarm, ShareHosts::None);
    assert_eq!(pools(&none), ["thief", "web"]);
    assert_eq!(told(&none, "web"), []);
    let any = sharing(&swarm, ShareHosts::Any);
    assert_eq!(pools(&any), ["canary+loner+thief+web", "thief"]);
}

#[test]
fn two_services_without_a_stack_are_not_of_one() {
    let swarm = a_swarm()
        .service(a_service("one").serving("a.example"))
        .service(a_service("two").serving("a.example"));
    assert_eq!(told(&sharing(&swarm, ShareHosts::Stack), "two"), [Code::HostRefused]);
}

#[test]
fn a_label_that_breaks_keeps_the_route_and_does_so_after_a_restart() {
    let web = a_service("web").serving("a.example");
    let first = routed(&a_swarm().service(web.clone()).task("web", "10.0.0.2"));
    let broken =
        a_swarm().service(web.label("port", "x").label("hosts", "a b")).task("web", "10.0.0.2");
    let mut turn = first;
    for time in 1..4 {
        let ledger = serde_json::to_string(&turn.ledger).unwrap();
        let last = Turn::resume(serde_json::from_str(&ledger).unwrap());
        turn = route(&broken.picture, &settings(), &last, at(time));
        assert_eq!(shown(&turn), ["a.example -> web: 10.0.0.2:80"]);
        assert_eq!(told(&turn, "web"), [Code::NoHosts, Code::BadHost, Code::BadPort]);
    }
    let unknown = routed(&broken);
    assert_eq!(*standing_of(&unknown, "web"), Standing::Rejected, "it never worked");
}

#[test]
fn many_context_roots_share_a_host() {
    let swarm = a_swarm()
        .service(a_service("web").serving("a.example"))
        .service(a_service("api").serving("a.example").label("context_root", "/api"))
        .service(a_service("docs").serving("a.example,b.example").label("context_root", "/docs"))
        .task("web", "10.0.0.2")
        .task("api", "10.0.0.3");
    let turn = routed(&swarm);
    assert_eq!(
        shown(&turn),
        [
            "a.example -> web: 10.0.0.2:80",
            "a.example/api -> api: 10.0.0.3:80",
            "a.example/docs -> docs:",
            "b.example/docs -> docs:",
        ]
    );
    for service in ["web", "api", "docs"] {
        assert_eq!(told(&turn, service), [], "{service}");
    }
}

#[test]
fn each_cluster_has_routes_of_its_own() {
    let swarm = a_swarm()
        .service(a_service("web").serving("a.example"))
        .service(a_service("east").serving("a.example").label("service_cluster", "east"));
    let turn = routed(&swarm);
    assert_eq!(shown(&turn), ["a.example -> web:", "east|a.example -> east:"]);
    assert_eq!(told(&turn, "east"), [], "they do not share the host");
}

fn the_site<'a>(turn: &'a Turn, host: &str) -> &'a SiteRoutes {
    let host = Host::try_from(host.to_owned()).unwrap();
    &turn.routing.clusters[&NodeCluster::default()].sites[&host]
}

#[test]
fn the_holder_of_a_host_decides_about_tls_and_redirects() {
    let web = a_service("web").serving("a.example").created_at(5).label("ssl_cert", "web");
    let api = a_service("api")
        .serving("a.example")
        .label("context_root", "/api")
        .label("ssl_cert", "api")
        .label("ssl_only", "true")
        .created_at(9);
    let turn = routed(&a_swarm().service(web.clone()).service(api.clone()));
    let SiteTls::Terminated(certificate) = &the_site(&turn, "a.example").tls else {
        panic!("{turn:?}")
    };
    assert_eq!(certificate.chain.name.as_str(), "web");
    assert_eq!(the_site(&turn, "a.example").plain, Plain::Served);
    assert_eq!((told(&turn, "web"), told(&turn, "api")), (vec![], vec![Code::OptionsDiffer]));
    let problem = &turn.routing.services[&ServiceId::new("id-api")].problems[0];
    assert_eq!(
        problem.message,
        "host `a.example` is held by `web`, whose `ssl_cert`, `ssl_only` apply to all of its paths; \
         set them there"
    );

    let older = api.created_at(1);
    let second =
        route(&a_swarm().service(web).service(older.clone()).picture, &settings(), &turn, at(1));
    assert_eq!(the_site(&second, "a.example").tls, the_site(&turn, "a.example").tls, "incumbent");
    let third = route(&a_swarm().service(older).picture, &settings(), &second, at(2));
    assert_eq!(the_site(&third, "a.example").plain, Plain::ToHttps);
}

#[test]
fn who_asks_for_nothing_of_a_host_is_told_nothing() {
    let web = a_service("web").serving("a.example").label("ssl_cert", "web").label("ssl_only", "1");
    let api = a_service("api").serving("a.example").label("context_root", "/api").created_at(9);
    let turn = routed(&a_swarm().service(web).service(api));
    assert_eq!((told(&turn, "web"), told(&turn, "api")), (vec![], vec![]));
}

#[test]
fn the_proxies_need_the_networks_and_secrets_of_what_they_answer() {
    let swarm = a_swarm()
        .service(a_service("web").serving("a.example").label("ssl_cert", "c").label("ssl_key", "k"))
        .service(a_service("bad").serving("b.example").label("port", "x").label("ssl_cert", "d"));
    let turn = routed(&swarm);
    let needs = turn.routing.clusters[&NodeCluster::default()].needs();
    assert_eq!(needs.networks.iter().map(NetworkId::as_str).collect::<Vec<_>>(), ["id-net"]);
    assert_eq!(needs.secrets.iter().map(SecretName::as_str).collect::<Vec<_>>(), ["c", "k"]);
}

#[test]
fn tasks_that_cannot_prove_their_name_get_nothing() {
    let web = a_service("web")
        .serving("a.example")
        .label("ssl_backend", "true")
        .label("ssl_backend_tls_verify", "required");
    let swarm = a_swarm().task("web", "10.0.0.2");
    let proved = swarm.clone().service(web.clone());
    assert_eq!(shown(&routed(&proved)), ["a.example -> web: 10.0.0.2:80"]);
    let barred = swarm.service(web.label("waggle.backend_ca", "../ca"));
    assert_eq!(shown(&routed(&barred)), ["a.example -> web:"]);
}

#[test]
fn the_order_in_which_a_stack_is_made_does_not_decide_who_holds_its_host() {
    let web = a_service("web").serving("a.example").created_at(9).label("ssl_cert", "web");
    let api = a_service("api").serving("a.example").label("context_root", "/api").created_at(5);
    let first = routed(&a_swarm().service(api.clone()));
    assert_eq!(the_site(&first, "a.example").tls, SiteTls::None);
    let both = a_swarm().service(api).service(web);
    let second = route(&both.picture, &settings(), &first, at(1));
    assert!(matches!(the_site(&second, "a.example").tls, SiteTls::Terminated(_)));
    assert_eq!((told(&second, "web"), told(&second, "api")), (vec![], vec![]));
}

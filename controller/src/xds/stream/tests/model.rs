//! Random histories against a small model of Envoy.
//!
//! The model keeps what it was told and checks each response as it reads it. At the end of a history
//! it accepts all that comes, but for single resources that it cannot bear: then it must hold exactly
//! what it asked for of the newest world, but for those.

use proptest::prelude::*;

use super::*;

/// The clusters that there may be, and the name of all.
const NAMES: [&str; 4] = ["a", "b", "c", "*"];

/// The hosts that there may be, one that there is not, and the name of all.
const HOSTS: [&str; 4] = ["r/x", "r/y", "q/x", "*"];

/// What may happen. Kinds and names are indices.
#[derive(Debug, Clone)]
enum Event {
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Read,
    Accept(usize),
    /// Rejects; having applied all of it, or nothing.
    Reject(usize, bool),
    /// Rejects from now on what has this name and version; having applied all else, or nothing.
    Poison(usize, usize, u8, bool),
    Stale(usize, usize),
    World(World),
    Reconnect,
}

/// What is in a world: per name a cluster's and its endpoints' version and whether a route leads
/// there; the hosts' versions, and which of the clusters that there are they lead to; the versions of
/// the listener and the routes.
#[derive(Debug, Clone)]
struct World {
    pools: [Option<(u8, u8, bool)>; 3],
    hosts: [Option<(u8, [bool; 3])>; 2],
    listener: u8,
    routes: u8,
}

impl World {
    fn line(&self) -> String {
        let named = || NAMES.iter().zip(&self.pools).filter_map(|(n, p)| p.map(|p| (n, p)));
        let pools = named().map(|(name, (cluster, ends, _))| format!("{name}/{cluster}/{ends} "));
        let pools: String = pools.collect();
        let to: Vec<_> = named().filter(|(_, pool)| pool.2).map(|(name, _)| *name).collect();
        let to = to.join(",");
        let hosts = ["x", "y"].into_iter().zip(self.hosts).filter_map(|(name, host)| {
            let (version, leads) = host?;
            let there = NAMES.iter().zip(&self.pools).zip(leads);
            let to = there.filter(|((_, pool), leads)| pool.is_some() && *leads);
            let to = to.map(|((name, _), _)| *name).collect::<Vec<_>>().join(",");
            Some(format!("r/{name}/{version}:{to}={to} "))
        });
        let hosts: String = hosts.collect();
        // Content decides the version: other targets, another version.
        format!("{pools} r/{}:{to}={to} {hosts} http/{}>r", self.routes, self.listener)
    }
}

type Versions = BTreeMap<String, String>;

/// A model of Envoy.
struct Model {
    client: Client,
    wanted: BTreeMap<Kind, BTreeSet<String>>,
    opened: BTreeSet<Kind>,
    /// What it runs on; and of that, what it told the server that it accepts.
    runs: BTreeMap<Kind, Versions>,
    accepted: BTreeMap<Kind, Versions>,
    unanswered: BTreeMap<Kind, Response>,
    answered: BTreeMap<Kind, String>,
    /// Changed clusters that have not heard of their endpoints since.
    warming: BTreeSet<String>,
    ever_rejected: bool,
    poison: Vec<(Kind, &'static str, u8, bool)>,
    /// State of the world cannot tell a new controller what it has.
    forgotten: bool,
}

/// The last is for delta alone.
const FOLLOWED: [Kind; 5] =
    [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Routes, Kind::VirtualHost];

impl Model {
    fn new(variant: Variant) -> Self {
        let wanted = FOLLOWED.map(|kind| {
            let names: &[&str] = match kind {
                Kind::VirtualHost if variant == Variant::Whole => &[],
                Kind::Cluster | Kind::Listener | Kind::VirtualHost => &["*"],
                Kind::Routes => &["r"],
                _ => &["a", "b"],
            };
            (kind, names.iter().map(|&name| name.into()).collect())
        });
        let mut model = Self {
            client: Client::new(variant, "r/0= http/0>r"),
            wanted: wanted.into(),
            opened: BTreeSet::new(),
            runs: FOLLOWED.map(|kind| (kind, Versions::new())).into(),
            accepted: FOLLOWED.map(|kind| (kind, Versions::new())).into(),
            unanswered: BTreeMap::new(),
            answered: BTreeMap::new(),
            warming: BTreeSet::new(),
            ever_rejected: false,
            poison: Vec::new(),
            forgotten: false,
        };
        model.connect();
        model
    }

    fn is_delta(&self) -> bool {
        self.client.variant == Variant::Delta
    }

    fn wants(&self, kind: Kind, name: &str) -> bool {
        self.wanted[&kind].contains(name) || self.wanted[&kind].contains("*")
    }

    /// Opens each type, in Envoy's order, before anything is read.
    fn connect(&mut self) {
        self.client.stream = Stream::new("n".into());
        self.unanswered.clear();
        self.answered.clear();
        self.opened.clear();
        self.warming.clear();
        // What was applied but not accepted is not told: leave it out, as nobody could remove it.
        if !self.is_delta() {
            self.start_anew_where_names_are_asked_for();
        }
        self.runs.clone_from(&self.accepted);
        self.forgotten = !self.is_delta();
        for kind in FOLLOWED {
            let names: Vec<_> = self.wanted[&kind].iter().cloned().collect();
            if names.is_empty() {
                continue;
            }
            self.opened.insert(kind);
            let names = if self.is_delta() {
                let initial = self.accepted[&kind].clone().into_iter().collect();
                Names::Delta { subscribe: names, unsubscribe: vec![], initial }
            } else {
                Names::Whole(names)
            };
            self.client.send(kind, "of-another-stream", None, names);
        }
    }

    /// State of the world cannot tell a new server what the client has, and unknown names are
    /// answered with silence: of clusters and listeners that are asked for by name, nobody would
    /// ever say that they are gone. Envoy asks for all of them.
    fn start_anew_where_names_are_asked_for(&mut self) {
        for kind in [Kind::Cluster, Kind::Listener] {
            if !self.wanted[&kind].contains("*") {
                self.accepted(kind).clear();
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let name_of = |kind: usize, name: usize| match FOLLOWED[kind] {
            Kind::VirtualHost => HOSTS[name],
            _ => NAMES[name],
        };
        match event {
            Event::Subscribe(kind, name) => self.change(FOLLOWED[kind], name_of(kind, name), true),
            Event::Unsubscribe(kind, name) => {
                self.change(FOLLOWED[kind], name_of(kind, name), false);
            }
            Event::Read => drop(self.read()),
            Event::Accept(kind) => self.accept(FOLLOWED[kind]),
            Event::Reject(kind, applied) => {
                let response = self.unanswered.get(&FOLLOWED[kind]).cloned();
                self.ever_rejected |= response.is_some();
                self.reject(FOLLOWED[kind], response.as_ref().filter(|_| applied));
            }
            Event::Poison(kind, name, version, applied) => {
                let kind = FOLLOWED[kind];
                let name = match kind {
                    Kind::Listener => "http",
                    Kind::Routes => "r",
                    Kind::VirtualHost => ["r/x", "r/y"][name % 2],
                    _ => NAMES[name],
                };
                self.poison.push((kind, name, version, applied));
            }
            Event::Stale(kind, name) => self.stale(FOLLOWED[kind], name_of(kind, name)),
            Event::World(world) => self.client.set(&world.line()),
            Event::Reconnect => self.connect(),
        }
    }

    fn change(&mut self, kind: Kind, name: &str, more: bool) {
        if kind == Kind::VirtualHost && !self.is_delta() {
            return;
        }
        // State of the world names what it wants in its next answer, if it owes one.
        if !self.is_delta() && self.unanswered.contains_key(&kind) {
            return;
        }
        if !self.opened.contains(&kind) && !more {
            return;
        }
        self.opened.insert(kind);
        let wanted = self.wanted.get_mut(&kind).unwrap();
        if more {
            wanted.insert(name.into())
        } else {
            wanted.remove(name)
        };
        let wanted = wanted.clone();
        let names = if self.is_delta() {
            let (subscribe, unsubscribe) =
                if more { (owned(&[name]), vec![]) } else { (vec![], owned(&[name])) };
            Names::Delta { subscribe, unsubscribe, initial: HashMap::new() }
        } else {
            Names::Whole(wanted.iter().cloned().collect())
        };
        let nonce = self.answered.get(&kind).cloned().unwrap_or_default();
        self.client.send(kind, &nonce, None, names);

        let is_wanted = |name: &String| wanted.contains(name) || wanted.contains("*");
        self.runs(kind).retain(|name, _| is_wanted(name));
        self.accepted(kind).retain(|name, _| is_wanted(name));
        if matches!(kind, Kind::Cluster | Kind::Endpoints) {
            self.warming.retain(is_wanted);
        }
        if kind == Kind::Routes && self.runs[&kind].is_empty() {
            self.lose_hosts();
        }
    }

    fn stale(&mut self, kind: Kind, name: &str) {
        if !self.opened.contains(&kind) {
            return;
        }
        let names = if self.is_delta() {
            Names::Delta { subscribe: vec![], unsubscribe: vec![], initial: HashMap::new() }
        } else {
            Names::Whole(owned(&[name]))
        };
        self.client.send(kind, "stale", Some("stale"), names);
    }

    fn read(&mut self) -> Option<Response> {
        let response = self.client.read()?;
        let kind = response.kind;
        assert!(!self.unanswered.contains_key(&kind), "two responses of {kind:?} at a time");
        for name in response.resources.iter().map(|it| &it.name) {
            assert!(self.wants(kind, name), "{kind:?} {name} was never asked for");
            assert!(!response.removed.contains(&name.to_string()), "{name} is there and gone");
        }
        match kind {
            Kind::Cluster => self.check_clusters(&response),
            Kind::VirtualHost => self.check_hosts(&response),
            Kind::Endpoints => {
                let told = |name: &String| response.resources.iter().any(|it| *it.name == **name);
                self.warming.retain(|name| !told(name));
            }
            Kind::Routes => self.check_routes(&response),
            _ => {}
        }
        self.unanswered.insert(kind, response.clone());
        Some(response)
    }

    /// No cluster goes that a route leads to; each that changed hears of its endpoints after that.
    fn check_clusters(&mut self, response: &Response) {
        let mut after = self.runs[&Kind::Cluster].clone();
        self.apply(response, &mut after);
        for (version, name) in self.runs[&Kind::Cluster].iter().map(|(name, v)| (v, name)) {
            let goes = !after.contains_key(name);
            let runs = [Kind::Routes, Kind::VirtualHost].map(|kind| self.runs[&kind].values());
            let runs = runs.into_iter().flatten().map(String::as_str);
            let routes: Vec<_> = runs.chain(self.told_routes()).collect();
            let used = routes.iter().any(|routes| targets(routes).contains(&name.as_str()));
            let accepted = self.accepted[&Kind::Cluster].get(name) == Some(version);
            assert!(!(goes && used && accepted) || self.forgotten, "{name} goes under {routes:?}");
            if goes {
                self.warming.remove(name);
            }
        }
        for (name, version) in &after {
            let has_changed = self.accepted[&Kind::Cluster].get(name) != Some(version);
            if has_changed && self.wants(Kind::Endpoints, name) {
                self.warming.insert(name.clone());
            }
        }
    }

    fn told_routes(&self) -> impl Iterator<Item = &str> {
        let kinds = [Kind::Routes, Kind::VirtualHost].into_iter();
        let told = kinds.filter_map(|kind| self.unanswered.get(&kind));
        told.flat_map(|told| told.resources.iter().map(|routes| &*routes.version))
    }

    /// No route leads to a cluster that was not accepted, but to one that is refused.
    fn check_routes(&self, response: &Response) {
        let clusters = self.client.stream.subscriptions.get(&Kind::Cluster);
        for routes in &response.resources {
            for cluster in targets(&routes.version) {
                let has = self.accepted[&Kind::Cluster].contains_key(cluster)
                    || clusters.is_some_and(|clusters| clusters.refuses(cluster));
                assert!(has || !self.wants(Kind::Cluster, cluster), "no {cluster} for {routes:?}");
            }
        }
    }

    /// No host comes before its routes: Envoy would lose it.
    fn check_hosts(&self, response: &Response) {
        self.check_routes(response);
        let has_routes =
            self.accepted[&Kind::Routes].contains_key("r") || !self.opened.contains(&Kind::Routes);
        assert!(has_routes || response.resources.is_empty(), "{response:?} without routes");
    }

    /// Routes that Envoy did not have begin without hosts; they are told again.
    fn lose_hosts(&mut self) {
        self.runs(Kind::VirtualHost).clear();
        // Envoy would tell a next stream that it has them. Nobody could know that it does not.
        self.accepted(Kind::VirtualHost).clear();
    }

    fn apply(&self, response: &Response, versions: &mut Versions) {
        let whole = matches!(response.kind, Kind::Cluster | Kind::Listener) && !self.is_delta();
        if whole {
            versions.clear();
        }
        for resource in &response.resources {
            if self.wants(response.kind, &resource.name) {
                versions.insert(resource.name.to_string(), resource.version.to_string());
            }
        }
        response.removed.iter().for_each(|name| drop(versions.remove(name)));
    }

    fn accept(&mut self, kind: Kind) {
        let Some(mut response) = self.unanswered.get(&kind).cloned() else { return };
        let poison = response.resources.iter().find_map(|it| self.poison(it));
        if let Some(&(.., applied)) = poison {
            response.resources.retain(|it| self.poison(it).is_none());
            return self.reject(kind, Some(&response).filter(|_| applied));
        }
        self.unanswered.remove(&kind);
        if kind == Kind::Routes && self.runs[&kind].is_empty() {
            self.lose_hosts();
        }
        for store in [Model::runs, Model::accepted] {
            let mut versions = std::mem::take(store(self, kind));
            self.apply(&response, &mut versions);
            *store(self, kind) = versions;
        }
        let heard = self.answer(kind, &response, None);
        assert_eq!(heard, Heard::Nothing);
    }

    fn poison(&self, resource: &Resource) -> Option<&(Kind, &'static str, u8, bool)> {
        self.poison.iter().find(|poison| is_poison(poison, resource))
    }

    /// Rejects the last response of a kind, having applied what may be some of it.
    fn reject(&mut self, kind: Kind, applied: Option<&Response>) {
        let Some(response) = self.unanswered.remove(&kind) else { return };
        if let Some(applied) = applied {
            let mut versions = std::mem::take(self.runs(kind));
            self.apply(applied, &mut versions);
            *self.runs(kind) = versions;
        }
        let heard = self.answer(kind, &response, Some("no"));
        assert!(matches!(heard, Heard::Rejected(of, _) if of == kind), "{heard:?}");
    }

    fn runs(&mut self, kind: Kind) -> &mut Versions {
        self.runs.get_mut(&kind).unwrap()
    }

    fn accepted(&mut self, kind: Kind) -> &mut Versions {
        self.accepted.get_mut(&kind).unwrap()
    }

    fn answer(&mut self, kind: Kind, response: &Response, error: Option<&str>) -> Heard {
        self.answered.insert(kind, response.nonce.clone());
        let names = if self.is_delta() {
            Names::Delta { subscribe: vec![], unsubscribe: vec![], initial: HashMap::new() }
        } else {
            Names::Whole(self.wanted[&kind].iter().cloned().collect())
        };
        self.client.send(kind, &response.nonce, error, names)
    }

    /// Accepts all that comes until nothing does.
    fn settle(&mut self) {
        for _ in 0..100 {
            for kind in FOLLOWED {
                self.accept(kind);
            }
            if self.read().is_none() {
                self.forgotten = false;
                return;
            }
        }
        panic!("the server does not come to rest");
    }

    /// Whether it asked for a resource, and where that is a host for its routes too.
    fn is_to_have(&self, resource: &Resource) -> bool {
        let is_host = resource.kind == Kind::VirtualHost;
        let has_routes =
            self.accepted[&Kind::Routes].contains_key("r") || !self.opened.contains(&Kind::Routes);
        self.wants(resource.kind, &resource.name) && (!is_host || has_routes)
    }

    /// The client holds what it asked for of the newest world, whatever it refuses beside that.
    fn check_good(&self) {
        for kind in FOLLOWED {
            let there = self.client.world.of(kind);
            let is_whole = !self.is_delta() && matches!(kind, Kind::Cluster | Kind::Listener);
            // Where all there is is told, what is bad stands for all.
            if is_whole && self.poison.iter().any(|(of, ..)| *of == kind) {
                continue;
            }
            let wanted = there.values().filter(|it| self.is_to_have(it));
            for good in wanted.filter(|it| self.poison(it).is_none()) {
                let runs = self.runs[&kind].get(&*good.name).map(String::as_str);
                assert_eq!(runs, Some(&*good.version), "{kind:?} {}", good.name);
            }
        }
    }

    /// The client holds what it asked for of the newest world, and nothing else.
    fn check_all(&self) {
        assert!(self.warming.is_empty(), "{:?} never heard of their endpoints", self.warming);
        for kind in FOLLOWED {
            let there = self.client.world.of(kind);
            let wanted = there.values().filter(|it| self.is_to_have(it));
            let text = |it: &Resource| (it.name.to_string(), it.version.to_string());
            let wanted: Versions = wanted.map(text).collect();
            let mut runs = self.runs[&kind].clone();
            if !self.is_delta() && kind == Kind::Endpoints {
                // State of the world cannot tell that endpoints are gone.
                runs.retain(|name, _| there.contains_key(&**name));
            }
            assert_eq!(runs, wanted, "{kind:?}");
        }
    }
}

fn is_poison(&(kind, name, version, _): &(Kind, &str, u8, bool), resource: &Resource) -> bool {
    let (numbered, _) = resource.version.split_once(':').unwrap_or((&resource.version, ""));
    (kind, name, version.to_string().as_str()) == (resource.kind, &*resource.name, numbered)
}

/// The clusters that routes of this version lead to.
fn targets(routes: &str) -> Vec<&str> {
    let (_, targets) = routes.split_once(':').unwrap_or_default();
    targets.split(',').filter(|name| !name.is_empty()).collect()
}

fn worlds() -> impl Strategy<Value = World> {
    let pool = || prop::option::weighted(0.7, (0..3_u8, 0..3_u8, any::<bool>()));
    let host = || prop::option::of((0..3_u8, any::<[bool; 3]>()));
    let parts = ([pool(), pool(), pool()], [host(), host()], 0..3_u8, 0..3_u8);
    parts.prop_map(|(pools, hosts, listener, routes)| World { pools, hosts, listener, routes })
}

fn events() -> impl Strategy<Value = Event> {
    let kind = 0..FOLLOWED.len();
    let name = 0..NAMES.len();
    prop_oneof![
        2 => (kind.clone(), name.clone()).prop_map(|(kind, name)| Event::Subscribe(kind, name)),
        1 => (kind.clone(), name.clone()).prop_map(|(kind, name)| Event::Unsubscribe(kind, name)),
        8 => Just(Event::Read),
        6 => kind.clone().prop_map(Event::Accept),
        1 => (kind.clone(), any::<bool>()).prop_map(|(kind, applied)| Event::Reject(kind, applied)),
        1 => (kind.clone(), name.clone(), 0..3_u8, any::<bool>())
            .prop_map(|(kind, name, version, applied)| Event::Poison(kind, name, version, applied)),
        1 => (kind, name).prop_map(|(kind, name)| Event::Stale(kind, name)),
        5 => worlds().prop_map(Event::World),
        1 => Just(Event::Reconnect),
    ]
}

fn history(variant: Variant, events: Vec<Event>) {
    let mut model = Model::new(variant);
    for event in events {
        model.happen(event);
    }
    model.settle();
    if !model.ever_rejected {
        model.check_good();
        if model.poison.is_empty() {
            model.check_all();
        }
    }
    let hosts = [Some((8, [true, false, true])); 2];
    let line = World { pools: [Some((8, 8, true)); 3], hosts, listener: 8, routes: 8 }.line();
    for line in [line.as_str(), "a/9/9 r/9:a=a r/y/9:a=a http/9>r"] {
        model.client.set(line);
        model.settle();
        model.check_all();
        model.client.set(line);
        assert_eq!(model.client.read(), None, "an equal world is silent");
    }
}

#[test]
fn a_cluster_asked_for_again_before_it_was_accepted_outlives_its_routes() {
    let world = |pools| Event::World(World { pools, hosts: [None; 2], listener: 0, routes: 0 });
    let (clusters, a, everything) = (0, 0, 3);
    let mut events = vec![
        Event::Unsubscribe(clusters, everything),
        Event::Reconnect,
        world([Some((0, 0, true)), None, None]),
    ];
    events.extend([Event::Read, Event::Read, Event::Read]);
    events.extend([Event::Subscribe(clusters, everything), Event::Read]);
    events.extend([Event::Subscribe(clusters, a), world([None; 3])]);
    history(Variant::Delta, events);
}

proptest! {
    // Each build plays other histories; whoever works on this module plays more of them.
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn delta_ends_at_the_newest_world_whatever_happens(
        events in prop::collection::vec(events(), 0..60)
    ) {
        history(Variant::Delta, events);
    }

    #[test]
    fn state_of_the_world_ends_at_the_newest_world_whatever_happens(
        events in prop::collection::vec(events(), 0..60)
    ) {
        history(Variant::Whole, events);
    }
}

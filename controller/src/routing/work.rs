//! One turn: what has changed since the last one, and what follows from that.
//!
//! Each step marks what the next one has to make anew:
//!
//! ```text
//! tasks ──────────────────────────────────────▶ pools ─▶ outcomes
//! services ─▶ readings ─▶ hosts (their claims) ──▲ ▲        ▲
//!                 │            └─────────────────┼─┼────────┤
//!                 └──────────────────────────────┘ └ those with leaving endpoints
//! ```
//!
//! Without a memo everything has changed: then it is a turn like any other, from an empty Swarm to
//! this one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::ownership::{self, Grant};
use super::pool::{self, Key};
use super::{
    Ledger, Mode, Outcome, PoolName, Route, Routing, Settings, Standing, Turn, leaving, site,
};
use crate::labels::{
    self, Backend, Claim, Intent, Kept, NodeCluster, PathPrefix, Problem, Proxies, Reading,
    Running, SecretName, Site, Surroundings,
};
use crate::persistent::Map;
use crate::swarm::{NetworkId, Picture, ServiceId, TaskId, TaskState};

/// What a turn was made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo {
    /// None where nothing may be taken over into the next turn.
    settings: Option<Settings>,
    picture: Picture,
    running: Running,
    intents: Map<ServiceId, Intent>,
    /// What is wrong with the labels of each service that has any of ours.
    problems: Map<ServiceId, Vec<Problem>>,
    /// Services whose labels may mean something else after what was kept of them now.
    unsettled: BTreeSet<ServiceId>,
    claims: Map<Claim, Claimed>,
    uses: Map<Site, Uses>,
    pools: Map<Key, Answering>,
    /// Pools whose endpoints leave.
    leaving: BTreeSet<Key>,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claimed {
    claimants: BTreeSet<ServiceId>,
    grant: Grant,
    key: Key,
    /// What those who meet here should know of each other.
    problems: Vec<Problem>,
}

/// What the proxies need for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Uses {
    networks: BTreeSet<NetworkId>,
    secrets: BTreeMap<SecretName, BTreeSet<ServiceId>>,
}

/// A pool's name, and the claims that it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answering {
    name: PoolName,
    claims: BTreeSet<Claim>,
}

/// A turn in the making.
pub(super) struct Work<'a> {
    picture: &'a Picture,
    settings: &'a Settings,
    last: &'a Turn,
    now: SystemTime,
    memo: Memo,
    routing: Routing,
    ledger: Ledger,
    missed: BTreeMap<TaskId, SystemTime>,
    touched: Touched,
}

/// What has to be made anew.
#[derive(Default)]
struct Touched {
    /// Hosts, each with those who ask for one of its paths for the first time, or no longer.
    sites: BTreeMap<Site, BTreeMap<Claim, BTreeSet<ServiceId>>>,
    /// Services whose pools may have changed.
    members: BTreeSet<ServiceId>,
    pools: BTreeSet<Key>,
    outcomes: BTreeSet<ServiceId>,
}

impl Uses {
    /// What a claim of the host needs: the networks of all who answer, and the secrets of those who
    /// decide.
    fn note(
        &mut self,
        claimed: &Claimed,
        holder: Option<&Intent>,
        intents: &Map<ServiceId, Intent>,
    ) {
        let members = claimed.key.members(intents);
        self.networks.extend(members.map(|member| member.network.clone()));
        for owner in [intents.get(&claimed.grant.owner), holder].into_iter().flatten() {
            for secret in &owner.secrets {
                let users = self.secrets.entry(secret.clone()).or_default();
                users.insert(owner.service.clone());
            }
        }
    }
}

impl<'a> Work<'a> {
    /// The turn after `last`. Where services are left out, or the settings are others, nothing of
    /// it is taken over but what it remembers.
    pub(super) fn after(
        last: &'a Turn,
        picture: &'a Picture,
        settings: &'a Settings,
        now: SystemTime,
    ) -> Self {
        let goes_on = last.left_out.is_empty() && last.memo.settings.as_ref() == Some(settings);
        let (memo, routing, ledger) = if goes_on {
            (last.memo.clone(), Routing::clone(&last.routing), last.ledger.clone())
        } else {
            Default::default()
        };
        let (missed, touched) = (BTreeMap::new(), Touched::default());
        Self { picture, settings, last, now, memo, routing, ledger, missed, touched }
    }

    /// Takes all steps.
    pub(super) fn turn(mut self) -> Turn {
        let before = self.memo.running.clone();
        self.find_running();
        self.read_labels(&before);
        self.settle_hosts();
        self.fill_pools();
        self.tell_outcomes();
        self.hold_for_those_left_out();
        self.memo.picture = self.picture.clone();
        // Whoever is left out now is looked at again in the next turn.
        let goes_on = self.last.left_out.is_empty();
        self.memo.settings = goes_on.then(|| self.settings.clone());
        let first = self.missed.values().min();
        Turn {
            routing: Arc::new(self.routing),
            ledger: self.ledger,
            left_out: BTreeSet::new(),
            wake_at: first.and_then(|missed| missed.checked_add(self.settings.linger)),
            missed: self.missed,
            memo: self.memo,
        }
    }

    /// Follows the tasks that run.
    fn find_running(&mut self) {
        let before = self.memo.picture.tasks.clone();
        for change in before.changes(&self.picture.tasks) {
            for (task, is_there) in [(change.before, false), (change.after, true)] {
                let Some(task) = task.filter(|task| task.state == TaskState::Running) else {
                    continue;
                };
                self.touched.members.insert(task.service.clone());
                let mut tasks = self.memo.running.get(&task.service).cloned().unwrap_or_default();
                if is_there {
                    let shared = self.picture.tasks.get_shared(&task.id);
                    tasks.extend(shared.map(|shared| (task.id.clone(), Arc::clone(shared))));
                } else {
                    tasks.remove(&task.id);
                }
                if tasks.is_empty() {
                    self.memo.running.remove(&task.service);
                } else {
                    self.memo.running.insert(task.service.clone(), tasks);
                }
            }
        }
    }

    /// Reads the labels of all services that are not as they were, or whose surroundings are not.
    fn read_labels(&mut self, running_before: &Running) {
        let running = self.memo.running.clone();
        let proxies = Proxies::of(self.picture, &running, &self.settings.proxies);
        let before = self.memo.picture.clone();
        let mut due: BTreeSet<ServiceId> =
            before.services.changes(&self.picture.services).map(|it| it.key.clone()).collect();
        due.append(&mut std::mem::take(&mut self.memo.unsettled));
        if proxies != Proxies::of(&before, running_before, &self.settings.proxies) {
            due.extend(self.picture.services.keys().cloned());
        }
        let networks = before.networks.changes(&self.picture.networks);
        let networks: BTreeSet<_> = networks.map(|change| change.key).collect();
        if !networks.is_empty() {
            let attached = self.picture.services.iter().filter(|(_, service)| {
                service.networks.iter().any(|network| networks.contains(network))
            });
            due.extend(attached.map(|(id, _)| id.clone()));
        }
        let surroundings = Surroundings {
            networks: &self.picture.networks,
            proxy_networks: &self.settings.proxy_networks,
            proxies: &proxies,
        };
        for id in due {
            let service = self.picture.services.get(&id);
            let kept = self.last.ledger.kept.get(&id).cloned().unwrap_or_default();
            let reading = service.and_then(|service| labels::read(service, surroundings, &kept));
            if reading.as_ref().is_some_and(|reading| reading.kept != kept) {
                self.memo.unsettled.insert(id.clone());
            }
            // Problems of others tell a service's labels as they are written.
            let labels = before.services.get(&id).map(|service| &service.labels);
            let is_written_anew = labels != service.map(|service| &service.labels);
            self.take_reading(&id, reading, is_written_anew);
        }
    }

    fn take_reading(&mut self, id: &ServiceId, reading: Option<Reading>, is_written_anew: bool) {
        self.touched.members.insert(id.clone());
        self.touched.outcomes.insert(id.clone());
        let intent = if let Some(Reading { intent, kept, problems }) = reading {
            self.ledger.kept.put(id.clone(), kept);
            self.memo.problems.put(id.clone(), problems);
            intent.filter(|_| !self.last.left_out.contains(id))
        } else {
            self.ledger.kept.remove(id);
            self.memo.problems.remove(id);
            None
        };
        let before = self.memo.intents.get_shared(id).cloned();
        if before.as_deref() == intent.as_ref() && !is_written_anew {
            return;
        }
        for claim in before
            .iter()
            .flat_map(|intent| intent.claims())
            .chain(intent.iter().flat_map(Intent::claims))
        {
            let claims = self.touched.sites.entry(claim.site.clone()).or_default();
            claims.entry(claim).or_default().insert(id.clone());
        }
        match intent {
            Some(intent) => drop(self.memo.intents.put(id.clone(), intent)),
            None => drop(self.memo.intents.remove(id)),
        }
    }

    /// Settles who answers for the hosts that services ask for anew, or no longer.
    fn settle_hosts(&mut self) {
        let before = self.memo.uses.clone();
        for (site, asked) in std::mem::take(&mut self.touched.sites) {
            self.settle_host(&site, asked);
        }
        let changes = before.changes(&self.memo.uses);
        let clusters: BTreeSet<_> = changes.map(|change| change.key.cluster.clone()).collect();
        for cluster in clusters {
            self.sum_up(&cluster);
        }
    }

    fn settle_host(&mut self, site: &Site, mut asked: BTreeMap<Claim, BTreeSet<ServiceId>>) {
        let root = Claim { site: site.clone(), path: PathPrefix::root() };
        let before: Vec<(Claim, Claimed)> = self
            .memo
            .claims
            .starting_at(&root)
            .take_while(|(claim, _)| claim.site == *site)
            .map(|(claim, claimed)| (claim.clone(), claimed.clone()))
            .collect();
        for (claim, _) in &before {
            asked.entry(claim.clone()).or_default();
        }
        let before: BTreeMap<_, _> = before.into_iter().collect();
        let grants: Vec<_> = asked
            .into_iter()
            .map(|(claim, changed)| {
                let mut claimants =
                    before.get(&claim).map(|it| it.claimants.clone()).unwrap_or_default();
                claimants.extend(changed);
                claimants.retain(|id| self.asks_for(id, &claim));
                let grant = self.grant(&claim, &claimants);
                (claim, claimants, grant)
            })
            .collect();
        let owners = grants.iter().filter_map(|(claim, _, grant)| {
            Some((&claim.path, self.memo.intents.get(&grant.as_ref()?.owner)?))
        });
        let incumbent = self.last.ledger.sites.get(site);
        let holder = ownership::holder(&site.host, owners, incumbent).cloned();
        let (mut paths, mut uses) = (BTreeMap::new(), Uses::default());
        for (claim, claimants, grant) in grants {
            let before = before.get(&claim);
            let after =
                grant.and_then(|grant| self.claimed(&claim, claimants, grant, holder.as_ref()));
            if let Some(after) = &after {
                paths.extend(self.path_of(&claim, after));
                uses.note(after, holder.as_ref(), &self.memo.intents);
            }
            self.replace_claimed(claim, before, after);
        }
        if holder.is_some() {
            self.memo.uses.put(site.clone(), uses);
        } else {
            self.memo.uses.remove(site);
        }
        self.put_site(site, paths, holder.as_ref());
    }

    fn asks_for(&self, id: &ServiceId, claim: &Claim) -> bool {
        self.memo.intents.get(id).is_some_and(|intent| {
            intent.cluster == claim.site.cluster
                && intent.hosts.contains(&claim.site.host)
                && intent.paths.contains(&claim.path)
        })
    }

    fn grant(&self, claim: &Claim, claimants: &BTreeSet<ServiceId>) -> Option<Grant> {
        let claimants: Vec<_> =
            claimants.iter().filter_map(|id| self.memo.intents.get(id)).collect();
        let incumbent = self.last.ledger.holders.get(claim);
        ownership::grant(&claimants, incumbent, self.settings.share_hosts)
    }

    fn claimed(
        &self,
        claim: &Claim,
        claimants: BTreeSet<ServiceId>,
        grant: Grant,
        holder: Option<&Intent>,
    ) -> Option<Claimed> {
        let intents = &self.memo.intents;
        let share = self.settings.share_hosts;
        let problems = ownership::problems(claim, &grant, holder, intents, self.picture, share);
        let key = Key::new(intents.get(&grant.owner)?, &grant);
        Some(Claimed { claimants, grant, key, problems })
    }

    fn path_of(&self, claim: &Claim, claimed: &Claimed) -> Option<(PathPrefix, Route)> {
        let owner = self.memo.intents.get(&claimed.grant.owner)?;
        let pool = claimed.key.name(&self.memo.intents);
        Some((claim.path.clone(), Route { pool, options: owner.route.clone() }))
    }

    /// Notes what became of a claim, and whom that concerns.
    fn replace_claimed(&mut self, claim: Claim, before: Option<&Claimed>, after: Option<Claimed>) {
        if before == after.as_ref() {
            return;
        }
        for claimed in before.into_iter().chain(&after) {
            self.touched.outcomes.extend(claimed.grant.everyone().cloned());
            self.touched.pools.insert(claimed.key.clone());
        }
        if let Some(pool) = before.and_then(|before| self.memo.pools.get_mut(&before.key)) {
            pool.claims.remove(&claim);
        }
        let Some(after) = after else {
            self.ledger.holders.remove(&claim);
            self.memo.claims.remove(&claim);
            return;
        };
        if !self.memo.pools.contains_key(&after.key) {
            let name = after.key.name(&self.memo.intents);
            let pool = Answering { name, claims: BTreeSet::new() };
            self.memo.pools.insert(after.key.clone(), pool);
        }
        if let Some(pool) = self.memo.pools.get_mut(&after.key) {
            pool.claims.insert(claim.clone());
        }
        self.ledger.holders.put(claim.clone(), after.grant.owner.clone());
        self.memo.claims.insert(claim, after);
    }

    fn put_site(
        &mut self,
        site: &Site,
        paths: BTreeMap<PathPrefix, Route>,
        holder: Option<&Intent>,
    ) {
        let Some(holder) = holder else {
            self.ledger.sites.remove(site);
            if let Some(routes) = self.routing.clusters.get_mut(&site.cluster) {
                routes.sites.remove(&site.host);
            }
            return;
        };
        self.ledger.sites.put(site.clone(), holder.service.clone());
        let routes = self.routing.clusters.entry(site.cluster.clone()).or_default();
        routes.sites.put(site.host.clone(), site::build(&site.host, paths, holder));
    }

    /// The networks and secrets of a node cluster.
    fn sum_up(&mut self, cluster: &NodeCluster) {
        let mut sum = Uses::default();
        let of_cluster = |(site, _): &(&Site, &Uses)| site.cluster == *cluster;
        for (_, uses) in self.memo.uses.iter().filter(of_cluster) {
            sum.networks.extend(uses.networks.iter().cloned());
            for (secret, services) in &uses.secrets {
                let users = sum.secrets.entry(secret.clone()).or_default();
                users.extend(services.iter().cloned());
            }
        }
        let Some(routes) = self.routing.clusters.get_mut(cluster) else { return };
        if *routes.networks != sum.networks {
            routes.networks = Arc::new(sum.networks);
        }
        routes.secrets.retain(|secret, _| sum.secrets.contains_key(secret));
        for (secret, services) in sum.secrets {
            routes.secrets.put(secret, services);
        }
    }

    /// Makes the pools whose services, tasks or claims have changed, and those with endpoints that
    /// leave: time passes for these.
    fn fill_pools(&mut self) {
        let mut due = std::mem::take(&mut self.touched.pools);
        due.append(&mut std::mem::take(&mut self.memo.leaving));
        for intent in self.touched.members.iter().filter_map(|id| self.memo.intents.get(id)) {
            let claimed = intent.claims().filter_map(|claim| self.memo.claims.get(&claim));
            due.extend(claimed.map(|claimed| claimed.key.clone()));
        }
        // First those that go: another may take the name.
        let is_answering = |key: &Key| {
            self.memo.pools.get(key).is_some_and(|answering| !answering.claims.is_empty())
        };
        let (stay, go): (Vec<_>, Vec<_>) = due.into_iter().partition(is_answering);
        for key in go {
            let Some(gone) = self.memo.pools.remove(&key) else { continue };
            if let Some(routes) = self.routing.clusters.get_mut(&key.cluster) {
                routes.pools.remove(&gone.name);
            }
        }
        for key in stay {
            self.fill_pool(key);
        }
        self.routing.clusters.retain(|_, routes| !routes.pools.is_empty());
    }

    fn fill_pool(&mut self, key: Key) {
        let Some(answering) = self.memo.pools.get(&key) else { return };
        let Some(routes) = self.routing.clusters.get_mut(&key.cluster) else { return };
        let mut pool = pool::build(&key, self.picture, &self.memo.intents, &self.memo.running);
        let time = (self.now, self.settings.linger);
        let missed =
            leaving::keep(&mut pool, answering.claims.iter(), self.picture, self.last, time);
        let services = pool.services.clone();
        if routes.pools.put(answering.name.clone(), pool) {
            self.touched.outcomes.extend(services);
        }
        if !missed.is_empty() {
            self.missed.extend(missed);
            self.memo.leaving.insert(key);
        }
    }

    /// Tells what became of each service that any of this concerns.
    fn tell_outcomes(&mut self) {
        for id in std::mem::take(&mut self.touched.outcomes) {
            match self.outcome(&id) {
                Some(outcome) => drop(self.routing.services.put(id, outcome)),
                None => drop(self.routing.services.remove(&id)),
            }
        }
    }

    fn outcome(&self, id: &ServiceId) -> Option<Outcome> {
        let mut problems = self.memo.problems.get(id)?.clone();
        let name = self.picture.services.get(id)?.name.clone();
        let cluster = self.ledger.kept.get(id).and_then(Kept::cluster).cloned().unwrap_or_default();
        let intent = self.memo.intents.get(id);
        for claim in intent.into_iter().flat_map(Intent::claims) {
            let Some(claimed) = self.memo.claims.get(&claim) else { continue };
            let own = claimed.problems.iter().filter(|problem| problem.service == *id);
            problems.extend(own.cloned());
        }
        problems.sort();
        let standing = intent.map_or(Standing::Rejected, |intent| self.standing(intent));
        Some(Outcome { name, cluster, standing, problems })
    }

    /// What became of a service: the claims that it was granted, and its own endpoints in their
    /// pools.
    fn standing(&self, intent: &Intent) -> Standing {
        let Some(routes) = self.routing.clusters.get(&intent.cluster) else {
            return Standing::Rejected;
        };
        let claims: BTreeMap<Claim, PoolName> = intent
            .claims()
            .filter_map(|claim| {
                let claimed = self.memo.claims.get(&claim)?;
                let name = self.memo.pools.get(&claimed.key)?.name.clone();
                claimed.grant.includes(&intent.service).then_some((claim, name))
            })
            .collect();
        if claims.is_empty() {
            return Standing::Rejected;
        }
        let names: BTreeSet<_> = claims.values().collect();
        let endpoints = names.into_iter().filter_map(|name| routes.pools.get(name));
        let endpoints = endpoints.flat_map(|pool| &pool.endpoints);
        let own =
            endpoints.filter(|endpoint| endpoint.service == intent.service).cloned().collect();
        let mode = match intent.backend {
            Backend::Tasks => Mode::Task,
            Backend::Vip(_) => Mode::Vip,
        };
        Standing::Published { mode, claims, endpoints: pool::in_order(own) }
    }

    /// What services hold that are left out stays theirs.
    fn hold_for_those_left_out(&mut self) {
        let is_away = |id: &ServiceId| {
            self.last.left_out.contains(id) && self.picture.services.contains_key(id)
        };
        if self.last.left_out.is_empty() {
            return;
        }
        let claims = self.last.ledger.holders.iter().filter(|(_, holder)| is_away(holder));
        self.ledger.holders.extend(claims.map(|(claim, it)| (claim.clone(), it.clone())));
        let sites = self.last.ledger.sites.iter().filter(|(_, holder)| is_away(holder));
        self.ledger.sites.extend(sites.map(|(site, it)| (site.clone(), it.clone())));
    }
}

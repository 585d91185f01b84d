//! Who answers for the hosts that services ask for anew, or no longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Answering, Claimed, Uses, Work};
use crate::labels::{Claim, Intent, NodeCluster, PathPrefix, Site};
use crate::persistent::Map;
use crate::routing::ownership::{self, Grant};
use crate::routing::pool::Key;
use crate::routing::{Route, site};
use crate::swarm::ServiceId;

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

impl Work<'_> {
    /// Settles who answers for the hosts that services ask for anew, or no longer.
    pub(super) fn settle_hosts(&mut self) {
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
}

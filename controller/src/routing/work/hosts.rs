//! Who answers for the hosts that services ask for anew, or no longer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Answering, Claimed, Uses, Work};
use crate::labels::{Claim, Intent, NodeCluster, PathPrefix, Site};
use crate::persistent::Map;
use crate::routing::ownership::{self, Grant};
use crate::routing::pool::Key;
use crate::routing::{Route, SiteRoutes, site};
use crate::side_by_side;
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

/// What becomes of a host.
struct Settled {
    /// What becomes of those claims of it that do not stay as they are.
    claims: Vec<(Claim, Option<Claimed>)>,
    /// Who holds it, and how it is routed; nobody where none of its paths is granted.
    held: Option<(ServiceId, SiteRoutes)>,
    uses: Uses,
}

impl Work<'_> {
    /// Settles who answers for the hosts that services ask for anew, or no longer.
    pub(super) fn settle_hosts(&mut self) {
        let before = self.memo.uses.clone();
        let touched: Vec<_> = std::mem::take(&mut self.touched.sites).into_iter().collect();
        let settled = side_by_side::map(&touched, |(site, asked)| self.settled(site, asked));
        for ((site, _), settled) in touched.into_iter().zip(settled) {
            self.take_settled(site, settled);
        }
        let changes = before.changes(&self.memo.uses);
        let clusters: BTreeSet<_> = changes.map(|change| change.key.cluster.clone()).collect();
        for cluster in clusters {
            self.sum_up(&cluster);
        }
    }

    /// What becomes of a host, whose claims in `asked` these services ask for anew, or no longer. It
    /// depends on no other host.
    fn settled(&self, site: &Site, asked: &BTreeMap<Claim, BTreeSet<ServiceId>>) -> Settled {
        let root = Claim { site: site.clone(), path: PathPrefix::root() };
        let of_site = self.memo.claims.starting_at(&root);
        let before: BTreeMap<_, _> = of_site.take_while(|(claim, _)| claim.site == *site).collect();
        let nobody = BTreeSet::new();
        let mut claims: BTreeMap<_, _> = before.keys().map(|claim| (*claim, &nobody)).collect();
        claims.extend(asked);
        let grants: Vec<_> = claims
            .into_iter()
            .map(|(claim, changed)| {
                let mut claimants =
                    before.get(claim).map(|it| it.claimants.clone()).unwrap_or_default();
                claimants.extend(changed.iter().cloned());
                claimants.retain(|id| self.asks_for(id, claim));
                let grant = self.grant(claim, &claimants);
                (claim, claimants, grant)
            })
            .collect();
        let owners = grants.iter().filter_map(|(claim, _, grant)| {
            Some((&claim.path, self.memo.intents.get(&grant.as_ref()?.owner)?))
        });
        let holder = ownership::holder(&site.host, owners, self.last.ledger.sites.get(site));
        let mut claims = Vec::with_capacity(grants.len());
        let (mut paths, mut uses) = (BTreeMap::new(), Uses::default());
        for (claim, claimants, grant) in grants {
            let before = before.get(claim).copied();
            let after = grant.and_then(|grant| self.claimed(claim, claimants, grant, holder));
            if let Some(after) = &after {
                paths.extend(self.path_of(claim, after));
                uses.note(after, holder, &self.memo.intents);
            }
            if before != after.as_ref() {
                claims.push((claim.clone(), after));
            }
        }
        let routed =
            |holder: &Intent| (holder.service.clone(), site::build(&site.host, paths, holder));
        Settled { claims, held: holder.map(routed), uses }
    }

    fn take_settled(&mut self, site: Site, Settled { claims, held, uses }: Settled) {
        for (claim, after) in claims {
            self.replace_claimed(claim, after);
        }
        if let Some((holder, routed)) = held {
            self.memo.uses.put(site.clone(), uses);
            let routes = self.routing.clusters.entry(site.cluster.clone()).or_default();
            routes.sites.put(site.host.clone(), routed);
            self.ledger.sites.put(site, holder);
        } else {
            self.memo.uses.remove(&site);
            self.ledger.sites.remove(&site);
            if let Some(routes) = self.routing.clusters.get_mut(&site.cluster) {
                routes.sites.remove(&site.host);
            }
        }
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
    fn replace_claimed(&mut self, claim: Claim, after: Option<Claimed>) {
        let before = self.memo.claims.get_shared(&claim).cloned();
        for claimed in before.as_deref().into_iter().chain(&after) {
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

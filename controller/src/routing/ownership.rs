//! Who answers each claim: the incumbent, and those who may join it.

use std::collections::{BTreeMap, BTreeSet};

use crate::labels::fix::{Edit, update};
use crate::labels::{Affinity, Backend, Claim, Code, HostPattern, Intent, Problem, Severity};
use crate::swarm::ServiceId;

/// Who may join a claim that another service holds (`--share-hosts`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ShareHosts {
    /// Any service.
    #[default]
    Any,
    /// Services of the holder's stack.
    Stack,
    /// Nobody.
    None,
}

/// What became of one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// The service that holds it, and whose options apply.
    pub(super) owner: ServiceId,
    /// The services that answer it too.
    pub(super) joiners: BTreeSet<ServiceId>,
    /// The services that wanted to.
    pub(super) refused: BTreeSet<ServiceId>,
}

impl Grant {
    /// Everyone who answers.
    pub(super) fn members(&self) -> BTreeSet<ServiceId> {
        self.joiners.iter().chain([&self.owner]).cloned().collect()
    }

    /// Whether this service answers.
    pub(super) fn includes(&self, service: &ServiceId) -> bool {
        self.owner == *service || self.joiners.contains(service)
    }
}

/// Gives each claim to its incumbent among `holders`; without one, to the oldest service that asks
/// for it (by creation, then by ID).
pub(super) fn settle(
    intents: &BTreeMap<ServiceId, Intent>,
    holders: &BTreeMap<Claim, ServiceId>,
    share: ShareHosts,
) -> BTreeMap<Claim, Grant> {
    let mut claimants: BTreeMap<&Claim, Vec<&Intent>> = BTreeMap::new();
    for intent in intents.values() {
        for claim in &intent.claims {
            claimants.entry(claim).or_default().push(intent);
        }
    }
    let settled = claimants.into_iter().filter_map(|(claim, claimants)| {
        let holder = holders.get(claim);
        let owner = claimants.iter().min_by_key(|intent| {
            (Some(&intent.service) != holder, intent.created_at, &intent.service)
        })?;
        let others = claimants.iter().filter(|intent| intent.service != owner.service);
        let (joiners, refused): (Vec<_>, Vec<_>) =
            others.partition(|intent| may_join(intent, owner, share));
        let ids = |intents: Vec<&&Intent>| intents.iter().map(|it| it.service.clone()).collect();
        let grant =
            Grant { owner: owner.service.clone(), joiners: ids(joiners), refused: ids(refused) };
        Some((claim.clone(), grant))
    });
    settled.collect()
}

fn may_join(joiner: &Intent, owner: &Intent, share: ShareHosts) -> bool {
    match share {
        ShareHosts::Any => true,
        ShareHosts::Stack => owner.stack.is_some() && joiner.stack == owner.stack,
        ShareHosts::None => false,
    }
}

/// What a service asks its pool to be; a virtual IP asks for nothing.
fn affinity(intent: &Intent) -> Option<&Affinity> {
    match &intent.backend {
        Backend::Tasks(affinity) => Some(affinity),
        Backend::Vip(_) => None,
    }
}

/// What the services that meet at a claim should know of each other.
pub(super) fn problems(
    grants: &BTreeMap<Claim, Grant>,
    intents: &BTreeMap<ServiceId, Intent>,
    share: ShareHosts,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (claim, grant) in grants {
        let Some(owner) = intents.get(&grant.owner) else { continue };
        let joiners: Vec<_> = grant.joiners.iter().filter_map(|id| intents.get(id)).collect();
        problems.extend(meeting(claim, owner, &joiners));
        for joiner in joiners {
            problems.extend(differing(claim, owner, joiner));
        }
        let refused = grant.refused.iter().filter_map(|id| intents.get(id));
        problems.extend(refused.map(|refused| refusal(claim, owner, refused, share)));
    }
    problems
}

/// Tells owner and joiners that they share a claim. Whoever joins a host with differing options is
/// told of those instead.
fn meeting(claim: &Claim, owner: &Intent, joiners: &[&Intent]) -> Vec<Problem> {
    let Some(first) = joiners.first() else { return Vec::new() };
    let names = names(joiners);
    let to_owner = match claim {
        Claim::Host(host) => format!("`{}` answers `{host}` together with {names}", owner.name),
        Claim::AnyOther => {
            format!("`{}` is the default backend together with {names}", owner.name)
        }
    };
    let mut told = vec![shared(claim, owner, &to_owner, first)];
    for joiner in joiners.iter().filter(|it| claim.host().is_none() || agree(it, owner)) {
        let (name, holder) = (&joiner.name, &owner.name);
        let to_joiner = match claim {
            Claim::Host(host) => format!("`{name}` answers `{host}` together with `{holder}`"),
            Claim::AnyOther => format!("`{name}` is the default backend together with `{holder}`"),
        };
        told.push(shared(claim, joiner, &to_joiner, joiner));
    }
    told
}

/// One side of a shared claim; the fix takes it from the joiner.
fn shared(claim: &Claim, to: &Intent, who: &str, joiner: &Intent) -> Problem {
    let (code, severity) = match claim {
        Claim::Host(_) => (Code::SharesHost, Severity::Information),
        Claim::AnyOther => (Code::TwoDefaultBackends, Severity::Warning),
    };
    let message = format!("{who}: their endpoints form one pool");
    let fix = format!("Nothing if it is meant, as for a canary; else {}", yielding(claim, joiner));
    problem(code, severity, to, claim, message, fix)
}

fn agree(joiner: &Intent, owner: &Intent) -> bool {
    let applied = affinity(owner).unwrap_or(&Affinity::None);
    affinity(joiner).is_none_or(|asked| asked == applied)
}

fn differing(claim: &Claim, owner: &Intent, joiner: &Intent) -> Option<Problem> {
    if agree(joiner, owner) {
        return None;
    }
    let (applied, edit) = match affinity(owner) {
        Some(Affinity::Cookie(cookie)) => (
            format!("sticky sessions by cookie `{}`", cookie.as_str()),
            Edit::Set("sticky_session_cookie", cookie.as_str()),
        ),
        Some(Affinity::None) | None => {
            ("no sticky sessions".to_owned(), Edit::Remove("sticky_session_cookie"))
        }
    };
    let message =
        format!("{} is held by `{}`, whose options apply: {applied}", described(claim), owner.name);
    let fix = update(&joiner.name, &[edit]);
    Some(problem(Code::OptionsDiffer, Severity::Warning, joiner, claim, message, fix))
}

fn refusal(claim: &Claim, owner: &Intent, refused: &Intent, share: ShareHosts) -> Problem {
    let who = match share {
        ShareHosts::Stack => "only services of its stack may join",
        ShareHosts::Any | ShareHosts::None => "no service may join",
    };
    let message = format!(
        "{} is held by `{}`, and {who} (`--share-hosts`); this service is not routed there",
        described(claim),
        owner.name
    );
    problem(Code::HostRefused, Severity::Error, refused, claim, message, yielding(claim, refused))
}

/// The command that takes a claim from a service.
fn yielding(claim: &Claim, service: &Intent) -> String {
    match claim {
        Claim::AnyOther => update(&service.name, &[Edit::Remove("default_backend")]),
        Claim::Host(host) => {
            let others = service.claims.iter().filter_map(Claim::host).filter(|it| *it != host);
            let others: Vec<_> = others.map(HostPattern::as_str).collect();
            let hosts = if others.is_empty() { "HOST".to_owned() } else { others.join(",") };
            update(&service.name, &[Edit::Set("hosts", &hosts)])
        }
    }
}

fn described(claim: &Claim) -> String {
    claim.host().map_or("the default backend".to_owned(), |host| format!("host `{host}`"))
}

/// A list of names that stays readable however many there are.
fn names(intents: &[&Intent]) -> String {
    const LISTED: usize = 5;
    let listed: Vec<_> = intents.iter().take(LISTED).map(|it| format!("`{}`", it.name)).collect();
    match intents.len().saturating_sub(LISTED) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

fn problem(
    code: Code,
    severity: Severity,
    to: &Intent,
    claim: &Claim,
    message: String,
    fix: String,
) -> Problem {
    let (key, value) = match claim {
        Claim::Host(host) => ("com.docker.lb.hosts", host.as_str()),
        Claim::AnyOther => ("com.docker.lb.default_backend", "true"),
    };
    Problem::new(code, severity, (&to.service, &to.name), message, fix).at(key, Some(value))
}

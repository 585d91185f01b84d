//! Who answers each claim: the incumbent, and those who may join it.

use std::collections::BTreeSet;

use crate::labels::fix::{Edit, update};
use crate::labels::{
    Affinity, Backend, Claim, Code, Host, HostPattern, Intent, PathPrefix, Plain, Problem,
    Redirect, Scheme, Severity, SiteOptions, Tls,
};
use crate::persistent::Map;
use crate::swarm::{Picture, ServiceId};

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
    /// Everyone who asked.
    pub(super) fn everyone(&self) -> impl Iterator<Item = &ServiceId> {
        self.joiners.iter().chain(&self.refused).chain([&self.owner])
    }

    /// Everyone who answers.
    pub(super) fn members(&self) -> BTreeSet<ServiceId> {
        self.joiners.iter().chain([&self.owner]).cloned().collect()
    }

    /// Whether this service answers.
    pub(super) fn includes(&self, service: &ServiceId) -> bool {
        self.owner == *service || self.joiners.contains(service)
    }
}

/// Gives a claim to its incumbent; without one among those who ask for it, to the oldest of them (by
/// creation, then by ID). None where nobody asks.
pub(super) fn grant(
    claimants: &[&Intent],
    incumbent: Option<&ServiceId>,
    share: ShareHosts,
) -> Option<Grant> {
    let owner = first(claimants, incumbent)?;
    let others = claimants.iter().filter(|intent| intent.service != owner.service);
    let (joiners, refused): (Vec<_>, Vec<_>) =
        others.partition(|intent| may_join(intent, owner, share));
    let ids = |intents: Vec<&&Intent>| intents.iter().map(|it| it.service.clone()).collect();
    Some(Grant { owner: owner.service.clone(), joiners: ids(joiners), refused: ids(refused) })
}

/// Gives a host to the incumbent that asks for something of it; without one, to the holder of its
/// shortest path, so that it does not depend on the order in which the services of a stack are made.
/// `owners` hold its paths.
pub(super) fn holder<'a>(
    host: &Host,
    owners: impl Iterator<Item = (&'a PathPrefix, &'a Intent)>,
    incumbent: Option<&ServiceId>,
) -> Option<&'a Intent> {
    let (_, holder) = owners.min_by_key(|(path, owner)| {
        let keeps = Some(&owner.service) == incumbent && asks(owner, host);
        (!keeps, path.as_str().len(), owner.created_at, &owner.service)
    })?;
    Some(holder)
}

/// Whether a service asks for anything that concerns the whole of a host.
fn asks(intent: &Intent, host: &Host) -> bool {
    let SiteOptions { tls, plain, redirects } = &intent.site;
    let redirected = [Scheme::Http, Scheme::Https].map(|it| redirects.on(it, host));
    *tls != Tls::None || *plain != Plain::Served || redirected != [None; 2]
}

/// The incumbent; without one, the oldest.
fn first<'a>(intents: &[&'a Intent], incumbent: Option<&ServiceId>) -> Option<&'a Intent> {
    let order = |intent: &&Intent| {
        (Some(&intent.service) != incumbent, intent.created_at, intent.service.clone())
    };
    intents.iter().copied().min_by_key(order)
}

fn may_join(joiner: &Intent, owner: &Intent, share: ShareHosts) -> bool {
    match share {
        ShareHosts::Any => true,
        ShareHosts::Stack => owner.stack.is_some() && joiner.stack == owner.stack,
        ShareHosts::None => false,
    }
}

/// What the services that meet at a claim, or at its host, should know of each other. The `holder` is
/// the host's.
pub(super) fn problems(
    claim: &Claim,
    grant: &Grant,
    holder: Option<&Intent>,
    intents: &Map<ServiceId, Intent>,
    picture: &Picture,
    share: ShareHosts,
) -> Vec<Problem> {
    let Some(owner) = intents.get(&grant.owner) else { return Vec::new() };
    let joiners: Vec<_> = grant.joiners.iter().filter_map(|id| intents.get(id)).collect();
    let mut problems = meeting(claim, owner, &joiners);
    for joiner in joiners {
        problems.extend(differing(claim, owner, joiner, picture));
    }
    let refused = grant.refused.iter().filter_map(|id| intents.get(id));
    problems.extend(refused.map(|refused| refusal(claim, owner, refused, share)));
    for member in grant.members().iter().filter_map(|id| intents.get(id)) {
        problems.extend(holder.and_then(|holder| overruled(claim, holder, member, picture)));
    }
    problems
}

/// The labels by which two services differ at a claim that they share. A virtual IP asks for no
/// affinity.
fn differences(joiner: &Intent, owner: &Intent) -> Vec<&'static str> {
    let affinity = |intent: &Intent| match (&intent.backend, &intent.pool.affinity) {
        (Backend::Vip(_), _) => None,
        (Backend::Tasks, affinity) => Some(affinity.clone()),
    };
    let asked = affinity(joiner);
    let applied = affinity(owner).unwrap_or(Affinity::None);
    let (one, other) = ((&joiner.pool, &joiner.route), (&owner.pool, &owner.route));
    let all: [(bool, &[&'static str]); 6] = [
        (asked.is_some_and(|it| it != applied), &["sticky_session_cookie", "ip_hash"]),
        (one.0.ejection != other.0.ejection, &["max_fails", "fail_timeout"]),
        (
            one.0.transport != other.0.transport,
            &["ssl_backend", "ssl_backend_tls_verify", "waggle.backend_ca", "waggle.backend_name"],
        ),
        (one.0.protocol != other.0.protocol, &["waggle.backend_protocol"]),
        (one.1.rewrite != other.1.rewrite, &["context_root_rewrite"]),
        (one.1.long_lived != other.1.long_lived, &["websocket_endpoints"]),
    ];
    all.into_iter().filter(|(differ, _)| *differ).flat_map(|(_, labels)| labels).copied().collect()
}

/// What a service asks for a host that another one holds, by label: only what it asks for itself.
fn overruled_labels(member: &Intent, holder: &Intent, host: &Host) -> Vec<&'static str> {
    fn redirects<'a>(it: &'a Intent, host: &Host) -> [Option<&'a Redirect>; 2] {
        [Scheme::Http, Scheme::Https].map(|scheme| it.site.redirects.on(scheme, host))
    }
    let (asked, applied) = (&member.site, &holder.site);
    let tls = asked.tls != Tls::None && asked.tls != applied.tls;
    let labels: &[_] =
        if asked.tls == Tls::Passthrough { &["ssl_passthrough"] } else { &["ssl_cert", "ssl_key"] };
    let redirect =
        redirects(member, host) != [None; 2] && redirects(member, host) != redirects(holder, host);
    let all: [(bool, &[&'static str]); 3] = [
        (tls, labels),
        (asked.plain != Plain::Served && asked.plain != applied.plain, &["ssl_only"]),
        (redirect, &["redirects"]),
    ];
    all.into_iter().filter(|(differ, _)| *differ).flat_map(|(_, labels)| labels).copied().collect()
}

/// Tells owner and joiners that they share a claim. Whoever joins a host with differing options is
/// told of those instead.
fn meeting(claim: &Claim, owner: &Intent, joiners: &[&Intent]) -> Vec<Problem> {
    let Some(first) = joiners.first() else { return Vec::new() };
    let names = names(joiners);
    let together = |name: &dyn std::fmt::Display, others: &str| match &claim.site.host {
        Host::Named(_) => format!("`{name}` answers {} together with {others}", place(claim)),
        Host::AnyOther => format!("`{name}` is {} together with {others}", place(claim)),
    };
    let mut told = vec![shared(claim, owner, &together(&owner.name, &names), first)];
    let is_default = claim.site.host == Host::AnyOther;
    for joiner in joiners.iter().filter(|it| is_default || differences(it, owner).is_empty()) {
        let who = together(&joiner.name, &format!("`{}`", owner.name));
        told.push(shared(claim, joiner, &who, joiner));
    }
    told
}

/// One side of a shared claim; the fix takes it from the joiner.
fn shared(claim: &Claim, to: &Intent, who: &str, joiner: &Intent) -> Problem {
    let (code, severity) = match claim.site.host {
        Host::Named(_) => (Code::SharesHost, Severity::Information),
        Host::AnyOther => (Code::TwoDefaultBackends, Severity::Warning),
    };
    let message = format!("{who}: their endpoints form one pool");
    let fix = format!("Nothing if it is meant, as for a canary; else {}", yielding(claim, joiner));
    problem(code, severity, to, claim, message, fix)
}

fn differing(claim: &Claim, owner: &Intent, joiner: &Intent, picture: &Picture) -> Option<Problem> {
    let labels = differences(joiner, owner);
    let (told, fix) = adoption(&labels, owner, joiner, picture)?;
    let message = format!(
        "{} is held by `{}`, whose options apply; this service differs in {told}",
        held(claim),
        owner.name
    );
    Some(problem(Code::OptionsDiffer, Severity::Warning, joiner, claim, message, fix))
}

fn overruled(
    claim: &Claim,
    holder: &Intent,
    member: &Intent,
    picture: &Picture,
) -> Option<Problem> {
    let labels = overruled_labels(member, holder, &claim.site.host);
    let (told, fix) = adoption(&labels, holder, member, picture)?;
    let message = format!(
        "host `{}` is held by `{}`, whose {told} apply to all of its paths; set them there",
        claim.site.host, holder.name
    );
    let fix = format!("{fix}, or give them to `{}`", holder.name);
    Some(problem(Code::OptionsDiffer, Severity::Warning, member, claim, message, fix))
}

/// The labels by which two services differ, and the command that gives the one the other's.
fn adoption(
    labels: &[&'static str],
    from: &Intent,
    to: &Intent,
    picture: &Picture,
) -> Option<(String, String)> {
    let of = |intent: &Intent, name| {
        let service = picture.services.get(&intent.service)?;
        service.labels.get(&crate::labels::key_of(name)).map(String::as_str)
    };
    let edit = |name: &&'static str| match (of(from, name), of(to, name)) {
        (Some(value), other) if other != Some(value) => Some((*name, Edit::Set(name, value))),
        (None, Some(_)) => Some((*name, Edit::Remove(name))),
        _ => None,
    };
    let (names, edits): (Vec<_>, Vec<_>) = labels.iter().filter_map(edit).unzip();
    let told: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    (!edits.is_empty()).then(|| (told.join(", "), update(&to.name, &edits)))
}

fn refusal(claim: &Claim, owner: &Intent, refused: &Intent, share: ShareHosts) -> Problem {
    let who = match share {
        ShareHosts::Stack => "only services of its stack may join",
        ShareHosts::Any | ShareHosts::None => "no service may join",
    };
    let message = format!(
        "{} is held by `{}`, and {who} (`--share-hosts`); this service is not routed there",
        held(claim),
        owner.name
    );
    problem(Code::HostRefused, Severity::Error, refused, claim, message, yielding(claim, refused))
}

/// The command that takes a claim from a service.
fn yielding(claim: &Claim, service: &Intent) -> String {
    match &claim.site.host {
        Host::AnyOther => update(&service.name, &[Edit::Remove("default_backend")]),
        Host::Named(host) => {
            let others = service.hosts.iter().filter_map(Host::named).filter(|it| *it != host);
            let others: Vec<_> = others.map(HostPattern::as_str).collect();
            let hosts = if others.is_empty() { "HOST".to_owned() } else { others.join(",") };
            update(&service.name, &[Edit::Set("hosts", &hosts)])
        }
    }
}

/// A claim within a sentence: "`a.example/app`", "the default backend".
fn place(claim: &Claim) -> String {
    let path = if claim.path.is_root() { "" } else { claim.path.as_str() };
    match &claim.site.host {
        Host::Named(host) => format!("`{host}{path}`"),
        Host::AnyOther if path.is_empty() => "the default backend".to_owned(),
        Host::AnyOther => format!("the default backend for `{path}`"),
    }
}

/// A claim at the beginning of a sentence.
fn held(claim: &Claim) -> String {
    match claim.site.host {
        Host::Named(_) => format!("host {}", place(claim)),
        Host::AnyOther => place(claim),
    }
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
    let (key, value) = match &claim.site.host {
        Host::Named(host) => ("com.docker.lb.hosts", host.as_str()),
        Host::AnyOther => ("com.docker.lb.default_backend", "true"),
    };
    Problem::new(code, severity, (&to.service, &to.name), message, fix).at(key, Some(value))
}

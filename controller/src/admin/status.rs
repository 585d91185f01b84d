//! The shape of `GET /status`: what is routed where, what is wrong, who holds what.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use serde::Serialize;

use crate::control::Report;
use crate::envoy::Kind;
use crate::labels::{Care, Claim, Problem};
use crate::proxy;
use crate::routing::{Endpoint, Mode, Outcome, PoolName, Presence, Standing, Target};
use crate::swarm::{Freshness, Health, ServiceId, ServiceName, Via};
use crate::version;
use crate::xds;

/// Everything that a person asks for when something is off.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// This build.
    pub version: String,
    /// How the reading of the Swarm goes.
    pub swarm: Reading,
    /// Every service that carries our labels, by name.
    pub services: Vec<Service>,
    /// The services that run the proxies, where the settings name them.
    pub proxies: Vec<Proxy>,
    /// The connected Envoys; node IDs may repeat.
    pub envoys: Vec<xds::Envoy>,
    /// What was sent and rejected since the start.
    pub xds: Counters,
}

/// How the reading of the Swarm goes.
#[derive(Debug, Clone, Serialize)]
pub struct Reading {
    /// The address that is read.
    pub source: String,
    /// The API version that was agreed on.
    pub api_version: Option<String>,
    /// Where the picture is from that is served; none before there is one.
    pub picture: Option<Freshness>,
    /// Seconds since the last complete read; none before the first.
    pub last_read_seconds_ago: Option<f64>,
    /// What the last read failed with, and what to do.
    pub failing: Option<String>,
    /// Why the last read is not believed.
    pub doubt: Option<String>,
    /// What may not be read, and what to allow.
    pub unread: Option<String>,
    /// How changes come: `polled`, or `pushed` by the watch.
    pub changes: Via,
    /// Why they are not pushed although they should be, and what to do.
    pub watch_failing: Option<String>,
    /// Watches that ended or did not begin.
    pub watch_failures: u64,
    /// Reads that were complete.
    pub complete_reads: u64,
    /// Reads that failed, and were thrown away.
    pub failed_reads: u64,
}

/// One service.
#[derive(Debug, Clone, Serialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its ID.
    pub id: String,
    /// `published` or `rejected`.
    pub standing: &'static str,
    /// `task` or `vip`; none if it is rejected.
    pub mode: Option<&'static str>,
    /// What it answers for: hosts, or `*` for all others.
    pub hosts: Vec<String>,
    /// Its pool; where its hosts have several, those are joined by blanks.
    pub pool: Option<String>,
    /// Its own endpoints.
    pub endpoints: Vec<Address>,
    /// What is worth telling about it.
    pub problems: Vec<Problem>,
}

/// One endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct Address {
    /// Address and port.
    #[serde(rename = "address")]
    pub socket: SocketAddr,
    /// The task behind it; none behind a virtual IP.
    pub task: Option<String>,
    /// Where the task runs.
    pub node: Option<String>,
    /// `running`, `leaving` or `vip`.
    pub state: &'static str,
}

/// A service that runs proxies.
#[derive(Debug, Clone, Serialize)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// The node clusters that it serves.
    pub clusters: Vec<String>,
    /// Who gives it networks and secrets: `owner` or `controller`.
    pub care: &'static str,
    /// The networks that it is on.
    pub networks: Vec<String>,
    /// The secrets that it mounts.
    pub secrets: Vec<String>,
    /// What it needs and does not have: `network NAME`, `secret NAME`.
    pub pending: Vec<String>,
    /// Updates that this controller has made.
    pub updates: u64,
    /// Tries of this controller to read or update it that failed.
    pub failures: u64,
    /// Seconds since its last update; none if it made none.
    pub last_update_seconds_ago: Option<f64>,
    /// What is wrong, and what to do.
    pub failing: Option<String>,
}

/// What was sent and rejected since the start, by kind of resource.
#[derive(Debug, Clone, Serialize)]
pub struct Counters {
    /// Responses that were sent.
    pub responses: BTreeMap<&'static str, u64>,
    /// Responses that an Envoy rejected.
    pub rejections: BTreeMap<&'static str, u64>,
}

impl Status {
    /// Puts the parts together.
    pub fn new(
        report: &Report,
        health: &Health,
        envoys: xds::Report,
        proxies: &proxy::Statuses,
        now: Instant,
    ) -> Self {
        let by_kind = |count: &dyn Fn(&Kind) -> Option<u64>| {
            let counted = |kind: Kind| (kind.as_str(), count(&kind).unwrap_or_default());
            Kind::ALL.into_iter().map(counted).collect()
        };
        let responses = |kind: &Kind| {
            let sent = envoys.responses.get(kind)?;
            Some(sent.delta + sent.state_of_the_world)
        };
        let rejections = |kind: &Kind| envoys.rejections.get(kind).copied();
        let xds = Counters { responses: by_kind(&responses), rejections: by_kind(&rejections) };
        let services = report.routing.services.iter();
        let mut services: Vec<_> =
            services.map(|(id, outcome)| Service::new(id, outcome)).collect();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            version: version::server_info(),
            swarm: Reading::new(report, health, now),
            services,
            proxies: proxies.iter().map(|(name, it)| Proxy::new(name, it, now)).collect(),
            envoys: envoys.envoys,
            xds,
        }
    }
}

impl Reading {
    pub(super) fn new(report: &Report, health: &Health, now: Instant) -> Self {
        Self {
            source: health.source.clone(),
            api_version: health.api_version.clone(),
            picture: report.freshness,
            last_read_seconds_ago: health.staleness(now).map(|age| age.as_secs_f64()),
            failing: health.failing.clone(),
            doubt: health.doubt.clone(),
            unread: health.unread.clone(),
            changes: health.via,
            watch_failing: health.watch_failing.clone(),
            watch_failures: health.watch_failures,
            complete_reads: health.complete_cycles,
            failed_reads: health.failed_cycles,
        }
    }

    /// Why the controller is not ready; none if it is.
    pub(super) fn trouble(&self) -> Option<String> {
        let unread = || match self.picture {
            Some(Freshness::Live) => None,
            Some(Freshness::Kept) => Some("only a kept picture is served".to_owned()),
            None => Some("the Swarm has not been read yet".to_owned()),
        };
        self.failing.clone().or_else(|| self.doubt.clone()).or_else(unread)
    }
}

impl Service {
    fn new(id: &ServiceId, outcome: &Outcome) -> Self {
        let blank = Self {
            name: outcome.name.to_string(),
            id: id.to_string(),
            standing: "rejected",
            mode: None,
            hosts: Vec::new(),
            pool: None,
            endpoints: Vec::new(),
            problems: outcome.problems.clone(),
        };
        match &outcome.standing {
            Standing::Rejected => blank,
            Standing::Published { mode, claims, endpoints } => Self {
                standing: "published",
                mode: Some(match mode {
                    Mode::Task => "task",
                    Mode::Vip => "vip",
                }),
                hosts: claims.keys().map(Claim::to_string).collect(),
                pool: Some(pools(claims)),
                endpoints: endpoints.iter().map(Address::new).collect(),
                ..blank
            },
        }
    }
}

impl Proxy {
    fn new(name: &ServiceName, status: &proxy::Status, now: Instant) -> Self {
        let since = |last| now.saturating_duration_since(last).as_secs_f64();
        Self {
            name: name.to_string(),
            clusters: status.clusters.iter().map(ToString::to_string).collect(),
            care: match status.care {
                Care::Owner => "owner",
                Care::Controller => "controller",
            },
            networks: status.networks.clone(),
            secrets: status.secrets.clone(),
            pending: status.pending.clone(),
            updates: status.updates,
            failures: status.failures,
            last_update_seconds_ago: status.last_update.map(since),
            failing: status.failing.clone(),
        }
    }
}

fn pools(claims: &BTreeMap<Claim, PoolName>) -> String {
    let mut names: Vec<&str> = claims.values().map(PoolName::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

impl Address {
    fn new(endpoint: &Endpoint) -> Self {
        let (task, node, state) = match &endpoint.target {
            Target::Vip => (None, None, "vip"),
            Target::Task { task, node, presence } => {
                let state = match presence {
                    Presence::Running => "running",
                    Presence::Leaving => "leaving",
                };
                (Some(task.to_string()), node.as_ref().map(ToString::to_string), state)
            }
        };
        Self { socket: endpoint.address, task, node, state }
    }
}

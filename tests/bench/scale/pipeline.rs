//! The controller's own time: pictures go in by hand, and light clients hear what comes out. Beside
//! them is a real Envoy, which does with it what Envoys do.

use std::fmt;
use std::time::Duration;

use waggle_tests::times::{Times, ms};
use waggle_tests::usage::processor_time_of_threads;

use super::client::Kind;
use super::picture::REPLICAS;
use super::rig::Rig;

/// Between two changes of endpoints that are measured one by one.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two changes of routes: Envoy builds all of them anew, on the same cores.
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// How many changes of routes are measured.
const ROUTES: usize = 20;

/// How long nothing changes.
const IDLE: Duration = Duration::from_secs(2);

/// What [`Row`]s stand under.
pub(super) const HEAD: &str = "\
| services | tasks | clients | first snapshot | endpoints p50 / p99 / max | to the last client p50 / p99 | routes p50 / max | CPU at 100 changes/s | bytes a change and client | idle CPU | Envoy ready | endpoints in Envoy p50 / p99 |
|---|---|---|---|---|---|---|---|---|---|---|---|";

/// What one size and one number of clients cost.
#[derive(Debug)]
pub(super) struct Row {
    services: usize,
    clients: usize,
    first: Duration,
    endpoints: Times,
    last: Times,
    routes: Times,
    load: f64,
    bytes: usize,
    idle: f64,
    envoy_ready: Duration,
    in_envoy: Times,
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, clients, first, endpoints, last, routes, in_envoy, .. } = self;
        let Self { load, bytes, idle, envoy_ready, .. } = self;
        write!(
            out,
            "| {services} | {} | {clients} | {} | {} / {} / {} | {} / {} | {} / {} | {load:.1} % | {bytes} | {idle:.1} % | {} | {} / {} |",
            services * REPLICAS,
            ms(*first),
            ms(endpoints.at(50)),
            ms(endpoints.at(99)),
            ms(endpoints.at(100)),
            ms(last.at(50)),
            ms(last.at(99)),
            ms(routes.at(50)),
            ms(routes.at(100)),
            ms(*envoy_ready),
            ms(in_envoy.at(50)),
            ms(in_envoy.at(99)),
        )
    }
}

impl Row {
    /// How many services there are.
    pub(super) fn services(&self) -> f64 {
        u32::try_from(self.services).map_or(f64::NAN, f64::from)
    }

    /// How many light clients.
    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    /// From a change of endpoints to its push, 99 of 100, in milliseconds.
    pub(super) fn endpoints(&self) -> f64 {
        self.endpoints.at(99).as_secs_f64() * 1000.0
    }

    /// Until the last client has the first snapshot, in milliseconds.
    pub(super) fn first(&self) -> f64 {
        self.first.as_secs_f64() * 1000.0
    }
}

/// Measures so many services and clients.
pub(super) fn measure(services: usize, clients: usize, changes: usize) -> anyhow::Result<Row> {
    let mut rig = Rig::start(services, clients)?;
    let first = rig.first()?;
    // Only now, so that it takes no time from the others' first snapshot.
    let envoy_ready = rig.join_envoy()?;
    // All acknowledge what they have heard first.
    std::thread::sleep(LONG_PAUSE);
    rig.drain();
    let [mut endpoints, mut last, mut in_envoy, mut routes] = <[Vec<Duration>; 4]>::default();
    for change in 0..changes {
        std::thread::sleep(PAUSE);
        let replaced = rig.replace_task(change * 7919);
        let heard = rig.change(Kind::Endpoints)?;
        endpoints.extend(heard.first());
        last.extend(heard.last());
        in_envoy.push(rig.until_in_envoy(replaced)?);
    }
    for _ in 0..ROUTES {
        std::thread::sleep(LONG_PAUSE);
        let added = rig.add_service();
        routes.extend(rig.change(Kind::Hosts)?.first());
        rig.until_in_envoy(added)?;
    }
    std::thread::sleep(LONG_PAUSE);
    rig.drain();
    let (load, bytes) = rig.load()?;
    std::thread::sleep(LONG_PAUSE);
    let idle = processor_share(IDLE)?;
    let [endpoints, last, in_envoy, routes] = [endpoints, last, in_envoy, routes].map(Times::new);
    Ok(Row {
        services,
        clients,
        first,
        endpoints,
        last,
        routes,
        load,
        bytes,
        idle,
        envoy_ready,
        in_envoy,
    })
}

/// The controller's CPU over some time, in percent of a core.
fn processor_share(over: Duration) -> anyhow::Result<f64> {
    let before = processor_time_of_threads("controller")?;
    std::thread::sleep(over);
    let spent = processor_time_of_threads("controller")?.saturating_sub(before);
    Ok(spent.as_secs_f64() / over.as_secs_f64() * 100.0)
}

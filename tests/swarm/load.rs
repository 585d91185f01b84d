//! A steady load on a service of a real Swarm.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use waggle_tests::steady::{Plan, Report, Site, Steady};

use crate::world::{ENVOY, World, wait};

/// Requests a second: what two cores hold beside a whole engine.
pub(crate) const RATE: u32 = 300;

/// Takes steps while a host is asked, which a service has to answer. Tells what came of it.
pub(crate) fn under_load<T>(
    world: &World,
    host: &str,
    service: &str,
    steps: impl FnOnce(&Steady) -> Result<T>,
) -> Result<(T, Report)> {
    wait("it answers", || Ok((world.get(host, "/ping")?.status == 200).then_some(())))?;
    // Straight to Envoy: before its published port the engine puts a relay, which is not ours to test.
    let proxy = SocketAddr::new(world.swarm.bridge_address(&world.container(ENVOY)?)?, 80);
    let plan = Plan { rate: RATE, ..Plan::new(proxy, [Site::new(host, service)]) };
    let load = Steady::start(plan);
    let asked = |most: Duration| {
        let until = load.elapsed() + most;
        wait("the load goes on", || Ok((load.elapsed() >= until).then_some(())))
    };
    let taken = asked(Duration::from_secs(1)).and_then(|()| steps(&load));
    let taken = taken.and_then(|found| asked(Duration::from_secs(1)).map(|()| found));
    let report = load.end()?;
    println!("{report}");
    Ok((taken.with_context(|| format!("under load: {report}"))?, report))
}

/// What no update may cost is nothing at all.
pub(crate) fn nothing_failed(report: &Report) -> Result<()> {
    ensure!(report.failures.is_empty(), "{report}");
    Ok(())
}

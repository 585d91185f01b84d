//! A steady load on a service of a real Swarm.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
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
    let bridge = world.docker("network inspect docker_gwbridge")?;
    let proxy = SocketAddr::new(in_bridge(&bridge, &world.container(ENVOY)?)?, 80);
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

/// A container's address on the bridge of which this text tells.
fn in_bridge(bridge: &str, container: &str) -> Result<IpAddr> {
    let bridge: Value = serde_json::from_str(bridge)?;
    let containers = bridge[0]["Containers"].as_object().context("no containers on the bridge")?;
    let mut own = containers.iter().filter(|(id, _)| id.starts_with(container));
    let (_, own) = own.next().with_context(|| format!("{container} is not on {bridge:#}"))?;
    let address = own["IPv4Address"].as_str().and_then(|it| it.split('/').next());
    Ok(address.context("no address")?.parse()?)
}

/// What no update may cost is nothing at all.
pub(crate) fn nothing_failed(report: &Report) -> Result<()> {
    ensure!(report.failures.is_empty(), "{report}");
    Ok(())
}

//! New session keys and settings, while clients ask.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::runtime::Runtime;
use waggle_filter::config::InfoHeaders::{Hidden, Shown};
use waggle_tests::client::{Answer, Client, Jar};
use waggle_tests::envoy::Envoy;
use waggle_tests::load::Load;

use crate::world::{SESSION_KEY, World, backend, settings, sticky};

const HOST: &str = "demo.local";

/// Answers of a host without end, to one session; one that sets a cookie anew is an error.
fn session(proxy: SocketAddr) -> BoxStream<'static, Result<Answer>> {
    let ask = async |client: &Client, jar: &mut Jar| {
        let pinned = jar.get("session_lb").is_some();
        let answer = client.get_as(jar, HOST, "/").await?;
        ensure!(answer.set_cookies().is_empty() == pinned, "the session moved: {answer:?}");
        Ok(answer)
    };
    let start = (Client::new(proxy), Jar::default());
    stream::unfold(start, move |(client, mut jar)| async move {
        Some((ask(&client, &mut jar).await, (client, jar)))
    })
    .boxed()
}

/// How often Envoy has taken a new configuration of the filter.
fn taken(envoy: &Envoy) -> Result<u64> {
    let stats = envoy.stats()?;
    let is_it = |name: &str| {
        name.starts_with("extension_config_discovery.") && name.ends_with(".config_reload")
    };
    Ok(stats.iter().filter(|(name, _)| is_it(name)).map(|(_, count)| count).sum())
}

#[test]
fn new_keys_and_settings_cut_no_request_and_move_no_session() {
    let tasks = [backend(), backend(), backend()];
    let pools: [(&str, _, &[_]); 1] = [("demo", sticky("session"), &tasks)];
    let mut world = World::start(&pools, Shown);
    let runtime = Runtime::new().unwrap();
    let load = runtime.block_on(async { Load::of((0..8).map(|_| session(world.http))) });
    runtime.block_on(load.go_on(100)).unwrap();
    let next = SESSION_KEY.replace("a2V5", "S2V5");
    let rings = [vec![SESSION_KEY, &next], vec![&next, SESSION_KEY], vec![SESSION_KEY]];
    for round in 0..12 {
        let info = if round % 2 == 0 { Hidden } else { Shown };
        let mut settings = settings(world.http.port(), info);
        let ring = rings.iter().cycle().nth(round).into_iter().flatten();
        settings.filter.keys = ring.map(ToString::to_string).collect();
        let before = taken(&world.envoy).unwrap();
        world.publish(&pools, &settings);
        let what = format!("Envoy takes change {round}");
        world.envoy.wait_until(&what, |envoy| Ok(taken(envoy)? > before)).unwrap();
        runtime.block_on(load.go_on(100)).unwrap();
    }
    runtime.block_on(load.end()).unwrap();
    for (name, count) in world.envoy.stats().unwrap() {
        let harmless = !name.contains("vm_reload") && !name.ends_with("update_rejected");
        assert!(harmless || count == 0, "{name}: {count}");
    }
}

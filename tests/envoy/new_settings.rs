//! New session keys and settings, while clients ask.

use tokio::runtime::Runtime;
use waggle_filter::config::InfoHeaders::{Hidden, Shown};
use waggle_tests::client::Client;
use waggle_tests::load::{Load, session};

use crate::world::{SESSION_KEY, World, backend, settings, sticky};

const HOST: &str = "demo.local";

#[test]
fn new_keys_and_settings_cut_no_request_and_move_no_session() {
    let tasks = [backend(), backend(), backend()];
    let pools: [(&str, _, &[_]); 1] = [("demo", sticky("session"), &tasks)];
    let mut world = World::start(&pools, Shown);
    let runtime = Runtime::new().unwrap();
    let client = |_| session(vec![Client::new(world.http)], HOST, "/");
    let load = runtime.block_on(async { Load::of((0..8).map(client)) });
    runtime.block_on(load.go_on(100)).unwrap();
    let next = SESSION_KEY.replace("a2V5", "S2V5");
    let rings = [vec![SESSION_KEY, &next], vec![&next, SESSION_KEY], vec![SESSION_KEY]];
    for round in 0..12 {
        let info = if round % 2 == 0 { Hidden } else { Shown };
        let mut settings = settings(world.http.port(), info);
        let ring = rings.iter().cycle().nth(round).into_iter().flatten();
        settings.filter.keys = ring.map(ToString::to_string).collect();
        let before = world.envoy.filter_updates().unwrap();
        world.publish(&pools, &settings);
        let what = format!("Envoy takes change {round}");
        world.envoy.wait_until(&what, |envoy| Ok(envoy.filter_updates()? > before)).unwrap();
        runtime.block_on(load.go_on(100)).unwrap();
    }
    runtime.block_on(load.end()).unwrap();
    for (name, count) in world.envoy.stats().unwrap() {
        assert!(!name.ends_with("_rejected") || count == 0, "{name}: {count}");
    }
    assert_eq!(world.envoy.vm_reloads().unwrap(), 0);
}

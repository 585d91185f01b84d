//! Interlock's walk-throughs, by the commands of its documentation; and our examples, by theirs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use waggle_tests::client::Jar;

use crate::headers::{OF_EVERY_ANSWER, OF_THE_TASK, has};
use crate::world::{metadata, on_stack, upstream};

#[test]
fn the_walk_throughs_of_default_host_and_vip_mode_go_as_documented() -> Result<()> {
    on_stack(|world| {
        let nobody = world.get("nobody.local", "/ping")?;
        ensure!(nobody.status == 503, "without a default backend: {nobody:?}");
        world.docker(
            "service create --no-resolve-image --name demo-default --network waggle-apps \
             --detach=false --replicas=1 --label com.docker.lb.default_backend=true \
             --label com.docker.lb.port=8080 --env METADATA=demo-default waggle/demo",
        )?;
        let answer = world.wait_answer("nobody.local", 200)?;
        ensure!(metadata(&answer) == "demo-default", "{answer:?}");

        world.docker(
            "service create --no-resolve-image --name demo --network waggle-apps --detach=false \
             --replicas=4 --label com.docker.lb.hosts=vip.local --label com.docker.lb.port=8080 \
             --label com.docker.lb.backend_mode=vip --env METADATA=demo-vip-1 waggle/demo",
        )?;
        world.settle("demo", 4)?;
        let vip = world.vip("demo", "waggle-apps")?.to_string();
        let mut tasks: BTreeMap<String, u32> = BTreeMap::new();
        // Envoy's connections to a VIP live one second: 400 requests are spread over some of them.
        for request in 0..400 {
            let slept = world.get("vip.local", "/sleep/10")?;
            ensure!(slept.status == 200, "request {request}: {slept:?}");
            let answer = world.get("vip.local", "/ping")?;
            ensure!(answer.status == 200, "request {request}: {answer:?}");
            has(&answer, &OF_EVERY_ANSWER)?;
            has(&answer, &OF_THE_TASK)?;
            ensure!(answer.header("x-upstream-addr") == vip, "the VIP is {vip}: {answer:?}");
            *tasks.entry(answer.instance()?).or_default() += 1;
        }
        ensure!(tasks.len() == 4 && tasks.values().all(|share| *share <= 180), "{tasks:?}");
        let answer = world.get("somebody.local", "/ping")?;
        ensure!(metadata(&answer) == "demo-default", "{answer:?}");
        Ok(())
    })
}

#[test]
fn the_examples_do_what_their_comments_say() -> Result<()> {
    on_stack(|world| {
        for example in ["default-host", "vip", "canary", "sticky"] {
            world.deploy(example)?;
        }
        for (service, replicas) in [
            ("default-host_app", 1),
            ("vip_app", 4),
            ("canary_v1", 4),
            ("canary_v2", 1),
            ("sticky_app", 5),
        ] {
            world.settle(service, replicas)?;
        }
        let answer = world.get("nobody.local", "/ping")?;
        ensure!(metadata(&answer) == "default-host", "{answer:?}");

        let vip = world.vip("vip_app", "waggle-apps")?.to_string();
        let answer = world.get("vip.local", "/ping")?;
        ensure!(metadata(&answer) == "vip" && upstream(&answer) == vip, "{answer:?}");

        let shares = world.count("canary.local", 100, metadata)?;
        let expected = [("demo-version-1".to_owned(), 80), ("demo-version-2".to_owned(), 20)];
        let near = |(version, share): &(String, u32)| {
            shares.get(version).is_some_and(|counted| counted.abs_diff(*share) <= 4)
        };
        ensure!(shares.len() == 2 && expected.iter().all(near), "canary: {shares:?}");

        let mut jar = Jar::default();
        let first = world.get_as(&mut jar, "sticky.local", "/ping")?;
        jar.get("session").with_context(|| format!("no session in {first:?}"))?;
        jar.get("session_lb").with_context(|| format!("no session_lb in {first:?}"))?;
        for _ in 0..10 {
            let next = world.get_as(&mut jar, "sticky.local", "/ping")?;
            ensure!(next.instance()? == first.instance()?, "{first:?}\nand then {next:?}");
            ensure!(upstream(&next) == upstream(&first), "{first:?}\nand then {next:?}");
        }
        let tasks = world.count("sticky.local", 100, upstream)?;
        ensure!(tasks.len() == 5, "without cookies: {tasks:?}");
        Ok(())
    })
}

//! Where requests go: task mode, VIP mode, both together, canaries.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use waggle_tests::private_swarm::Task;

use crate::world::{address, metadata, on_stack, upstream};

/// The labels of a routed service.
pub(crate) fn routed(hosts: &str) -> String {
    format!("--label com.docker.lb.hosts={hosts} --label com.docker.lb.port=8080")
}

/// The labels of a service that is routed by its virtual IP.
pub(crate) fn routed_by_vip(hosts: &str) -> String {
    format!("{} --label com.docker.lb.backend_mode=vip", routed(hosts))
}

fn addresses(tasks: &[Task]) -> Result<BTreeSet<String>> {
    tasks.iter().map(|task| Ok(address(task)?.to_string())).collect()
}

#[test]
fn in_task_mode_every_task_gets_its_even_share() -> Result<()> {
    on_stack(|world| {
        let task_mode = "--label com.docker.lb.backend_mode=task";
        for (name, more) in [("plain", ""), ("task", task_mode)] {
            let host = format!("{name}.local");
            let tasks = world.create(name, 4, &format!("{} {more}", routed(&host)))?;
            let counted = world.count(&host, 400, upstream)?;
            let reached: BTreeSet<String> = counted.keys().cloned().collect();
            ensure!(reached == addresses(&tasks)?, "{name}: {counted:?}, {tasks:?}");
            let even = counted.values().all(|share| (80..=120).contains(share));
            ensure!(even, "{name}: {counted:?}");
        }
        Ok(())
    })
}

#[test]
fn both_modes_live_side_by_side_and_on_one_host() -> Result<()> {
    on_stack(|world| {
        let tasks = addresses(&world.create("task", 2, &routed("task.local,both.local"))?)?;
        world.create("vip", 2, &routed_by_vip("vip.local,both.local"))?;
        let vip = BTreeSet::from([world.vip("vip", "waggle-apps")?.to_string()]);
        let both: BTreeSet<String> = tasks.union(&vip).cloned().collect();
        for (host, endpoints) in [("task.local", tasks), ("vip.local", vip), ("both.local", both)] {
            let counted = world.count(host, 60, upstream)?;
            let even = u32::try_from(60 / endpoints.len())?;
            ensure!(counted.keys().eq(&endpoints), "{host}: {counted:?}, not {endpoints:?}");
            let near = |share: &u32| share.abs_diff(even) <= 2;
            ensure!(counted.values().all(near), "{host}: {counted:?}");
        }
        let of_both = world.count("both.local", 60, metadata)?;
        ensure!(of_both.len() == 2, "{of_both:?}");
        Ok(())
    })
}

#[test]
fn a_canary_gets_its_share_by_tasks_or_by_virtual_ips() -> Result<()> {
    on_stack(|world| {
        world.create("v1", 4, &routed("canary.local"))?;
        world.create("v2", 1, &routed("canary.local"))?;
        world.create("vip1", 4, &routed_by_vip("vip.local"))?;
        world.create("vip2", 1, &routed_by_vip("vip.local"))?;
        for (host, canary, shares) in
            [("canary.local", "v2", 160..=240), ("vip.local", "vip2", 460..=540)]
        {
            let counted = world.count(host, 1000, metadata)?;
            let share = counted.get(canary).copied().unwrap_or_default();
            ensure!(counted.len() == 2 && shares.contains(&share), "{host}: {counted:?}");
        }
        Ok(())
    })
}

//! A bad label is told, once, with its fix, and harms nobody else.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::controller::problem_codes;

use crate::modes::routed;
use crate::world::{World, on_stack};

/// A service that `docker service create` accepts and that is not quite right.
struct Case {
    name: &'static str,
    options: String,
    code: &'static str,
    standing: &'static str,
}

fn cases() -> Vec<Case> {
    let case = |name, options, code, standing| Case { name, options, code, standing };
    let with = |name: &str, more: &str| format!("{} {more}", routed(&format!("{name}.local")));
    let published = |name, more, code| case(name, with(name, more), code, "published");
    let rejected = |name, options, code| case(name, options, code, "rejected");
    let misplaced = with("misplaced", "").replace("--label", "--container-label");
    vec![
        rejected("no-port", "--label com.docker.lb.hosts=no-port.local".into(), "missing-port"),
        rejected("bad-port", with("bad-port", "--label com.docker.lb.port=http"), "bad-port"),
        rejected("misplaced", misplaced, "misplaced-labels"),
        published("bad-mode", "--label com.docker.lb.backend_mode=foo", "bad-backend-mode"),
        published(
            "dnsrr",
            "--label com.docker.lb.backend_mode=vip --endpoint-mode dnsrr",
            "vip-without-address",
        ),
        published("bad-net", "--label com.docker.lb.network=elsewhere", "unknown-network"),
        published("typo", "--label com.docker.lb.prot=8080", "unknown-label"),
        published("second", "--label com.docker.lb.default_backend=true", "two-default-backends"),
    ]
}

/// Each service's part of the status, by name.
fn parts(world: &World) -> Result<BTreeMap<String, Value>> {
    let status = world.status()?;
    let services = status["services"].as_array().context("the status has no services")?;
    let named = |service: &Value| Some((service["name"].as_str()?.to_owned(), service.clone()));
    Ok(services.iter().filter_map(named).collect())
}

/// Creates a case's service: its problem is told, and all others stay as they were.
fn create(world: &World, case: &Case) -> Result<()> {
    let Case { name, options, code, standing } = case;
    let mut others = parts(world)?;
    world.create(name, 1, options)?;
    let mut after = parts(world)?;
    let own = after.remove(*name).with_context(|| format!("{name} is not in {after:#?}"))?;
    ensure!(problem_codes(&world.status()?, name) == [*code], "{own:#}");
    ensure!(own["standing"] == *standing, "{own:#}");
    for part in ["message", "fix"] {
        let told = own["problems"][0][part].as_str().unwrap_or_default();
        ensure!(!told.is_empty(), "no {part} in {own:#}");
    }
    if *code == "two-default-backends" {
        // They form one pool: the first one's is another now.
        ensure!(others.remove("first").is_some() && after.remove("first").is_some());
    }
    ensure!(after == others, "{name} changed others: {others:#?}\nand then {after:#?}");
    for host in ["good.local", &format!("{name}.local")] {
        // The default backend answers for a host that is rejected.
        let answer = world.get(host, "/ping")?;
        ensure!(answer.status == 200, "{host}, beside {name}: {answer:?}");
    }
    Ok(())
}

#[test]
fn each_bad_label_is_told_once_and_harms_nobody_else() -> Result<()> {
    on_stack(|world| {
        world.create("good", 2, &routed("good.local"))?;
        let default = "--label com.docker.lb.default_backend=true";
        world.create("first", 1, &format!("{default} --label com.docker.lb.port=8080"))?;
        let cases = cases();
        for case in &cases {
            create(world, case)?;
        }
        let typo = world.status_of("typo")?["problems"][0].clone();
        let hint = typo["message"].as_str().unwrap_or_default();
        ensure!(hint.contains("com.docker.lb.port"), "no right spelling in {typo:#}");
        // Polls go on, and the controller does not repeat itself.
        world.wait_read()?;
        let log = world.controller_log()?;
        for Case { name, code, .. } in cases {
            let tells = |line: &&str| {
                line.contains(&format!("service={name} "))
                    && line.contains(&format!("code=\"{code}\""))
            };
            let told = log.lines().filter(tells).count();
            ensure!(told == 1, "{code} of {name} is {told} times in the log:\n{log}");
        }
        Ok(())
    })
}

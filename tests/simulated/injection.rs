//! Nothing that a label says makes Envoy reject an update, and a service beside it never feels it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::authority::Authority;
use waggle_tests::controller::{problem_codes, service};
use waggle_tests::engine::{Builder, Service};
use waggle_tests::envoy::Envoy;
use waggle_tests::load::Load;
use waggle_tests::program::eventually;
use waggle_tests::stage::Stage;

#[path = "../../controller/tests/envoy/injection/table.rs"]
mod table;

use table::{Case, Fate, cases};

/// How many services of the table are there at one time.
const AT_A_TIME: usize = 24;

fn builder(stage: &Stage, case: &Case) -> Builder {
    let plain = stage.engine.service(&case.name).network("apps");
    case.labels.iter().fold(plain, |builder, (name, value)| {
        let prefix = if name.starts_with("waggle.") { "" } else { "com.docker.lb." };
        builder.label(&format!("{prefix}{name}"), value)
    })
}

/// Mounts every secret that the table names, each one with a certificate and its key: any two of
/// them fit together.
fn mount_secrets(stage: &Stage) -> Result<()> {
    let signed = Authority::new()?.sign("secret.local")?;
    let both = format!("{}{}", signed.certificate, signed.key);
    let is_secret = |name: &str| ["ssl_cert", "ssl_key", "waggle.backend_ca"].contains(&name);
    let labels = cases().flat_map(|case| case.labels);
    let named: BTreeSet<_> = labels.filter(|(name, _)| is_secret(name)).map(|it| it.1).collect();
    let mountable = |name: &&String| {
        let ends = |end: char| end.is_ascii_alphanumeric();
        name.starts_with(ends)
            && name.ends_with(ends)
            && name.bytes().all(|it| it.is_ascii_graphic())
    };
    named.iter().filter(mountable).try_for_each(|name| stage.mount(name, &both))
}

/// Whether the proxies of the default cluster answer for a case.
fn is_here(case: &Case) -> bool {
    let cluster = case.labels.iter().find(|(name, _)| *name == "service_cluster");
    cluster.is_none_or(|(_, value)| ["", "default"].contains(&value.as_str()))
}

/// Whether a case is told as it should be.
fn is_told(status: &Value, case: &Case) -> bool {
    let (codes, standing) = match case.fate {
        Fate::Routed(codes) => (codes, "published"),
        Fate::Rejected(codes) => (codes, "rejected"),
    };
    service(status, &case.name).is_some_and(|service| service["standing"] == standing)
        && BTreeSet::from_iter(problem_codes(status, &case.name))
            == codes.iter().copied().collect::<BTreeSet<_>>()
}

/// Waits until all cases are told as they should be, and Envoy has the pools of those that have one.
async fn settle(stage: &mut Stage, cases: &[Case]) -> Result<()> {
    let told = |status: &Value| cases.iter().all(|case| is_told(status, case));
    stage.controller.wait_status(&shown(cases), told).await?;
    let is_routed = |case: &&Case| matches!(case.fate, Fate::Routed(_)) && is_here(case);
    eventually("Envoy has the pools", async || {
        let clusters = stage.envoy.get("/clusters")?;
        let has = |case: &Case| {
            let pool = format!("{}::", case.name);
            clusters.lines().any(|line| line.starts_with(&pool))
        };
        Ok(cases.iter().filter(is_routed).all(has).then_some(()))
    })
    .await
    .with_context(|| shown(cases))
}

fn shown(cases: &[Case]) -> String {
    let start = |case: &Case| format!("{:?}", case.labels).chars().take(100).collect::<String>();
    format!("these cases: {:#?}", cases.iter().map(start).collect::<Vec<_>>())
}

/// Everything that Envoy was told of a service, with the time when it was told.
fn parts(envoy: &Envoy, name: &str, host: &str) -> Result<Vec<Value>> {
    let is_part = |part: &Value| {
        part["cluster"]["name"] == name
            || part["endpoint_config"]["cluster_name"] == name
            || (part["name"] == host && part["domains"].is_array())
    };
    let found = waggle_tests::envoy::parts(&envoy.config_dump()?, &is_part);
    ensure!(found.len() == 3, "a cluster, its endpoints and a virtual host in {found:#?}");
    Ok(found)
}

/// What Envoy has rejected since its start, by statistic.
fn rejected(envoy: &Envoy) -> Result<Vec<(String, u64)>> {
    let rejected = |(name, count): &(String, u64)| name.ends_with("update_rejected") && *count > 0;
    Ok(envoy.stats()?.into_iter().filter(rejected).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_label_makes_envoy_reject_an_update_or_touches_another_service() -> Result<()> {
    let mut stage = Stage::start().await?;
    mount_secrets(&stage)?;
    let good = stage.service("good", "good.local").replicas(2);
    stage.deploy(good).await?;
    let before = parts(&stage.envoy, "good", "http/good.local")?;
    let load = Load::start(&stage.client, "good.local");

    let cases: Vec<_> = cases().collect();
    for together in cases.chunks(AT_A_TIME) {
        let services: Vec<_> = together.iter().map(|case| builder(&stage, case).create()).collect();
        settle(&mut stage, together).await?;
        let rejected = rejected(&stage.envoy)?;
        ensure!(rejected.is_empty(), "{rejected:?} by one of {}", shown(together));
        services.iter().for_each(Service::remove);
    }
    load.go_on(20).await?;
    load.end().await?;

    ensure!(
        parts(&stage.envoy, "good", "http/good.local")? == before,
        "the good service was sent again"
    );
    let status = stage.controller.wait_read().await?;
    let rejections = status["xds"]["rejections"].as_object().context("rejections")?;
    ensure!(rejections.values().all(|count| *count == 0), "{rejections:?}");
    Ok(())
}

/// The bootstrap's cluster for the controller is called so: whoever reached it could ask it for the
/// keys of all sessions.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_named_as_the_controllers_cluster_gets_its_own_requests() -> Result<()> {
    let mut stage = Stage::start().await?;
    let named = stage.service("xds", "named.local");
    stage.deploy(named).await?;
    let answer = stage.client.get("named.local", "/ping").await?;
    ensure!(answer.status == 200 && answer.json()?["metadata"] == "xds", "{answer:?}");
    Ok(())
}

/// `%CE` is a byte in a path, and `%CEL(…)%` a formatter of Envoy's.
#[tokio::test(flavor = "multi_thread")]
async fn no_path_of_a_label_is_a_formatter() -> Result<()> {
    const PATH: &str = "/%CEL(request.host)%20";
    let mut stage = Stage::start().await?;
    let stripped = stage
        .service("stripped", "stripped.local")
        .label("com.docker.lb.context_root", PATH)
        .label("com.docker.lb.context_root_rewrite", "true");
    stage.deploy(stripped).await?;
    let redirects = format!("http://moved.local,http://new.local{PATH}");
    let moved = stage.service("moved", "moved.local").label("com.docker.lb.redirects", &redirects);
    stage.deploy(moved).await?;
    let answer = stage.client.get("stripped.local", &format!("{PATH}/headers")).await?;
    ensure!(answer.status == 200, "{answer:?}");
    let seen = answer.json()?.to_string();
    ensure!(seen.contains(PATH), "the task saw {seen}");
    let answer = stage.client.get("moved.local", "/x").await?;
    ensure!(answer.header("location") == format!("http://new.local{PATH}/x"), "{answer:?}");
    Ok(())
}

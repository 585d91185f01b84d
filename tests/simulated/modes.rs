//! Where requests go: task mode, VIP mode, canaries, hosts that nobody has.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use waggle_tests::backend::VirtualIp;
use waggle_tests::client::Answer;
use waggle_tests::engine::Service;
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, Stage};

const MODE: &str = "com.docker.lb.backend_mode";
const DEFAULT: &str = "com.docker.lb.default_backend";

/// Asks a host so many times and counts what `key` says of the answers.
pub(crate) async fn count(
    stage: &Stage,
    host: &str,
    times: u32,
    key: impl Fn(&Answer) -> Result<String>,
) -> Result<BTreeMap<String, u32>> {
    let mut counted = BTreeMap::new();
    for _ in 0..times {
        let answer = stage.client.get(host, "/ping").await?;
        ensure!(answer.status == 200, "{host} answers {answer:?}");
        *counted.entry(key(&answer)?).or_default() += 1;
    }
    Ok(counted)
}

/// Which service answered.
fn metadata(answer: &Answer) -> Result<String> {
    Ok(answer.json()?["metadata"].as_str().unwrap_or_default().to_owned())
}

/// Runs what stands for IPVS: a balancer at a service's virtual IP, before its tasks.
pub(crate) async fn balance(stage: &mut Stage, service: &Service) -> Result<VirtualIp> {
    let address = service.vip("apps").expect("the service has a virtual IP");
    let vip = VirtualIp::start(address, APP_PORT).await?;
    stage.backends.serve(service, APP_PORT).await?;
    vip.set(service.tasks().iter().map(|task| SocketAddr::new(task.address(), APP_PORT)));
    Ok(vip)
}

/// Which endpoint answered.
fn upstream(answer: &Answer) -> Result<String> {
    let address = answer.header("x-upstream-addr");
    ensure!(!address.is_empty(), "no x-upstream-addr in {answer:?}");
    Ok(address.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_task_mode_every_task_gets_its_even_share() -> Result<()> {
    let mut stage = Stage::start().await?;
    for (host, mode) in [("plain.local", None), ("task.local", Some("task"))] {
        let builder = stage.service(host, host).replicas(4);
        let builder = match mode {
            Some(mode) => builder.label(MODE, mode),
            None => builder,
        };
        let service = stage.deploy(builder).await?;
        let counted = count(&stage, host, 400, upstream).await?;
        for task in service.tasks() {
            let address = SocketAddr::new(task.address(), APP_PORT).to_string();
            let share = counted.get(&address).copied().unwrap_or_default();
            ensure!((80..=120).contains(&share), "{host}: {counted:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_vip_mode_requests_go_to_the_virtual_ip_and_reach_every_task() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "vip.local").label(MODE, "vip").replicas(4);
    let service = builder.create();
    let _vip = balance(&mut stage, &service).await?;
    stage.settle().await?;
    let expected = SocketAddr::new(service.vip("apps").expect("a VIP"), APP_PORT).to_string();
    let mut counted: BTreeMap<String, u32> = BTreeMap::new();
    // Connections live one second at most; 400 requests are spread over several.
    for _ in 0..400 {
        let answer = stage.client.get("vip.local", "/sleep/8").await?;
        ensure!(answer.header("x-upstream-addr") == expected, "{answer:?}");
        let answer = stage.client.get("vip.local", "/ping").await?;
        for name in [
            "x-request-id",
            "x-proxy-id",
            "x-server-info",
            "x-upstream-addr",
            "x-upstream-response-time",
        ] {
            ensure!(!answer.header(name).is_empty(), "no {name} in {answer:?}");
        }
        *counted.entry(answer.instance()?).or_default() += 1;
    }
    ensure!(counted.len() == 4 && counted.values().all(|share| *share <= 180), "{counted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_modes_live_side_by_side_and_on_one_host() -> Result<()> {
    let mut stage = Stage::start().await?;
    let task = stage.service("task", "task.local,both.local").replicas(2);
    let task = stage.deploy(task).await?;
    let vip = stage.service("vip", "vip.local,both.local").label(MODE, "vip").replicas(2).create();
    let _balancer = balance(&mut stage, &vip).await?;
    stage.settle().await?;
    let virtual_ip = SocketAddr::new(vip.vip("apps").expect("a VIP"), APP_PORT).to_string();
    let of_tasks: Vec<String> = task
        .tasks()
        .iter()
        .map(|task| SocketAddr::new(task.address(), APP_PORT).to_string())
        .collect();
    let counted = count(&stage, "vip.local", 20, upstream).await?;
    ensure!(counted.keys().eq([&virtual_ip]), "{counted:?}");
    let counted = count(&stage, "task.local", 20, upstream).await?;
    ensure!(counted.keys().eq(&of_tasks), "{counted:?}");
    let counted = count(&stage, "both.local", 60, upstream).await?;
    ensure!(counted.len() == 3 && counted.get(&virtual_ip) == Some(&20), "{counted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_share_by_tasks_or_by_virtual_ips() -> Result<()> {
    let mut stage = Stage::start().await?;
    let stable = stage.service("v1", "canary.local").replicas(4);
    stage.deploy(stable).await?;
    let canary = stage.service("v2", "canary.local").replicas(1);
    stage.deploy(canary).await?;
    let counted = count(&stage, "canary.local", 1000, metadata).await?;
    let share = counted.get("v2").copied().unwrap_or_default();
    ensure!((160..=240).contains(&share), "task mode: {counted:?}");

    let mut balancers = Vec::new();
    for (name, replicas) in [("vip1", 4), ("vip2", 1)] {
        let builder = stage.service(name, "vip.local").label(MODE, "vip").replicas(replicas);
        balancers.push(balance(&mut stage, &builder.create()).await?);
    }
    stage.settle().await?;
    let counted = count(&stage, "vip.local", 1000, metadata).await?;
    let share = counted.get("vip2").copied().unwrap_or_default();
    ensure!((460..=540).contains(&share), "VIP mode: {counted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_backend_answers_for_hosts_that_nobody_claims() -> Result<()> {
    let mut stage = Stage::start().await?;
    let answer = stage.client.get("nobody.local", "/ping").await?;
    ensure!(answer.status == 503, "without one: {answer:?}");
    let builder = stage
        .engine
        .service("fallback")
        .network("apps")
        .label(DEFAULT, "true")
        .label("com.docker.lb.port", &APP_PORT.to_string());
    let fallback = stage.deploy(builder).await?;
    let builder = stage.service("known", "known.local");
    stage.deploy(builder).await?;
    for (host, service) in
        [("nobody.local", "fallback"), ("known.local", "known"), ("known.local:8443", "known")]
    {
        let answer = stage.client.get(host, "/ping").await?;
        ensure!(metadata(&answer)? == service, "{host}: {answer:?}");
    }
    fallback.remove();
    stage.settle().await?;
    let answer = stage.client.get("nobody.local", "/ping").await?;
    ensure!(answer.status == 503, "after its removal: {answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_answers_for_what_has_no_exact_host() -> Result<()> {
    let mut stage = Stage::start().await?;
    let wild = stage.service("wild", "*.example.local");
    stage.deploy(wild).await?;
    let exact = stage.service("exact", "a.example.local");
    stage.deploy(exact).await?;
    for (host, service) in
        [("b.example.local", "wild"), ("c.b.example.local", "wild"), ("A.Example.Local", "exact")]
    {
        let answer = stage.client.get(host, "/ping").await?;
        ensure!(metadata(&answer)? == service, "{host}: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_task_answers_503_and_when_to_come_again() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local").replicas(1);
    let service = stage.deploy(builder).await?;
    service.scale(0);
    // The last task stays for a moment: it still serves.
    let answer = eventually("nobody answers", async || {
        let answer = stage.client.get("demo.local", "/ping").await?;
        Ok((answer.status != 200).then_some(answer))
    })
    .await?;
    ensure!(answer.status == 503 && answer.header("retry-after") == "1", "{answer:?}");
    let address: IpAddr = "127.0.77.1".parse()?;
    service.give_addresses([address]);
    service.scale(1);
    stage.backends.serve(&service, APP_PORT).await?;
    stage.settle().await?;
    let answer = stage.client.get("demo.local", "/ping").await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

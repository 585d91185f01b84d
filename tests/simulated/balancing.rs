//! Which task of a pool gets a request: by the client's address, and not while it keeps failing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use waggle_tests::client::{Client, Jar};
use waggle_tests::controller::problem_codes;
use waggle_tests::engine::{Builder, Service, Task};
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, Stage};

const HOST: &str = "pool.local";
const IP_HASH: &str = "com.docker.lb.ip_hash";
const MAX_FAILS: &str = "com.docker.lb.max_fails";
const FAIL_TIMEOUT: &str = "com.docker.lb.fail_timeout";

/// How many clients there are, each with an address of its own.
const CLIENTS: u8 = 50;

fn addresses(third: u8, count: u8) -> impl Iterator<Item = IpAddr> {
    (1..=count).map(move |last| Ipv4Addr::new(127, 0, third, last).into())
}

/// A service whose tasks have the same addresses at each run, so that hashes come out the same.
fn hashed(stage: &Stage, third: u8) -> Builder {
    stage.service("pool", HOST).label(IP_HASH, "true").addresses(addresses(third, 9))
}

/// The task of each client, who asks so many times, each time on a new connection.
async fn tasks_of_clients(stage: &Stage, times: usize) -> Result<BTreeMap<IpAddr, String>> {
    let mut tasks = BTreeMap::new();
    for source in addresses(200, CLIENTS) {
        let client = Client::at(source, stage.http);
        let mut seen = BTreeSet::new();
        for _ in 0..times {
            let answer = client.get(HOST, "/ping").await?;
            ensure!(answer.status == 200, "{answer:?}");
            seen.insert(answer.instance()?);
        }
        ensure!(seen.len() == 1, "{source} came to {seen:?}");
        tasks.insert(source, seen.pop_first().context("a task")?);
    }
    Ok(tasks)
}

/// Whose task is another one than before.
fn moved<'a>(
    before: &'a BTreeMap<IpAddr, String>,
    after: &BTreeMap<IpAddr, String>,
) -> Vec<(&'a IpAddr, &'a String)> {
    before.iter().filter(|(client, task)| after.get(client) != Some(task)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_address_chooses_its_task() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = hashed(&stage, 201).replicas(4);
    let service = stage.deploy(builder).await?;
    let four = tasks_of_clients(&stage, 20).await?;
    let used: BTreeSet<_> = four.values().collect();
    ensure!(used.len() == 4, "50 clients on {used:?}");

    service.scale(5);
    stage.backends.serve(&service, APP_PORT).await?;
    stage.settle().await?;
    let five = tasks_of_clients(&stage, 3).await?;
    let gone = moved(&four, &five);
    // A fifth, and a tenth for chance.
    ensure!(!gone.is_empty() && gone.len() <= 15, "{} moved: {gone:?}", gone.len());

    let task = service.tasks()[0].clone();
    task.stop();
    stage.settle().await?;
    let left = tasks_of_clients(&stage, 3).await?;
    let address = task.address().to_string();
    let strangers: Vec<_> =
        moved(&five, &left).into_iter().filter(|(_, task)| **task != address).collect();
    ensure!(strangers.is_empty(), "moved without need: {strangers:?}");
    ensure!(left.values().all(|task| *task != address), "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sticky_cookie_wins_over_the_clients_address_and_that_is_told() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = hashed(&stage, 202).replicas(4);
    stage.deploy(builder.label("com.docker.lb.sticky_session_cookie", "session")).await?;
    let status = stage.controller.status()?;
    ensure!(problem_codes(&status, "pool") == ["ip-hash-with-sticky"], "{status:#}");
    // Clients of one address have tasks of their own, on which they stay.
    let mut used = BTreeSet::new();
    for _ in 0..10 {
        let mut jar = Jar::default();
        let first = stage.client.get_as(&mut jar, HOST, "/ping").await?.instance()?;
        for source in addresses(200, 5) {
            let elsewhere = Client::at(source, stage.http);
            let next = elsewhere.get_as(&mut jar, HOST, "/ping").await?.instance()?;
            ensure!(next == first, "moved from {first} to {next}");
        }
        used.insert(first);
    }
    ensure!(used.len() > 1, "10 sessions of one address on {used:?}");
    Ok(())
}

async fn deploy(stage: &mut Stage, replicas: u64, rest: &str) -> Result<Service> {
    let builder = stage.service("pool", HOST).replicas(replicas);
    stage.deploy(builder.label(MAX_FAILS, "3").label(FAIL_TIMEOUT, rest)).await
}

/// Makes a task answer every request so, or answer again.
async fn order(task: &Task, path: &str) -> Result<()> {
    let task = Client::new(SocketAddr::new(task.address(), APP_PORT));
    let answer = task.post(HOST, path, b"").await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// Asks so many times, and counts the answers by task and status.
async fn ask(stage: &Stage, times: u32, path: &str) -> Result<BTreeMap<(String, u16), u32>> {
    let mut counted = BTreeMap::new();
    for _ in 0..times {
        let answer = stage.client.get(HOST, path).await?;
        let key = (answer.header("x-upstream-addr").to_owned(), answer.status.as_u16());
        *counted.entry(key).or_default() += 1;
    }
    Ok(counted)
}

/// How many tasks Envoy has ejected now.
fn ejected(stage: &Stage) -> Result<u64> {
    stage.envoy.stat("cluster.pool.outlier_detection.ejections_active")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_task_rests_for_its_time_and_comes_back() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = deploy(&mut stage, 4, "3s").await?;
    let task = service.tasks()[0].clone();
    order(&task, "/break/503").await?;
    let began = Instant::now();
    let failures = |counted: &BTreeMap<(String, u16), u32>| -> u32 {
        counted.iter().filter(|((_, status), _)| *status == 503).map(|(_, n)| n).sum()
    };
    // Each of four is asked in turn: three times.
    let counted = ask(&stage, 12, "/ping").await?;
    let failed = failures(&counted);
    ensure!(failed == 3, "ejected after three failures, not {failed}: {counted:?}");
    // Envoy's workers hear of a rest from its main thread.
    eventually("the task rests", async || Ok((ejected(&stage)? == 1).then_some(()))).await?;
    let counted = ask(&stage, 88, "/ping").await?;
    ensure!(failures(&counted) == 0, "asked while it rests: {counted:?}");
    order(&task, "/mend").await?;
    let address = SocketAddr::new(task.address(), APP_PORT).to_string();
    eventually("the task is back", async || {
        let answer = stage.client.get(HOST, "/ping").await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok((answer.header("x-upstream-addr") == address).then_some(()))
    })
    .await?;
    let rested = began.elapsed();
    let expected = Duration::from_secs(3)..Duration::from_secs(6);
    ensure!(expected.contains(&rested), "it rested for {rested:?}");
    ensure!(ejected(&stage)? == 0, "it is back, and counted as ejected");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_no_connection_rests_too() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = deploy(&mut stage, 4, "1m").await?;
    let gone = SocketAddr::new(service.tasks()[0].address(), APP_PORT);
    stage.backends.end(gone);
    let counted = ask(&stage, 60, "/ping").await?;
    ensure!(counted.keys().all(|(_, status)| *status == 200), "{counted:?}");
    ensure!(ejected(&stage)? == 1, "{counted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_than_half_of_a_pool_rests() -> Result<()> {
    for (replicas, failing, resting) in [(1, 1, 0), (2, 2, 1), (3, 3, 1), (4, 2, 2), (4, 3, 2)] {
        let mut stage = Stage::start().await?;
        let service = deploy(&mut stage, replicas, "1m").await?;
        for task in service.tasks().iter().take(failing) {
            order(task, "/break/503").await?;
        }
        let counted = ask(&stage, 60, "/ping").await?;
        let now = ejected(&stage)?;
        ensure!(now == resting, "{failing} of {replicas} fail, {now} rest: {counted:?}");
        // Who does not rest is asked.
        let counted = ask(&stage, 20, "/ping").await?;
        ensure!(counted.len() as u64 == replicas - resting, "{failing} of {replicas}: {counted:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_an_application_eject_nobody() -> Result<()> {
    let mut stage = Stage::start().await?;
    deploy(&mut stage, 4, "1m").await?;
    for path in ["/status/500", "/status/501", "/status/429", "/status/404"] {
        let counted = ask(&stage, 40, path).await?;
        ensure!(counted.values().eq(&[10; 4]), "{path}: {counted:?}");
        ensure!(ejected(&stage)? == 0, "{path}");
    }
    // A gateway's failures count, on whatever URL; each success in between begins anew.
    for _ in 0..10 {
        ask(&stage, 8, "/status/503").await?;
        ask(&stage, 4, "/ping").await?;
    }
    ensure!(ejected(&stage)? == 0, "two failures in a row ejected somebody");
    for status in [502, 504, 503] {
        ask(&stage, 12, &format!("/status/{status}")).await?;
    }
    ensure!(ejected(&stage)? == 2, "{} rest", ejected(&stage)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_max_fails_nobody_rests() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("pool", HOST).replicas(4);
    let service = stage.deploy(builder).await?;
    order(&service.tasks()[0], "/break/503").await?;
    let counted = ask(&stage, 40, "/ping").await?;
    ensure!(counted.values().eq(&[10; 4]), "{counted:?}");
    Ok(())
}

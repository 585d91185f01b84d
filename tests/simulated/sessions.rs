//! Sticky sessions.

mod downgrade;
mod moves;
mod replies;
pub(crate) mod rotation;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use waggle_tests::client::Jar;
use waggle_tests::controller::problem_codes;
use waggle_tests::engine::Service;
use waggle_tests::stage::{APP_PORT, Stage};

pub(crate) const STICKY: &str = "com.docker.lb.sticky_session_cookie";
const HOST: &str = "sticky.local";

async fn sticky(stage: &mut Stage, replicas: u64) -> Result<Service> {
    let builder = stage.service("sticky", HOST).label(STICKY, "session").replicas(replicas);
    stage.deploy(builder).await
}

/// Asks with a jar, and gives the instance that answered.
async fn ask(stage: &Stage, jar: &mut Jar) -> Result<String> {
    let answer = stage.client.get_as(jar, HOST, "/ping").await?;
    ensure!(answer.status == 200, "{answer:?}");
    answer.instance()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_on_the_task_that_issued_it() -> Result<()> {
    let mut stage = Stage::start().await?;
    sticky(&mut stage, 4).await?;
    let mut used = std::collections::BTreeSet::new();
    for client in 0..20 {
        let mut jar = Jar::default();
        let first = ask(&stage, &mut jar).await?;
        ensure!(jar.get("session_lb").is_some(), "no pin after the first answer: {jar:?}");
        let pin = jar.get("session_lb").map(ToOwned::to_owned);
        for request in 0..50 {
            let instance = ask(&stage, &mut jar).await?;
            ensure!(instance == first, "client {client}, request {request}: {instance}");
        }
        // The application echoes its cookie bare, as one of the browser session: told once.
        ensure!(jar.get("session").is_some() && pin.is_some(), "{jar:?}");
        used.insert(first);
    }
    ensure!(used.len() > 1, "20 clients on {used:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_task_leaves_goes_on_elsewhere() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = sticky(&mut stage, 3).await?;
    let mut jar = Jar::default();
    let first = ask(&stage, &mut jar).await?;
    let pin = jar.get("session_lb").map(ToOwned::to_owned);
    let task = service.tasks().into_iter().find(|task| task.address().to_string() == first);
    let task = task.context("the pinned task")?;
    task.stop();
    stage.settle().await?;
    stage.backends.end(SocketAddr::new(task.address(), APP_PORT));
    let second = ask(&stage, &mut jar).await?;
    ensure!(second != first, "{second}");
    ensure!(jar.get("session_lb") != pin.as_deref(), "no new pin");
    for _ in 0..20 {
        ensure!(ask(&stage, &mut jar).await? == second, "the new pin does not hold");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_joins_or_leaves_moves_nobody() -> Result<()> {
    let mut stage = Stage::start().await?;
    sticky(&mut stage, 3).await?;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut jar = Jar::default();
        let instance = ask(&stage, &mut jar).await?;
        clients.push((jar, instance));
    }
    let builder = stage.service("canary", HOST).label(STICKY, "session").replicas(2);
    let canary = stage.deploy(builder).await?;
    for (jar, instance) in &mut clients {
        ensure!(ask(&stage, jar).await? == *instance, "moved when the canary joined");
    }
    canary.remove();
    stage.settle().await?;
    for (jar, instance) in &mut clients {
        ensure!(ask(&stage, jar).await? == *instance, "moved when the canary left");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_only_the_applications_cookie_stays_too() -> Result<()> {
    let mut stage = Stage::start().await?;
    sticky(&mut stage, 4).await?;
    for session in ["1", "2", "3", "4", "5"] {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            let mut jar = Jar::default();
            jar.set("session", Some(session));
            seen.insert(ask(&stage, &mut jar).await?);
        }
        ensure!(seen.len() == 1, "session {session} on {seen:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stickiness_in_vip_mode_is_told_and_the_service_routed() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = stage
        .service("sticky", HOST)
        .label(STICKY, "session")
        .label("com.docker.lb.backend_mode", "vip")
        .create();
    let _vip = super::modes::balance(&mut stage, &service).await?;
    stage.settle().await?;
    let mut jar = Jar::default();
    ask(&stage, &mut jar).await?;
    ensure!(jar.get("session_lb").is_none(), "{jar:?}");
    let status = stage.controller.status()?;
    ensure!(problem_codes(&status, "sticky") == ["sticky-with-vip"], "{status:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cookie_harms_the_filter_or_reaches_the_task() -> Result<()> {
    let mut stage = Stage::start().await?;
    sticky(&mut stage, 2).await?;
    let mut jar = Jar::default();
    ask(&stage, &mut jar).await?;
    let pin = jar.get("session_lb").context("a pin")?.to_owned();
    let forged = format!("session_lb={}x", pin.get(..pin.len() - 1).unwrap_or_default());
    let long = format!("a={}", "x".repeat(50 * 1024));
    let valid = format!("a=1; session_lb={pin}; b=2");
    let lines: [&[&[u8]]; 6] = [
        &[b"session=\xff\xfe; session_lb=\xff"],
        &[b"a=1", b"session_lb=zzz; b=2", b"c=3"],
        &[forged.as_bytes()],
        &[long.as_bytes()],
        &[b";;;= ; session_lb=; session_lb"],
        &[valid.as_bytes()],
    ];
    for cookies in lines {
        let headers: Vec<(&str, &[u8])> = cookies.iter().map(|line| ("cookie", *line)).collect();
        let answer = stage.client.get_with(HOST, "/headers", &headers).await?;
        ensure!(answer.status == 200, "{cookies:?}: {answer:?}");
        let seen = answer.json()?.to_string();
        ensure!(!seen.contains("session_lb=") && !seen.contains("x-waggle"), "the task saw {seen}");
    }
    let two = stage.client.get_with(HOST, "/headers", &[("cookie", b"a=1"), ("cookie", b"b=2")]);
    let seen = two.await?.json()?.to_string();
    ensure!(seen.contains(r#"["cookie","a=1"]"#), "the task saw {seen}");
    ensure!(seen.contains(r#"["cookie","b=2"]"#), "the task saw {seen}");
    for (name, value) in stage.envoy.stats()? {
        ensure!(!name.contains("vm_reload") || value == 0, "{name}: {value}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_holds_over_http2_too() -> Result<()> {
    let mut stage = Stage::start().await?;
    sticky(&mut stage, 4).await?;
    stage.client = waggle_tests::client::Client::http2(stage.http).await?;
    let mut jar = Jar::default();
    let first = ask(&stage, &mut jar).await?;
    for _ in 0..20 {
        ensure!(ask(&stage, &mut jar).await? == first, "moved");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_shows_anywhere() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys");
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY=";
    std::fs::write(&file, format!("{key}\n"))?;
    let path = file.display().to_string();
    let mut stage = Stage::start_with(&["--session-keys", &path, "--log", "trace"]).await?;
    sticky(&mut stage, 1).await?;
    ask(&stage, &mut Jar::default()).await?;
    let raw = "ABCDEFGHIJKLMNOPQRSTUVWXYZ123456";
    let places = [
        ("/status", stage.controller.status()?.to_string()),
        ("the controller's log", stage.controller.log()),
        ("/config_dump", stage.envoy.config_dump()?.to_string()),
        ("Envoy's log", stage.envoy.log()),
    ];
    for (place, text) in places {
        ensure!(!text.contains(key) && !text.contains(raw), "the key shows in {place}");
    }
    Ok(())
}

//! Debug headers, and what passes between client and task.

use anyhow::{Context, Result, ensure};
use waggle_tests::client::Answer;
use waggle_tests::stage::{APP_PORT, Stage};

pub(crate) const OF_EVERY_ANSWER: [&str; 3] = ["x-request-id", "x-proxy-id", "x-server-info"];
pub(crate) const OF_THE_TASK: [&str; 2] = ["x-upstream-addr", "x-upstream-response-time"];

pub(crate) fn has(answer: &Answer, names: &[&str]) -> Result<()> {
    for name in names {
        let values = answer.headers.get_all(*name).iter().count();
        ensure!(values == 1, "{values} times {name} in {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_who_gave_it() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local").replicas(1);
    let service = stage.deploy(builder).await?;
    let task = format!("{}:{APP_PORT}", service.tasks().first().context("a task")?.address());
    for (path, status) in [("/ping", 200), ("/status/404", 404), ("/status/500", 500)] {
        let answer = stage.client.get("demo.local", path).await?;
        ensure!(answer.status == status, "{path}: {answer:?}");
        has(&answer, &OF_EVERY_ANSWER)?;
        has(&answer, &OF_THE_TASK)?;
        ensure!(answer.header("x-upstream-addr") == task, "{answer:?}");
        ensure!(answer.header("x-server-info").starts_with("waggle/"), "{answer:?}");
    }
    let slow = stage.client.get("demo.local", "/sleep/120").await?;
    let seconds: f64 = slow.header("x-upstream-response-time").parse()?;
    ensure!((0.12..2.0).contains(&seconds), "{slow:?}");

    let nobody = stage.client.get("nobody.local", "/").await?;
    has(&nobody, &OF_EVERY_ANSWER)?;
    ensure!(OF_THE_TASK.iter().all(|name| nobody.header(name).is_empty()), "{nobody:?}");
    // The task's port closes without a word to Swarm: Envoy tried it, and says so.
    stage.backends.end(task.parse()?);
    let gone = stage.client.get("demo.local", "/ping").await?;
    ensure!(gone.status == 503 && gone.header("x-upstream-addr") == task, "{gone:?}");
    has(&gone, &OF_EVERY_ANSWER)
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_headers_get_through_in_neither_direction() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local");
    stage.deploy(builder).await?;
    let forged: Vec<(&str, &[u8])> = OF_EVERY_ANSWER[1..]
        .iter()
        .chain(&OF_THE_TASK)
        .chain(&["x-waggle-endpoint"])
        .map(|name| (*name, b"forged".as_slice()))
        .collect();
    let seen = stage.client.get_with("demo.local", "/headers", &forged).await?.json()?.to_string();
    ensure!(!seen.contains("forged"), "the task saw {seen}");
    let answer = stage.client.get("demo.local", "/forge").await?;
    for (name, value) in &answer.headers {
        ensure!(!value.as_bytes().starts_with(b"forged"), "{name} of {answer:?}");
    }
    has(&answer, &OF_EVERY_ANSWER)?;
    has(&answer, &OF_THE_TASK)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_well_formed_request_id_is_kept_and_any_other_replaced() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local");
    stage.deploy(builder).await?;
    let long = "x".repeat(129);
    for (id, kept) in
        [("abc-1.2_3", true), (&"x".repeat(128), true), ("a b", false), (&long, false)]
    {
        let header: [(&str, &[u8]); 1] = [("x-request-id", id.as_bytes())];
        let answer = stage.client.get_with("demo.local", "/ping", &header).await?;
        let told = answer.header("x-request-id");
        ensure!((told == id) == kept && !told.is_empty(), "{id}: {answer:?}");
        ensure!(answer.json()?["request_id"] == told, "the task got another: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_debug_headers_are_nowhere() -> Result<()> {
    let mut stage = Stage::start_with(&["--hide-info-headers"]).await?;
    let builder = stage.service("demo", "demo.local");
    stage.deploy(builder).await?;
    for host in ["demo.local", "nobody.local"] {
        let answer = stage.client.get(host, "/ping").await?;
        for name in OF_EVERY_ANSWER.iter().chain(&OF_THE_TASK) {
            ensure!(answer.header(name).is_empty(), "{name} in {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_learns_who_asked_and_how() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local");
    stage.deploy(builder).await?;
    let spoofed: [(&str, &[u8]); 2] =
        [("x-forwarded-for", b"1.2.3.4"), ("x-forwarded-proto", b"https")];
    let seen = stage.client.get_with("demo.local", "/headers", &spoofed).await?.json()?.to_string();
    for pair in [
        r#"["host","demo.local"]"#,
        r#"["x-real-ip","127.0.0.1"]"#,
        r#"["x-forwarded-proto","http"]"#,
        r#"["x-forwarded-host","demo.local"]"#,
    ] {
        ensure!(seen.contains(pair), "no {pair} in {seen}");
    }
    Ok(())
}

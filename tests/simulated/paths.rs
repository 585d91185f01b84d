//! Context roots: which paths of a host a service answers, and what of them its tasks see.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::client::Answer;
use waggle_tests::controller::problem_codes;
use waggle_tests::engine::{Builder, Service};
use waggle_tests::stage::Stage;

use crate::headers::{OF_EVERY_ANSWER, OF_THE_TASK, has};

const ROOT: &str = "com.docker.lb.context_root";
const REWRITE: &str = "com.docker.lb.context_root_rewrite";
const HOST: &str = "paths.local";

/// Whether tasks see the context root.
#[derive(Clone, Copy)]
enum Root {
    Kept,
    Stripped,
}

fn at(stage: &Stage, name: &str, host: &str, path: &str, root: Root) -> Builder {
    let builder = stage.service(name, host).label(ROOT, path);
    match root {
        Root::Kept => builder,
        Root::Stripped => builder.label(REWRITE, "true"),
    }
}

async fn deploy(stage: &mut Stage, name: &str, path: &str, root: Root) -> Result<Service> {
    let builder = at(stage, name, HOST, path, root);
    stage.deploy(builder).await
}

/// Who answered: the demo application's instance is its task's address.
fn is_from(answer: &Answer, service: &Service) -> Result<bool> {
    let instance = answer.instance()?;
    Ok(service.tasks().iter().any(|task| task.address().to_string() == instance))
}

/// What the task got as path, query included.
fn received(answer: &Answer) -> Result<String> {
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.json()?["path"].as_str().context("no path in the answer")?.to_owned())
}

/// The values of a header that the task got.
fn received_header(answer: &Answer, name: &str) -> Result<Vec<Value>> {
    let pairs: Vec<(String, Value)> = serde_json::from_value(answer.json()?["headers"].clone())?;
    Ok(pairs.into_iter().filter(|(it, _)| it == name).map(|(_, value)| value).collect())
}

/// Asks for paths by GET and by POST with a body; each is to reach the task as written beside it, or
/// not at all.
async fn check(stage: &Stage, cases: &[(&str, Option<&str>)]) -> Result<()> {
    for (asked, expected) in cases {
        let got = stage.client.get(HOST, asked).await?;
        let posted = stage.client.post(HOST, asked, b"a body").await?;
        for (method, bytes, answer) in [("GET", 0, &got), ("POST", 6, &posted)] {
            let Some(expected) = expected else {
                ensure!(answer.status == 404, "{method} {asked}: {answer:?}");
                continue;
            };
            ensure!(received(answer)? == *expected, "{method} {asked}: {answer:?}");
            let seen = answer.json()?;
            let whole = seen["method"] == method && seen["body_bytes"] == bytes;
            ensure!(whole, "{method} {asked}: {seen:#}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_root_takes_whole_segments_and_leaves_paths_as_they_are() -> Result<()> {
    let mut stage = Stage::start().await?;
    deploy(&mut stage, "app", "/app", Root::Kept).await?;
    let fallback = stage.service("fallback", "other.local");
    stage.deploy(fallback.label("com.docker.lb.default_backend", "true")).await?;
    check(
        &stage,
        &[
            ("/app", Some("/app")),
            ("/app/", Some("/app/")),
            ("/app?q=1", Some("/app?q=1")),
            ("/app/x?q=/app&r", Some("/app/x?q=/app&r")),
            ("/app/x.js", Some("/app/x.js")),
            ("/app/a%2Fb%2f%3F", Some("/app/a%2Fb%2f%3F")),
            ("/app//x//", Some("/app//x//")),
            ("/app/./x", Some("/app/x")),
            ("/app/x/../y", Some("/app/y")),
            // None of these is below it; the default backend never answers for a known host.
            ("/", None),
            ("/apple", None),
            ("/app.js", None),
            ("/App/x", None),
            ("//app/x", None),
            ("/x/app", None),
            ("/app%2Fx", None),
            ("/app/../x", None),
            ("/app/%2e%2e/x", None),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewrite_strips_the_context_root_whatever_the_method() -> Result<()> {
    let mut stage = Stage::start().await?;
    deploy(&mut stage, "app", "/app.v1", Root::Stripped).await?;
    check(
        &stage,
        &[
            ("/app.v1", Some("/")),
            ("/app.v1/", Some("/")),
            ("/app.v1?q=1", Some("/?q=1")),
            ("/app.v1/x?q=/app.v1/y", Some("/x?q=/app.v1/y")),
            ("/app.v1/x.js", Some("/x.js")),
            ("/app.v1/app.v1/x", Some("/app.v1/x")),
            ("/app.v1/a%2Fb%20c", Some("/a%2Fb%20c")),
            ("/app.v1//x", Some("//x")),
            ("/app.v1/x/../y/", Some("/y/")),
            ("/app.v1le", None),
            ("/appxv1/x", None),
            ("/app.v1/../x", None),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_stripped_prefix_is_told_to_the_task() -> Result<()> {
    let mut stage = Stage::start().await?;
    deploy(&mut stage, "stripped", "/stripped", Root::Stripped).await?;
    deploy(&mut stage, "kept", "/kept", Root::Kept).await?;
    let forged: [(&str, &[u8]); 1] = [("x-forwarded-prefix", b"/forged")];
    for (path, told) in [("/stripped/x", vec!["/stripped"]), ("/kept/x", vec![])] {
        for headers in [&[], &forged[..]] {
            let answer = stage.client.get_with(HOST, path, headers).await?;
            let prefix = received_header(&answer, "x-forwarded-prefix")?;
            ensure!(prefix == told, "{path} with {headers:?}: {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_context_root_wins_in_whatever_service() -> Result<()> {
    let mut stage = Stage::start().await?;
    let root = deploy(&mut stage, "root", "/", Root::Kept).await?;
    let app = deploy(&mut stage, "app", "/app", Root::Stripped).await?;
    let deep = deploy(&mut stage, "deep", "/app/deep/down", Root::Stripped).await?;
    let shared = at(&stage, "shared", "paths.local,second.local", "/shared", Root::Kept);
    let shared = stage.deploy(shared).await?;
    for (path, service, seen) in [
        ("/", &root, "/"),
        ("/apple/x", &root, "/apple/x"),
        ("/app/x", &app, "/x"),
        ("/app/deep", &app, "/deep"),
        ("/app/deep/downer", &app, "/deep/downer"),
        ("/app/deep/down", &deep, "/"),
        ("/app/deep/down/x", &deep, "/x"),
        ("/shared/x", &shared, "/shared/x"),
    ] {
        let answer = stage.client.get(HOST, path).await?;
        ensure!(is_from(&answer, service)? && received(&answer)? == seen, "{path}: {answer:?}");
    }
    // The same service on another of its hosts, where nobody has the rest.
    let answer = stage.client.get("second.local", "/shared/x").await?;
    ensure!(is_from(&answer, &shared)?, "{answer:?}");
    let answer = stage.client.get("second.local", "/app/x").await?;
    ensure!(answer.status == 404, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_on_one_context_root_share_it() -> Result<()> {
    let mut stage = Stage::start().await?;
    let stable = deploy(&mut stage, "stable", "/app", Root::Stripped).await?;
    let canary = deploy(&mut stage, "canary", "/app/", Root::Stripped).await?;
    let mut from = [0, 0];
    for _ in 0..20 {
        let answer = stage.client.get(HOST, "/app/x").await?;
        ensure!(received(&answer)? == "/x", "{answer:?}");
        for (service, count) in [&stable, &canary].into_iter().zip(&mut from) {
            *count += u32::from(is_from(&answer, service)?);
        }
    }
    ensure!(from == [10, 10], "{from:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_host_has_context_roots_and_an_exact_host_its_own() -> Result<()> {
    let mut stage = Stage::start().await?;
    let wild = at(&stage, "wild", "*.wild.local", "/app", Root::Stripped);
    let wild = stage.deploy(wild).await?;
    let exact = at(&stage, "exact", "a.wild.local", "/own", Root::Kept);
    let exact = stage.deploy(exact).await?;
    for (host, path, expected) in [
        ("b.wild.local", "/app/x", Some((&wild, "/x"))),
        ("c.b.wild.local", "/app", Some((&wild, "/"))),
        ("b.wild.local", "/own/x", None),
        ("a.wild.local", "/own/x", Some((&exact, "/own/x"))),
        ("a.wild.local", "/app/x", None),
    ] {
        let answer = stage.client.get(host, path).await?;
        match expected {
            Some((service, seen)) => {
                let fine = received(&answer)? == seen && is_from(&answer, service)?;
                ensure!(fine, "{host}{path}: {answer:?}");
            }
            None => ensure!(answer.status == 404, "{host}{path}: {answer:?}"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_path_of_a_known_host_says_who_refused_it() -> Result<()> {
    let mut stage = Stage::start().await?;
    deploy(&mut stage, "app", "/app", Root::Kept).await?;
    let answer = stage.client.get(HOST, "/elsewhere").await?;
    ensure!(answer.status == 404, "{answer:?}");
    has(&answer, &OF_EVERY_ANSWER)?;
    ensure!(OF_THE_TASK.iter().all(|name| answer.header(name).is_empty()), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_below_a_context_root_is_the_paths_own() -> Result<()> {
    let mut stage = Stage::start().await?;
    for (name, path) in [("one", "/one"), ("two", "/two")] {
        let service = at(&stage, name, HOST, path, Root::Stripped).replicas(3);
        stage.deploy(service.label("com.docker.lb.sticky_session_cookie", "session")).await?;
        let answer = stage.client.get(HOST, &format!("{path}/x")).await?;
        let pin = answer.set_cookies().first().map(ToString::to_string).context("no pin")?;
        let attributes: Vec<_> = pin.split("; ").skip(1).collect();
        let expected = [format!("Path={path}"), "HttpOnly".into(), "SameSite=Lax".into()];
        ensure!(pin.starts_with("session_lb=") && attributes == expected, "{pin}");

        let cookie = pin.split(';').next().unwrap_or_default();
        let first = answer.instance()?;
        for _ in 0..10 {
            let headers: [(&str, &[u8]); 1] = [("cookie", cookie.as_bytes())];
            let next = stage.client.get_with(HOST, &format!("{path}/y"), &headers).await?;
            ensure!(next.instance()? == first, "moved: {next:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_root_that_breaks_changes_nothing_for_clients() -> Result<()> {
    let mut stage = Stage::start().await?;
    let app = deploy(&mut stage, "app", "/app", Root::Stripped).await?;
    let updates = stage.updates()?;
    let paths = [("/app/x", Some("/x")), ("/app", Some("/")), ("/apple", None), ("/", None)];
    for nonsense in ["app", "/a b", "/app?x", "/a/../b", "/%", ""] {
        app.set_label(ROOT, nonsense);
        let told = |status: &Value| {
            let problems = waggle_tests::controller::service(status, "app");
            let value = problems.map(|it| it["problems"][0]["value"] == nonsense);
            problem_codes(status, "app") == ["bad-path"] && value == Some(true)
        };
        stage.controller.wait_status("the problem is told", told).await?;
        check(&stage, &paths).await?;
        ensure!(stage.updates()? == updates, "Envoy was told something at {nonsense:?}");
    }
    // What is removed is not broken.
    app.remove_label(ROOT);
    stage.controller.wait_status("no problem", |it| problem_codes(it, "app").is_empty()).await?;
    waggle_tests::program::eventually("all paths are its own", async || {
        Ok((stage.client.get(HOST, "/apple").await?.status == 200).then_some(()))
    })
    .await
}

//! A bad label is told, once, with its fix, and harms nobody else.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::controller::{problem_codes, service};
use waggle_tests::engine::Builder;
use waggle_tests::stage::Stage;

const PREFIX: &str = "com.docker.lb.";

fn label(builder: Builder, name: &str, value: &str) -> Builder {
    builder.label(&format!("{PREFIX}{name}"), value)
}

/// The part of a status that a stranger's labels must not change.
fn good(status: &Value) -> Option<Value> {
    service(status, "good").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_label_is_told_once_and_harms_nobody_else() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("good", "good.local").replicas(2);
    stage.deploy(builder).await?;
    let before = good(&stage.controller.status()?).context("the good service")?;

    let plain = |name: &str| stage.engine.service(name).network("apps");
    let routed = |name: &str| {
        let builder = plain(name).label(&format!("{PREFIX}hosts"), &format!("{name}.local"));
        builder.label(&format!("{PREFIX}port"), "8080")
    };
    let cases: Vec<(&str, Builder, &[&str], &str)> = vec![
        ("no-port", label(plain("no-port"), "hosts", "a.local"), &["missing-port"], "rejected"),
        ("bad-port", label(routed("bad-port"), "port", "http"), &["bad-port"], "rejected"),
        (
            "bad-mode",
            label(routed("bad-mode"), "backend_mode", "foo"),
            &["bad-backend-mode"],
            "published",
        ),
        (
            "dnsrr",
            label(routed("dnsrr"), "backend_mode", "vip").dnsrr(),
            &["vip-without-address"],
            "published",
        ),
        (
            "bad-net",
            label(routed("bad-net"), "network", "elsewhere"),
            &["unknown-network"],
            "published",
        ),
        ("typo", label(routed("typo"), "prot", "8080"), &["unknown-label"], "published"),
        (
            "container",
            plain("container")
                .container_label("com.docker.lb.hosts", "c.local")
                .container_label("com.docker.lb.port", "8080"),
            &["misplaced-labels"],
            "rejected",
        ),
        ("default-1", label(routed("default-1"), "default_backend", "true"), &[], "published"),
        (
            "default-2",
            label(routed("default-2"), "default_backend", "true"),
            &["two-default-backends"],
            "published",
        ),
    ];
    let mut expected = Vec::new();
    for (name, builder, codes, standing) in cases {
        builder.create();
        expected.extend(codes.iter().map(|code| format!("service={name} code=\"{code}\"")));
        let status = stage.controller.wait_status(name, |status| service(status, name).is_some());
        let status = status.await?;
        ensure!(problem_codes(&status, name) == codes, "{name}: {status:#}");
        ensure!(service(&status, name).is_some_and(|it| it["standing"] == standing), "{status:#}");
        ensure!(good(&status).as_ref() == Some(&before), "{name} changed the good service");
        ensure!(stage.client.get("good.local", "/ping").await?.status == 200, "{name}");
    }

    stage.controller.wait_read().await?;
    let log = stage.controller.log();
    for problem in expected {
        let told = log.lines().filter(|line| line.contains(&problem)).count();
        ensure!(told == 1, "{problem} is {told} times in the log:\n{log}");
    }
    let typo = service(&stage.controller.status()?, "typo").cloned().context("typo")?;
    let problem = &typo["problems"][0];
    ensure!(problem["message"].to_string().contains("com.docker.lb.port"), "{problem:#}");
    ensure!(problem["fix"].to_string().contains("--label-rm com.docker.lb.prot"), "{problem:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_label_that_breaks_takes_no_working_service_away() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("demo", "demo.local");
    let demo = stage.deploy(builder).await?;
    demo.set_label("com.docker.lb.port", "808O");
    let told = |status: &Value| problem_codes(status, "demo") == ["bad-port"];
    stage.controller.wait_status("the problem is told", told).await?;
    ensure!(stage.client.get("demo.local", "/ping").await?.status == 200, "it is gone");
    demo.remove_label("com.docker.lb.hosts");
    let gone = |status: &Value| problem_codes(status, "demo").contains(&"no-hosts");
    stage.controller.wait_status("it is unpublished", gone).await?;
    Ok(())
}

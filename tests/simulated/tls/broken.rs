//! A bad certificate harms the hosts that should show it, and nobody else.

use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;
use waggle_tests::controller::problem_codes;
use waggle_tests::engine::Builder;
use waggle_tests::envoy::Envoy;
use waggle_tests::program::eventually;
use waggle_tests::tls::programs::s_client;
use waggle_tests::tls::{BOTH, Connection};

use super::{CERT, KEY, Secured};

/// A response that is on its way for 3 s, while something happens, and then its connection.
pub(super) async fn slow(
    at: &Secured,
    host: &'static str,
) -> Result<JoinHandle<Result<Connection>>> {
    let mut connection = at.client.connect(host, BOTH).await?;
    ensure!(connection.get(host, "/ping").await?.status == 200);
    Ok(tokio::spawn(async move {
        let answer = connection.get(host, "/sleep/3000").await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(connection)
    }))
}

/// Services whose certificates are bad, each in a way of its own, by name.
fn bad(at: &Secured) -> Result<Vec<(&'static str, Builder)>> {
    let good = at.authority.sign("bad.local")?;
    let other = at.authority.sign("bad.local")?;
    let cut = good.certificate.split_at(good.certificate.len() / 2).0;
    let mut services = Vec::new();
    for (name, certificate, key) in [
        ("cut", cut, good.key.as_str()),
        ("swapped", &good.key, &good.certificate),
        ("empty", "", ""),
        ("noise", "no certificate\u{0}\u{1}", "no key"),
        ("alien", &good.certificate, &other.key),
    ] {
        at.stage.mount(&format!("{name}.cert"), certificate)?;
        at.stage.mount(&format!("{name}.key"), key)?;
        services.push((name, at.stage.service(name, &format!("{name}.local"))));
    }
    for part in ["cert", "key"] {
        at.stage.proxy.mount(&format!("absent.{part}"), "/nowhere/at/all");
    }
    services.push(("absent", at.stage.service("absent", "absent.local")));
    let labelled = |(name, builder): (&'static str, Builder)| {
        let builder = builder.label(CERT, &format!("{name}.cert"));
        (name, builder.label(KEY, &format!("{name}.key")))
    };
    Ok(services.into_iter().map(labelled).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_harms_its_own_hosts_only() -> Result<()> {
    let mut at = Secured::start().await?;
    let good = at.service("good", "good.local")?;
    at.deploy(good, "good.local").await?;
    let going_on = slow(&at, "good.local").await?;
    let bad = bad(&at)?;
    let names: Vec<&str> = bad.iter().map(|(name, _)| *name).collect();
    let mut deployed = Vec::new();
    for (name, service) in bad {
        deployed.push(at.stage.deploy(service).await?);
        let host = format!("{name}.local");
        eventually("its plain host answers", async || {
            Ok((at.stage.client.get(&host, "/ping").await?.status == 200).then_some(()))
        })
        .await?;
    }
    // What comes later is not held up.
    let later = at.service("later", "later.local")?;
    at.deploy(later, "later.local").await?;
    ensure!(going_on.await??.get("good.local", "/ping").await?.status == 200);
    let answers = async |at: &Secured| {
        for name in &names {
            let seen = s_client(at.stage.https, &["-servername", &format!("{name}.local")]).await?;
            ensure!(!seen.success && seen.text.contains("no peer certificate"), "{name}: {seen:?}");
        }
        for host in ["good.local", "later.local"] {
            let answer = at.client.get(host, "/ping").await?;
            ensure!(answer.status == 200, "{host}: {answer:?}");
        }
        Ok(())
    };
    answers(&at).await?;
    tells_of(&mut at, &names).await?;

    at.stage.envoy = Envoy::start(at.stage.controller.xds(), "envoy-1", 1)?;
    at.stage.envoy.wait_ready()?;
    at.wait_tls("good.local").await?;
    at.wait_tls("later.local").await?;
    answers(&at).await?;
    tells_of(&mut at, &names).await?;

    // A whole one in its place, by another secret.
    let whole = at.authority.sign("cut.local")?;
    at.stage.mount_certificate("whole", &whole)?;
    let cut = deployed.first().context("the first of them")?;
    cut.set_labels([(CERT, "whole.cert"), (KEY, "whole.key")]);
    at.wait_tls("cut.local").await?;
    let healed = |status: &_| problem_codes(status, "cut").is_empty();
    at.stage.controller.wait_status("nothing is told of it", healed).await.map(drop)
}

/// Waits until each of these services, and no other, is told that its certificate is refused.
async fn tells_of(at: &mut Secured, names: &[&str]) -> Result<()> {
    let told = |status: &_| {
        let refused = |name: &&str| problem_codes(status, name) == ["certificate-refused"];
        let sound = |name: &&str| problem_codes(status, name).is_empty();
        names.iter().all(refused) && ["good", "later"].iter().all(sound)
    };
    at.stage.controller.wait_status("certificate-refused", told).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_mounted_is_told_and_plain_http_goes_on() -> Result<()> {
    let mut at = Secured::start().await?;
    let good = at.service("good", "good.local")?;
    at.deploy(good, "good.local").await?;
    let going_on = slow(&at, "good.local").await?;
    let code = "secret-without-proxy";
    let bad = at.stage.service("bad", "bad.local").label(CERT, "elsewhere.cert");
    at.stage.deploy(bad.label(KEY, "elsewhere.key")).await?;
    let told = |status: &_| problem_codes(status, "bad") == [code, code];
    at.stage.controller.wait_status(code, told).await?;
    eventually("its plain host answers", async || {
        Ok((at.stage.client.get("bad.local", "/ping").await?.status == 200).then_some(()))
    })
    .await?;
    ensure!(at.client.handshake("bad.local", BOTH).await.is_err(), "it takes TLS");
    ensure!(going_on.await??.get("good.local", "/ping").await?.status == 200);
    ensure!(at.client.get("good.local", "/ping").await?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_shown() -> Result<()> {
    let mut at = Secured::start().await?;
    let expired = at.authority.sign_expired("old.local")?;
    let service = at.service_with("old", "old.local", &expired)?;
    at.stage.deploy(service).await?;
    let shown = || s_client(at.stage.https, &["-servername", "old.local"]);
    eventually("the certificate is shown", async || {
        let seen = shown().await?;
        Ok((seen.success && seen.text.contains(expired.certificate.trim())).then_some(()))
    })
    .await
}

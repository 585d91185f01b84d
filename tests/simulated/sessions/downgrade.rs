//! A session that began over TLS, in the hands of a client that asks over plain HTTP.

use anyhow::{Result, ensure};

use super::{HOST, STICKY};
use crate::tls::Secured;

/// A browser refuses to replace a `Secure` cookie from there: each answer would set one in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_secure_cookie_is_not_set_anew_on_every_plain_answer() -> Result<()> {
    let mut all = Secured::start().await?;
    let builder = all.service("sticky", HOST)?.label(STICKY, "session").replicas(3);
    all.deploy(builder, HOST).await?;
    let first = all.client.get(HOST, "/headers").await?;
    let [line] = first.set_cookies()[..] else { anyhow::bail!("{first:?}") };
    ensure!(line.contains("; Secure"), "{first:?}");
    // The browser keeps it to itself, and would refuse another one.
    for _ in 0..5 {
        let answer = all.stage.client.get(HOST, "/headers").await?;
        ensure!(answer.set_cookies().is_empty(), "{answer:?}");
    }
    // Where it takes the application's, which is not `Secure` here, it takes ours.
    let answer = all.stage.client.get(HOST, "/ping").await?;
    let [application, ours] = answer.set_cookies()[..] else { anyhow::bail!("{answer:?}") };
    ensure!(application.starts_with("session=") && ours.starts_with("session_lb="), "{answer:?}");
    Ok(())
}

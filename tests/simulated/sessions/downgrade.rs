//! A session that began over TLS, in the hands of a client that asks over plain HTTP.

use anyhow::{Context, Result, ensure};
use waggle_tests::client::Jar;

use super::{HOST, STICKY};
use crate::tls::Secured;

/// A browser refuses to replace a `Secure` cookie from there: each answer would set one in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_secure_cookie_is_not_set_anew_on_every_plain_answer() -> Result<()> {
    let mut all = Secured::start().await?;
    let builder = all.service("sticky", HOST)?.label(STICKY, "session").replicas(3);
    all.deploy(builder, HOST).await?;
    let first = all.client.get(HOST, "/headers").await?;
    let mut jar = Jar::default();
    jar.take(&first);
    let [line] = first.set_cookies()[..] else { anyhow::bail!("{first:?}") };
    ensure!(line.contains("; Secure"), "{first:?}");
    let secure = jar.get("session_lb").context("a session")?.to_owned();
    // Here the application sets a cookie of its own that is not `Secure`.
    for _ in 0..5 {
        jar.set("session_lb", Some(&secure));
        let answer = all.stage.client.get_as(&mut jar, HOST, "/ping").await?;
        let ours = |line: &&str| line.starts_with("session_lb=");
        ensure!(!answer.set_cookies().iter().any(ours), "{answer:?}");
        let task = "x-upstream-addr";
        ensure!(answer.header(task) == first.header(task), "{answer:?}");
    }
    Ok(())
}

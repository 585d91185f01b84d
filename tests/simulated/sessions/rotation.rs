//! Session keys that are rotated under clients of several proxies.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use waggle_tests::client::{Client, Jar};
use waggle_tests::controller::Controller;
use waggle_tests::envoy::Envoy;
use waggle_tests::load::{Load, session};
use waggle_tests::program::{built, eventually};
use waggle_tests::stage::{Front, Stage};
use waggle_tests::websocket::WebSocket;

use super::{HOST, sticky};

/// A path where the application sets no cookie.
const PATH: &str = "/headers";

/// What `waggle keys …` prints.
fn keys(arguments: &[&str]) -> Result<String> {
    let printed = Command::new(built("waggle")?).arg("keys").args(arguments).output()?;
    ensure!(printed.status.success(), "{printed:?}");
    Ok(String::from_utf8(printed.stdout)?)
}

/// Puts another key file in the place of a controller's, starts it again, as Swarm does with a new
/// secret, and waits until its Envoy has the keys.
pub(crate) async fn give(
    keys: &str,
    file: &Path,
    controller: &mut Controller,
    envoy: &Envoy,
) -> Result<()> {
    let before = envoy.filter_updates()?;
    std::fs::write(file, keys)?;
    controller.kill();
    controller.start_again()?;
    eventually("Envoy takes the new keys", async || {
        Ok((envoy.filter_updates()? > before).then_some(()))
    })
    .await
}

/// Begins a session on one proxy, and fails unless it stays on its task on another.
async fn holds(maker: &Client, opener: &Client) -> Result<Jar> {
    let mut jar = Jar::default();
    let first = maker.get_as(&mut jar, HOST, PATH).await?;
    ensure!(first.status == 200 && jar.get("session_lb").is_some(), "{first:?}");
    for _ in 0..5 {
        let next = opener.get_as(&mut jar, HOST, PATH).await?;
        let stays = next.header("x-upstream-addr") == first.header("x-upstream-addr");
        ensure!(stays && next.set_cookies().is_empty(), "{first:?} then {next:?}");
    }
    Ok(jar)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_of_keys_loses_no_session_and_cuts_no_request() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let files = [folder.path().join("one"), folder.path().join("two")];
    let first = keys(&["new"])?;
    for file in &files {
        std::fs::write(file, &first)?;
    }
    let [one, two] = files.each_ref().map(|file| file.display().to_string());
    let mut stage = Stage::start_with(&["--session-keys", &one]).await?;
    let mut other = Front::start(&stage.engine, 2, &["--session-keys", &two]).await?;
    sticky(&mut stage, 4).await?;
    other.settle().await?;
    let mut old = holds(&stage.client, &other.client).await?;

    let both = || vec![stage.client.clone(), other.client.clone()];
    let load = Load::of((0..8).map(|_| session(both(), HOST, PATH)));
    load.go_on(100).await?;
    let (client, url) = (stage.client.clone(), format!("ws://{HOST}/"));
    let slow = tokio::spawn(async move { client.get(HOST, "/sleep/5000").await });
    let stream = tokio::net::TcpStream::connect(stage.http).await?;
    let mut socket = WebSocket::open(stream, &url, &[]).await?;

    let rotated = keys(&["rotate", &one])?;
    ensure!(rotated != first, "nothing is new in {rotated}");
    // Now one proxy has the new keys and one the old, then both the new.
    give(&rotated, &files[0], &mut stage.controller, &stage.envoy).await?;
    holds(&stage.client, &other.client).await?;
    holds(&other.client, &stage.client).await?;
    load.go_on(100).await?;
    give(&rotated, &files[1], &mut other.controller, &other.envoy).await?;
    holds(&stage.client, &other.client).await?;
    load.go_on(100).await?;
    load.end().await?;
    socket.echo("still there").await?;
    let slow = slow.await??;
    ensure!(slow.status == 200, "{slow:?}");

    // The key of the first sessions is two rotations away: they begin anew, without an error.
    let rotated = keys(&["rotate", &one])?;
    give(&rotated, &files[0], &mut stage.controller, &stage.envoy).await?;
    let token = old.get("session_lb").map(ToOwned::to_owned);
    let answer = stage.client.get_as(&mut old, HOST, PATH).await?;
    ensure!(answer.status == 200 && answer.set_cookies().len() == 1, "{answer:?}");
    ensure!(old.get("session_lb") != token.as_deref(), "{answer:?}");
    ensure!(stage.envoy.vm_reloads()? + other.envoy.vm_reloads()? == 0, "a VM was made anew");
    Ok(())
}

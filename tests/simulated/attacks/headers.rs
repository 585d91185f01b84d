//! The internal header, by which the filter names an endpoint to Envoy, from clients.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use waggle_tests::frames::Fate;

use super::{HOST, PATH, Scene};

const NAME: &str = "x-waggle-endpoint";

/// What names an endpoint.
pub(super) fn named(task: SocketAddr) -> String {
    STANDARD.encode(task.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_the_internal_header_leads_to_a_task() -> Result<()> {
    let scene = Scene::start().await?;
    let (value, address) = (named(scene.target()), scene.target().to_string());
    let value = value.as_bytes();
    let several: [(&str, &[u8]); 3] = [(NAME, b""), (NAME, value), (NAME, value)];
    scene.attack("several lines", &several).await?;
    scene.attack("the address as it is", &[(NAME, address.as_bytes())]).await?;
    for name in
        [NAME, "x_waggle_endpoint", "x-waggle_endpoint", "x-waggle-endpoint-", "x-waggle-panic"]
    {
        scene.attack(name, &[(name, value)]).await?;
        let forged = [("cookie", b"session_lb=x".as_slice()), (name, value)];
        scene.attack(name, &forged).await?;
    }
    // Headers by which Envoy's own filters are told where to go.
    for name in ["x-envoy-original-dst-host", "x-envoy-upstream-alt-stat-name", "x-envoy-internal"]
    {
        scene.attack(name, &[(name, address.as_bytes())]).await?;
    }
    // What a client library would not write.
    for spelling in
        ["X-WAGGLE-ENDPOINT", "X-Waggle-Endpoint", "x-waggle-endpoint ", " x-waggle-endpoint"]
    {
        let line = [spelling.as_bytes(), b": ", value, b"\r\n"].concat();
        scene.attack_by_line(&line).with_context(|| spelling.to_owned())?;
    }
    let fate = scene.attack_by_field(b"X-Waggle-Endpoint", value).await?;
    ensure!(fate != Fate::Answered, "capitals over HTTP/2: {fate:?}");
    scene.is_unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trailer_leads_to_a_task() -> Result<()> {
    let scene = Scene::start().await?;
    let value = named(scene.target());
    let cookie = format!("session_lb={value}");
    let trailers: [(&str, &[u8]); 3] =
        [(NAME, value.as_bytes()), (NAME, value.as_bytes()), ("cookie", cookie.as_bytes())];
    for client in &scene.clients().await? {
        for trailers in [&trailers[..1], &trailers[..2], &trailers] {
            let ask = async || client.post_with_trailers(HOST, PATH, trailers).await;
            scene.is_not_led(ask).await?;
        }
    }
    scene.is_unharmed().await
}

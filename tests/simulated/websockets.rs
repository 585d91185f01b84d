//! Connections that become a WebSocket, through the proxy.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tokio::net::TcpStream;
use waggle_tests::authority::Authority;
use waggle_tests::engine::Service;
use waggle_tests::program::eventually;
use waggle_tests::stage::Stage;
use waggle_tests::tls::TlsClient;
use waggle_tests::websocket::{CloseFrame, Message, WebSocket};

const ENDPOINTS: &str = "com.docker.lb.websocket_endpoints";
const HOST: &str = "ws.local";

async fn deploy(stage: &mut Stage) -> Result<Service> {
    let builder = stage.service("ws", HOST).label(ENDPOINTS, "/ws,/events");
    stage.deploy(builder).await
}

async fn open(stage: &Stage, path: &str) -> Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(stage.http).await?;
    WebSocket::open(stream, &format!("ws://{HOST}{path}"), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_on_any_path() -> Result<()> {
    let mut stage = Stage::start().await?;
    deploy(&mut stage).await?;
    for path in ["/ws", "/ws/room?name=a", "/not-listed"] {
        let mut socket = open(&stage, path).await?;
        socket.echo("a text, ünïcode").await?;
        let bytes: Vec<u8> = (0..=255).cycle().take(1024).collect();
        let large: Vec<u8> = (0..=250).cycle().take(1024 * 1024).collect();
        for binary in [vec![], bytes, large] {
            let message = Message::binary(binary);
            ensure!(socket.ask(message.clone()).await? == message, "{path}: not the same");
        }
        let answer = socket.ask(Message::Ping("are you there".into())).await?;
        ensure!(answer == Message::Pong("are you there".into()), "{path}: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn close_codes_reach_the_other_side() -> Result<()> {
    let mut stage = Stage::start().await?;
    deploy(&mut stage).await?;
    let mut socket = open(&stage, "/ws").await?;
    socket.send(Message::text("close 4001")).await?;
    let told = CloseFrame { code: 4001.into(), reason: "as you asked".into() };
    ensure!(socket.closed().await? == Some(told), "the task's code did not arrive");

    // The other side answers with the code that it got (RFC 6455, 5.5.1).
    for code in [1000, 1001, 3000, 4999] {
        let mut socket = open(&stage, "/ws").await?;
        let frame = CloseFrame { code: code.into(), reason: "goodbye".into() };
        socket.send(Message::Close(Some(frame))).await?;
        let answered = socket.closed().await?.map(|frame| frame.code);
        ensure!(answered == Some(code.into()), "{code}: {answered:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_websockets_refuses_by_itself() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = deploy(&mut stage).await?;
    let task = (service.tasks()[0].address(), waggle_tests::stage::APP_PORT);
    waggle_tests::client::Client::new(task.into()).post(HOST, "/break/426", b"").await?;
    let Err(refused) = open(&stage, "/ws").await else { bail!("it was opened") };
    ensure!(format!("{refused:#}").contains("426"), "{refused:#}");
    Ok(())
}

/// Everything that a task learns of who asks, as it should arrive. In `X-Forwarded-For`, behind what
/// the client says, stands the client's address; for one on the proxy's machine, the machine's.
async fn tells<S>(mut socket: WebSocket<S>, expected: &[(&str, &str)]) -> Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let forwarded = socket.received("x-forwarded-for").await?;
    let own = forwarded.first().and_then(|it| it.strip_prefix("1.2.3.4,"));
    let is_address = own.is_some_and(|it| it.parse::<IpAddr>().is_ok());
    ensure!(is_address && forwarded.len() == 1, "{forwarded:?}");
    for (name, value) in expected {
        let values = socket.received(name).await?;
        ensure!(values == [*value], "{name}: {values:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_learns_who_asks_over_http() -> Result<()> {
    let mut stage = Stage::start().await?;
    deploy(&mut stage).await?;
    let headers = [
        ("origin", "https://elsewhere.local:8443"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("cookie", "a=1"),
    ];
    let stream = TcpStream::connect(stage.http).await?;
    let url = format!("ws://{HOST}:{}/ws", stage.http.port());
    let host = format!("{HOST}:{}", stage.http.port());
    tells(
        WebSocket::open(stream, &url, &headers).await?,
        &[
            ("host", &host),
            ("origin", "https://elsewhere.local:8443"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", &host),
            ("x-real-ip", "127.0.0.1"),
            ("cookie", "a=1"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
        ],
    )
    .await
}

/// Gives a service's host a certificate, which the client gets to trust.
async fn secured(stage: &mut Stage) -> Result<TlsClient> {
    let authority = Authority::new()?;
    stage.mount_certificate("ws", &authority.sign(HOST)?)?;
    let builder = stage.service("ws", HOST).label(ENDPOINTS, "/ws");
    let builder = builder.label("com.docker.lb.ssl_cert", "ws.cert");
    stage.deploy(builder.label("com.docker.lb.ssl_key", "ws.key")).await?;
    let client = TlsClient::new(stage.https, &authority)?;
    eventually("TLS answers", async || Ok(client.handshake(HOST, &[]).await.ok())).await?;
    Ok(client)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_learns_who_asks_over_tls() -> Result<()> {
    let mut stage = Stage::start().await?;
    let client = secured(&mut stage).await?;
    for protocols in [&["http/1.1"][..], &[]] {
        let stream = client.handshake(HOST, protocols).await?;
        let headers = [("origin", "https://ws.local"), ("x-forwarded-for", "1.2.3.4")];
        let mut socket = WebSocket::open(stream, "wss://ws.local/ws", &headers).await?;
        socket.echo("over TLS").await?;
        let large = Message::binary(vec![7; 1024 * 1024]);
        ensure!(socket.ask(large.clone()).await? == large, "not the same");
        tells(
            socket,
            &[
                ("x-real-ip", "127.0.0.1"),
                ("host", "ws.local"),
                ("origin", "https://ws.local"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "ws.local"),
            ],
        )
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lives_through_100_changes() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = deploy(&mut stage).await?;
    let other = stage.service("other", "other.local");
    let other = stage.deploy(other).await?;
    let mut socket = open(&stage, "/ws").await?;
    let mut quiet = open(&stage, "/ws").await?;
    for change in 0..100_u64 {
        let before = stage.updates()?;
        match change % 4 {
            // Its own endpoints, its own routes, those of another, and another host of its own.
            0 => service.scale(2 + change % 3),
            1 => service.set_label(ENDPOINTS, &format!("/ws,/change/{change}")),
            2 => other.set_label("com.docker.lb.context_root", &format!("/{change}")),
            _ => service.set_label("com.docker.lb.hosts", &format!("{HOST},h{change}.local")),
        }
        let what = format!("Envoy hears of change {change}");
        let heard = async || Ok((stage.updates()? > before).then_some(()));
        eventually(&what, heard).await?;
        socket.echo(&format!("after change {change}")).await?;
    }
    quiet.echo("still there").await?;
    // Its own task leaves the pool, and is not signalled yet.
    service.scale(0);
    let gone = async || Ok((stage.client.get(HOST, "/").await?.status == 503).then_some(()));
    eventually("no task is left", gone).await?;
    socket.echo("after its task was told to stop").await?;
    quiet.echo("this one too").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_connection_lives_while_another_host_gets_a_certificate() -> Result<()> {
    let mut stage = Stage::start().await?;
    let client = secured(&mut stage).await?;
    let stream = client.handshake(HOST, &["http/1.1"]).await?;
    let mut socket = WebSocket::open(stream, "wss://ws.local/ws", &[]).await?;
    let authority = Authority::new()?;
    stage.mount_certificate("other", &authority.sign("other.local")?)?;
    let builder = stage.service("other", "other.local");
    let builder = builder.label("com.docker.lb.ssl_cert", "other.cert");
    stage.deploy(builder.label("com.docker.lb.ssl_key", "other.key")).await?;
    let others = TlsClient::new(stage.https, &authority)?;
    eventually("the other host answers", async || {
        Ok(others.handshake("other.local", &[]).await.ok())
    })
    .await?;
    socket.echo("still there").await
}

/// The idle timeouts of the routes for plain HTTP, by prefix.
fn idle_timeouts(dump: &Value, prefix: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    collect(dump, prefix, &mut found);
    found
}

fn collect(value: &Value, prefix: &str, found: &mut Vec<Option<String>>) {
    if value["match"]["path_separated_prefix"] == prefix {
        found.push(value["route"]["idle_timeout"].as_str().map(ToOwned::to_owned));
    }
    match value {
        Value::Array(items) => items.iter().for_each(|it| collect(it, prefix, found)),
        Value::Object(fields) => fields.values().for_each(|it| collect(it, prefix, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_stand_still_on_a_listed_path_only() -> Result<()> {
    let mut stage = Stage::start_with(&["--idle-timeout", "1s"]).await?;
    deploy(&mut stage).await?;
    let mut listed = open(&stage, "/events/1").await?;
    listed.echo("hello").await?;
    for path in ["/other", "/wsx"] {
        let mut socket = open(&stage, path).await?;
        socket.echo("hello").await?;
        // The end comes by itself, before the deadline of any message.
        ensure!(socket.next().await.is_err(), "{path} got a message");
    }
    listed.echo("still there").await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_paths_have_no_idle_timeout() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("ws", HOST).label("com.docker.lb.context_root", "/app");
    stage.deploy(builder.label(ENDPOINTS, "/app/ws")).await?;
    let dump = stage.envoy.config_dump()?;
    for (prefix, expected) in [("/app/ws", Some("0s".to_owned())), ("/app", None)] {
        let found = idle_timeouts(&dump, prefix);
        let fine = !found.is_empty() && found.iter().all(|it| *it == expected);
        ensure!(fine, "{prefix}: {found:?}");
    }
    Ok(())
}

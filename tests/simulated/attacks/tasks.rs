//! A task that wants to say where sessions go.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use waggle_tests::client::{Client, Jar};
use waggle_tests::engine::Service;
use waggle_tests::scripted;
use waggle_tests::stage::APP_PORT;

use super::{Scene, headers};
use crate::sessions::STICKY;

const HOST: &str = "hostile.local";
const NAME: &str = "x-waggle-endpoint";

fn addresses(service: &Service) -> Vec<SocketAddr> {
    service.tasks().iter().map(|task| (task.address(), APP_PORT).into()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_names_another_moves_no_session_and_shows_no_address() -> Result<()> {
    let mut scene = Scene::start().await?;
    let builder = scene.stage.service("hostile", HOST).label(STICKY, "session");
    let hostile = builder.replicas(3).create();
    for address in addresses(&hostile) {
        scripted::task_at(address)?;
    }
    scene.stage.settle().await?;
    for named in addresses(&hostile).into_iter().chain([scene.target()]) {
        let value = headers::named(named);
        for wish in [
            format!("200 OK|{NAME}: {value}"),
            format!("200 OK|X-WAGGLE-ENDPOINT: {value}|X-Waggle-Endpoint: {value}|{NAME}:"),
            format!("404 Not Found|x_waggle_endpoint: no|{NAME}: {named}"),
            format!("302 Found|location: /|{NAME}: {value}"),
        ] {
            for client in &scene.clients().await? {
                let asked = goes_on(&scene, client, &wish, &hostile).await;
                asked.with_context(|| format!("{wish} by {client:?}"))?;
            }
        }
    }
    scene.is_unharmed().await
}

/// Begins a session with tasks that answer so, and goes on with it.
async fn goes_on(scene: &Scene, client: &Client, wish: &str, tasks: &Service) -> Result<()> {
    let wish = format!("HTTP/1.1 {wish}");
    let told: [(&str, &[u8]); 1] = [("answer", wish.as_bytes())];
    let first = client.get_with(HOST, "/", &told).await?;
    let mut jar = Jar::default();
    jar.take(&first);
    let token = jar.get("session_lb").with_context(|| format!("no session: {first:?}"))?;
    let pinned = scene.tokens.endpoint(token).context("a token that does not open")?;
    let cookie = jar.line();
    let next = client.get_with(HOST, "/", &[told[0], ("cookie", cookie.as_bytes())]).await?;
    ensure!(next.set_cookies().is_empty(), "the session left {pinned}: {next:?}");
    for answer in [&first, &next] {
        ensure!(!answer.headers.contains_key(NAME), "{answer:?}");
        for address in addresses(tasks) {
            let mut values = answer.headers.values();
            let shown = values.any(|value| super::shows(value.as_bytes(), address.ip()));
            ensure!(!shown, "{address} shows: {answer:?}");
        }
    }
    Ok(())
}

/// A task that speaks HTTP/2 and names an endpoint in the trailers of every answer; it tells the
/// trailers that it got.
async fn with_trailers(address: SocketAddr, named: String) -> Result<AbortOnDropHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let named = named.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let named = named.clone();
                async move { answer(request, &named).await }
            });
            let protocol = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(protocol.serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(AbortOnDropHandle::new(task))
}

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, named: &str) -> Result<Answer, hyper::Error> {
    let got = request.into_body().collect().await?;
    let got = format!("{:?}", got.trailers().cloned().unwrap_or_default());
    let mut trailers = HeaderMap::new();
    trailers
        .extend(HeaderValue::from_str(named).map(|value| (HeaderName::from_static(NAME), value)));
    trailers.insert("x-own", HeaderValue::from_static("the task's"));
    let frames = [Frame::data(Bytes::from(got)), Frame::trailers(trailers)];
    Ok(Response::new(StreamBody::new(stream::iter(frames.map(Ok))).boxed_unsync()))
}

/// A service of three such tasks, each of which names the next one.
async fn deploy(scene: &mut Scene) -> Result<Vec<AbortOnDropHandle<()>>> {
    let builder = scene.stage.service("hostile", HOST).label(STICKY, "session");
    let hostile = builder.label("waggle.backend_protocol", "h2").replicas(3).create();
    let tasks = addresses(&hostile);
    let mut served = Vec::new();
    for (at, address) in tasks.iter().enumerate() {
        let other = tasks.iter().cycle().nth(at + 1).context("another task")?;
        served.push(with_trailers(*address, headers::named(*other)).await?);
    }
    scene.stage.settle().await?;
    Ok(served)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_names_another_in_trailers_moves_no_session() -> Result<()> {
    let mut scene = Scene::start().await?;
    let _served = deploy(&mut scene).await?;
    let client = Client::http2(scene.stage.http).await?;
    for _ in 0..10 {
        let mut jar = Jar::default();
        let first = client.get_as(&mut jar, HOST, "/").await?;
        ensure!(first.trailers.contains_key("x-own"), "no trailers came: {first:?}");
        for _ in 0..5 {
            let next = client.get_as(&mut jar, HOST, "/").await?;
            ensure!(next.status == 200 && next.set_cookies().is_empty(), "{next:?}");
        }
    }
    scene.is_unharmed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_internal_header_passes_in_trailers_in_neither_direction() -> Result<()> {
    let mut scene = Scene::start().await?;
    let _served = deploy(&mut scene).await?;
    let client = Client::http2(scene.stage.http).await?;
    let trailers: [(&str, &[u8]); 2] = [(NAME, b"forged"), ("x-mine", b"the client's")];
    let answer = client.post_with_trailers(HOST, "/", &trailers).await?;
    let seen = String::from_utf8_lossy(&answer.body);
    ensure!(seen.contains("x-mine"), "no trailers came: {seen}");
    ensure!(answer.trailers.contains_key("x-own"), "no trailers came: {answer:?}");
    ensure!(!seen.contains(NAME), "the task saw {seen}");
    ensure!(!answer.trailers.contains_key(NAME), "{answer:?}");
    Ok(())
}

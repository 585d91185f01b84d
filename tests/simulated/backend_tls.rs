//! `ssl_backend`: TLS between the proxy and the tasks, and what a task has to prove.

use std::convert::Infallible;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use waggle_tests::authority::{Authority, Signed};
use waggle_tests::client::Answer;
use waggle_tests::controller::problem_codes;
use waggle_tests::engine::Builder;
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, BEHIND_TLS, Stage};
use waggle_tests::tls::programs::self_signed;
use waggle_tests::tls::{BOTH, Greeting, TlsFront};

use super::tls::metadata;

/// A service whose tasks speak TLS, and these labels.
fn secure(stage: &Stage, name: &str, hosts: &str, labels: &[(&str, &str)]) -> Builder {
    let builder = stage.service(name, hosts).label("com.docker.lb.ssl_backend", "true");
    labels.iter().fold(builder, |builder, (label, value)| {
        let own = label.starts_with("waggle.");
        let prefix = if own { "" } else { "com.docker.lb." };
        builder.label(&format!("{prefix}{label}"), value)
    })
}

/// Creates a service whose one task has this certificate.
async fn deploy(stage: &mut Stage, builder: Builder, certificate: &Signed) -> Result<TlsFront> {
    let service = builder.create();
    let front = stage.serve_tls(&service, certificate, BOTH).await?.pop().context("no task")?;
    stage.settle().await?;
    Ok(front)
}

/// The first answer for a host that is no longer the one for unknown hosts.
async fn ask(stage: &Stage, host: &str) -> Result<Answer> {
    eventually("the host is known", async || {
        let answer = stage.client.get(host, "/ping").await?;
        Ok((!answer.body.starts_with(b"No service")).then_some(answer))
    })
    .await
}

const REQUIRED: (&str, &str) = ("ssl_backend_tls_verify", "required");
const CA: (&str, &str) = ("waggle.backend_ca", "ca");

/// A stage with an authority that is mounted as the secret `ca`, and a service that nothing is to
/// harm.
async fn start() -> Result<(Stage, Authority)> {
    let (mut stage, authority) = (Stage::start().await?, Authority::new()?);
    stage.mount("ca", authority.pem())?;
    let good = stage.service("good", "good.local");
    stage.deploy(good).await?;
    ask(&stage, "good.local").await?;
    Ok((stage, authority))
}

async fn nothing_else_is_harmed(stage: &Stage) -> Result<()> {
    let answer = stage.client.get("good.local", "/ping").await?;
    ensure!(answer.status == 200 && metadata(&answer) == "good", "{answer:?}");
    Ok(())
}

fn greeting(name: &str, protocol: &str) -> Greeting {
    Greeting { name: Some(name.to_owned()), protocol: Some(protocol.to_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_every_certificate_is_taken_and_the_host_is_the_name_called() -> Result<()> {
    let (mut stage, _) = start().await?;
    let strangers = Authority::new()?.sign("somebody.else")?;
    for (name, labels) in [
        ("by-default", &[] as &[_]),
        ("none", &[("ssl_backend_tls_verify", "none")]),
        ("optional", &[("ssl_backend_tls_verify", "optional")]),
    ] {
        let host = format!("{name}.local");
        let builder = secure(&stage, name, &host, labels);
        let front = deploy(&mut stage, builder, &strangers).await?;
        ask(&stage, &host).await?;
        let answer = stage.client.get(&format!("{host}:8080"), "/ping").await?;
        ensure!(answer.status == 200 && metadata(&answer) == name, "{answer:?}");
        let upstream = answer.header("x-upstream-addr");
        ensure!(upstream.ends_with(&format!(":{APP_PORT}")), "{answer:?}");
        let greeted = front.greetings();
        let expected = greeting(&host, "http/1.1");
        ensure!(!greeted.is_empty(), "nobody came");
        ensure!(greeted.iter().all(|it| *it == expected), "{greeted:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn required_takes_a_task_that_proves_the_requests_host() -> Result<()> {
    let (mut stage, authority) = start().await?;
    // Each host is a name of its own: one of them is not in the certificate.
    let builder = secure(&stage, "two", "a.local,b.local,c.local", &[REQUIRED, CA]);
    let front = deploy(&mut stage, builder, &authority.sign("a.local,b.local")?).await?;
    for (host, status) in [("a.local", 200), ("b.local", 200), ("c.local", 503), ("a.local", 200)] {
        let answer = ask(&stage, host).await?;
        ensure!(answer.status == status, "{host}: {answer:?}");
    }
    let greeted = front.greetings();
    for host in ["a.local", "b.local"] {
        ensure!(greeted.contains(&greeting(host, "http/1.1")), "{host}: {greeted:?}");
    }
    nothing_else_is_harmed(&stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn required_refuses_a_task_that_proves_nothing() -> Result<()> {
    let (mut stage, authority) = start().await?;
    let unmounted = ("waggle.backend_ca", "elsewhere");
    let absent = ("waggle.backend_ca", "absent");
    let noise = ("waggle.backend_ca", "noise");
    stage.proxy.mount("absent", "/nowhere/at/all");
    stage.mount("noise", "no certificate")?;
    let stranger = Authority::new()?;
    let good_of = |name: &str| authority.sign(&format!("{name}.local"));
    for (name, certificate, labels) in [
        ("name", authority.sign("another.local")?, &[REQUIRED, CA]),
        ("authority", stranger.sign("authority.local")?, &[REQUIRED, CA]),
        ("expired", authority.sign_expired("expired.local")?, &[REQUIRED, CA]),
        ("system", good_of("system")?, &[REQUIRED, REQUIRED]),
        ("unmounted", good_of("unmounted")?, &[REQUIRED, unmounted]),
        ("absent", good_of("absent")?, &[REQUIRED, absent]),
        ("noise", good_of("noise")?, &[REQUIRED, noise]),
    ] {
        let host = format!("{name}.local");
        let builder = secure(&stage, name, &host, labels);
        let front = deploy_refused(&mut stage, builder, &certificate).await?;
        let answer = ask(&stage, &host).await?;
        ensure!(answer.status == 503, "{name}: {answer:?}");
        ensure!(!answer.header("x-proxy-id").is_empty(), "{name}: {answer:?}");
        ensure!(front.greetings().is_empty(), "{name}: {:?}", front.greetings());
        nothing_else_is_harmed(&stage).await?;
    }
    let status = stage.controller.status()?;
    let told = problem_codes(&status, "unmounted");
    ensure!(told == ["secret-without-proxy"], "{told:?}");
    // What comes later is not held up.
    let builder = secure(&stage, "later", "later.local", &[REQUIRED, CA]);
    let _front = deploy(&mut stage, builder, &authority.sign("later.local")?).await?;
    let answer = ask(&stage, "later.local").await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// As [`deploy`], where Envoy may not have the endpoint: it is not to use it.
async fn deploy_refused(
    stage: &mut Stage,
    builder: Builder,
    certificate: &Signed,
) -> Result<TlsFront> {
    let service = builder.create();
    let front = stage.serve_tls(&service, certificate, BOTH).await?.pop().context("no task")?;
    stage.controller.wait_read().await?;
    Ok(front)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_the_tasks_is_called_and_has_to_be_proved() -> Result<()> {
    let (mut stage, authority) = start().await?;
    let name = ("waggle.backend_name", "tasks.internal");
    let builder = secure(&stage, "named", "named.local", &[REQUIRED, CA, name]);
    let front = deploy(&mut stage, builder, &authority.sign("tasks.internal")?).await?;
    let answer = ask(&stage, "named.local").await?;
    ensure!(answer.status == 200 && metadata(&answer) == "named", "{answer:?}");
    let greeted = front.greetings();
    ensure!(greeted.iter().all(|it| *it == greeting("tasks.internal", "http/1.1")), "{greeted:?}");
    let seen = stage.client.get("named.local", "/headers").await?.json()?.to_string();
    ensure!(seen.contains(r#"["host","named.local"]"#), "{seen}");

    // The request's host proves nothing then.
    let builder = secure(&stage, "wrong", "wrong.local", &[REQUIRED, CA, name]);
    let _front = deploy(&mut stage, builder, &authority.sign("wrong.local")?).await?;
    let answer = ask(&stage, "wrong.local").await?;
    ensure!(answer.status == 503, "{answer:?}");

    // Without a check the name is called all the same.
    let builder = secure(&stage, "called", "called.local", &[name]);
    let front = deploy(&mut stage, builder, &Authority::new()?.sign("x")?).await?;
    let answer = ask(&stage, "called.local").await?;
    ensure!(answer.status == 200, "{answer:?}");
    let greeted = front.greetings();
    ensure!(greeted.iter().all(|it| *it == greeting("tasks.internal", "http/1.1")), "{greeted:?}");
    nothing_else_is_harmed(&stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_signed_itself_may_be_the_authority() -> Result<()> {
    let (mut stage, _) = start().await?;
    let certificate = self_signed("tasks.internal").await?;
    stage.mount("tasks", &certificate.certificate)?;
    let labels =
        [REQUIRED, ("waggle.backend_ca", "tasks"), ("waggle.backend_name", "tasks.internal")];
    let builder = secure(&stage, "own", "own.local", &labels);
    let _front = deploy(&mut stage, builder, &certificate).await?;
    let answer = ask(&stage, "own.local").await?;
    ensure!(answer.status == 200 && metadata(&answer) == "own", "{answer:?}");
    Ok(())
}

/// An application that speaks HTTP/2 only, and tells which version a request came by.
async fn http2_application(address: SocketAddr) -> Result<AbortOnDropHandle<()>> {
    let listener = TcpListener::bind(address).await?;
    let version = async |request: Request<Incoming>| {
        let version = format!("{:?}", request.version());
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(version))))
    };
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(version)));
        }
    })))
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_speak_http2_agree_on_it_by_alpn() -> Result<()> {
    let (mut stage, authority) = start().await?;
    let h2 = ("waggle.backend_protocol", "h2");
    let service = secure(&stage, "h2", "h2.local", &[REQUIRED, CA, h2]).create();
    let address = service.tasks().first().context("no task")?.address();
    let behind = SocketAddr::new(address, BEHIND_TLS);
    let _application = http2_application(behind).await?;
    let certificate = authority.sign("h2.local")?;
    let front = TlsFront::start((address, APP_PORT), &certificate, BOTH, behind).await?;
    stage.settle().await?;
    let answer = ask(&stage, "h2.local").await?;
    ensure!(answer.status == 200 && answer.body == "HTTP/2.0", "{answer:?}");
    let greeted = front.greetings();
    ensure!(greeted.iter().all(|it| *it == greeting("h2.local", "h2")), "{greeted:?}");
    Ok(())
}

//! `ssl_passthrough`: TLS goes to the task untouched.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use waggle_tests::authority::Signed;
use waggle_tests::backend::VirtualIp;
use waggle_tests::client::Answer;
use waggle_tests::engine::{Builder, Service};
use waggle_tests::program::eventually;
use waggle_tests::stage::APP_PORT;
use waggle_tests::tls::{BOTH, Greeting, TlsClient, TlsFront};

use super::{Secured, metadata};

const PASSTHROUGH: &str = "com.docker.lb.ssl_passthrough";

/// An application that speaks TLS itself: its service, its certificate, and what stands before each
/// of its tasks.
struct Own {
    service: Service,
    certificate: Signed,
    fronts: Vec<TlsFront>,
}

impl Own {
    /// Deploys a service whose tasks hold a certificate of their own. Nothing is mounted for it.
    async fn deploy(at: &mut Secured, builder: Builder, host: &str) -> Result<Self> {
        let service = builder.label(PASSTHROUGH, "true").create();
        let certificate = at.authority.sign(host)?;
        let fronts = at.stage.serve_tls(&service, &certificate, BOTH).await?;
        at.stage.settle().await?;
        Ok(Self { service, certificate, fronts })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_own_certificate_arrives_beside_a_termination() -> Result<()> {
    let mut at = Secured::start().await?;
    let ended = at.service("ended", "ended.local")?;
    at.deploy(ended, "ended.local").await?;
    let mut kept = at.client.connect("ended.local", BOTH).await?;
    let builder = at.stage.service("own", "own.local");
    let own = Own::deploy(&mut at, builder, "own.local").await?;
    at.wait_tls("own.local").await?;

    let mut connection = at.client.connect("own.local", &["http/1.1"]).await?;
    ensure!(connection.is_with(&own.certificate)?, "another certificate: {connection:?}");
    let answer = connection.get("own.local", "/ping").await?;
    ensure!(answer.status == 200 && metadata(&answer) == "own", "{answer:?}");
    let seen = connection.get("own.local", "/headers").await?;
    ensure!(seen.body.trim_ascii() == br#"[["host","own.local"]]"#, "{seen:?}");
    let added = seen.headers.keys().find(|name| name.as_str().starts_with("x-"));
    ensure!(added.is_none(), "{seen:?}");

    // What is offered and agreed on is between client and task.
    for (offer, agreed) in [(BOTH, Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        let stream = at.client.handshake("own.local", offer).await?;
        let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        ensure!(protocol.as_deref() == agreed.map(str::as_bytes), "{offer:?}: {protocol:?}");
        let protocol = agreed.map(ToOwned::to_owned);
        let expected = Greeting { name: Some("own.local".to_owned()), protocol };
        // A client may be through before the task is.
        eventually("the task was greeted so", async || {
            let greetings = own.fronts.iter().flat_map(TlsFront::greetings).last();
            Ok((greetings.as_ref() == Some(&expected)).then_some(()))
        })
        .await?;
    }
    let answer = kept.get("ended.local", "/ping").await?;
    ensure!(answer.status == 200 && metadata(&answer) == "ended", "{answer:?}");
    let answer = kept.get("own.local", "/ping").await?;
    ensure!(answer.status == 421, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_requests_for_a_host_that_is_passed_through_never_reach_its_tasks() -> Result<()> {
    let mut at = Secured::start().await?;
    for (name, label, status, location) in [
        ("bare", None, 503, ""),
        ("only", Some(("ssl_only", "true")), 301, "https://only.local/a?b=c"),
        (
            "moved",
            Some(("redirects", "http://moved.local,https://new.local")),
            302,
            "https://new.local/a?b=c",
        ),
        (
            "up",
            Some(("redirects", "http://up.local,https://up.local")),
            302,
            "https://up.local/a?b=c",
        ),
    ] {
        let host = format!("{name}.local");
        let mut builder = at.stage.service(name, &host);
        if let Some((label, value)) = label {
            builder = builder.label(&format!("com.docker.lb.{label}"), value);
        }
        let _own = Own::deploy(&mut at, builder, &host).await?;
        at.wait_tls(&host).await?;
        let answer = eventually("the host is known", async || {
            let answer = at.stage.client.get(&host, "/a?b=c").await?;
            Ok((!answer.body.starts_with(b"No service")).then_some(answer))
        })
        .await?;
        ensure!(answer.status == status, "{host}: {answer:?}");
        ensure!(answer.header("location") == location, "{host}: {answer:?}");
        let answered_here = status != 503 || answer.body == "This host answers over TLS only.\n";
        ensure!(answered_here, "{host}: {answer:?}");
        // TLS passes through all the same.
        let answer = at.client.connect(&host, &["http/1.1"]).await?.get(&host, "/ping").await?;
        ensure!(answer.status == 200, "{host}: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_vip_mode_tls_goes_to_the_virtual_ip() -> Result<()> {
    let mut at = Secured::start().await?;
    let builder = at.stage.service("own", "own.local").replicas(3);
    let builder = builder.label("com.docker.lb.backend_mode", "vip");
    let own = Own::deploy(&mut at, builder, "own.local").await?;
    let vip = VirtualIp::start(own.service.vip("apps").context("no VIP")?, APP_PORT).await?;
    vip.set(own.service.tasks().iter().map(|task| SocketAddr::new(task.address(), APP_PORT)));
    at.wait_tls("own.local").await?;
    let mut instances = BTreeMap::new();
    for _ in 0..12 {
        let mut connection = at.client.connect("own.local", &["http/1.1"]).await?;
        ensure!(connection.is_with(&own.certificate)?, "another certificate");
        let instance = connection.get("own.local", "/ping").await?.instance()?;
        *instances.entry(instance).or_insert(0) += 1;
    }
    ensure!(instances.len() == 3, "{instances:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_ip_hash_each_client_address_stays_on_its_task() -> Result<()> {
    let mut at = Secured::start().await?;
    let builder = at.stage.service("own", "own.local").replicas(4);
    let builder = builder.label("com.docker.lb.ip_hash", "true");
    let own = Own::deploy(&mut at, builder, "own.local").await?;
    at.wait_tls("own.local").await?;
    let ask = async |client: &TlsClient| -> Result<Answer> {
        client.connect("own.local", &["http/1.1"]).await?.get("own.local", "/ping").await
    };
    let mut used = BTreeMap::new();
    for last in 1..=24 {
        let client = at.client.clone().at(IpAddr::V4(Ipv4Addr::new(127, 0, 88, last)));
        let first = ask(&client).await?.instance()?;
        for _ in 0..3 {
            let again = ask(&client).await?.instance()?;
            ensure!(again == first, "127.0.88.{last}: {first}, then {again}");
        }
        *used.entry(first).or_insert(0) += 1;
    }
    ensure!(used.len() == own.fronts.len(), "{used:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_stops_cuts_no_connection_to_others() -> Result<()> {
    let mut at = Secured::start().await?;
    let builder = at.stage.service("own", "own.local").replicas(3);
    let own = Own::deploy(&mut at, builder, "own.local").await?;
    at.wait_tls("own.local").await?;
    let mut connections = Vec::new();
    for _ in 0..9 {
        let mut connection = at.client.connect("own.local", &["http/1.1"]).await?;
        let instance = connection.get("own.local", "/ping").await?.instance()?;
        connections.push((instance, connection));
    }
    let stopping = own.service.tasks().pop().context("a task")?;
    let stopped = stopping.address().to_string();
    own.service.scale(2);
    at.stage.settle().await?;
    for (instance, connection) in &mut connections {
        // The connections to the task itself live until it ends them.
        let answer = connection.get("own.local", "/ping").await?;
        ensure!(answer.instance()? == *instance, "{instance}: {answer:?}");
    }
    ensure!(connections.iter().any(|(instance, _)| *instance == stopped), "{stopped} had none");
    for _ in 0..9 {
        let mut connection = at.client.connect("own.local", &["http/1.1"]).await?;
        let answer = connection.get("own.local", "/ping").await?;
        ensure!(answer.instance()? != stopped, "{answer:?}");
    }
    Ok(())
}

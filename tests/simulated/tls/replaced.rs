//! A certificate is replaced, and no client notices.

use anyhow::{Context, Result, ensure};
use futures::stream::{self, BoxStream, StreamExt};
use waggle_tests::authority::Signed;
use waggle_tests::client::Answer;
use waggle_tests::controller::{Controller, problem_codes};
use waggle_tests::engine::{Moment, Service};
use waggle_tests::envoy::Envoy;
use waggle_tests::load::Load;
use waggle_tests::program::{eventually, free_address};
use waggle_tests::tls::{BOTH, TlsClient};

use super::broken::slow;
use super::{CERT, KEY, Secured};

/// Requests for `web.local` on new connections and on kept ones.
fn load(client: &TlsClient) -> Load {
    let kept = ["h2", "http/1.1"].map(|protocol| client.clone().kept("web.local", protocol));
    Load::of(kept.into_iter().chain([client.clone().fresh("web.local")]))
}

/// Labels a service with another certificate.
fn relabel(service: &Service, name: &str) {
    service.set_labels([(CERT, &*format!("{name}.cert")), (KEY, &format!("{name}.key"))]);
}

async fn wait_tls(client: &TlsClient) -> Result<()> {
    eventually("web.local takes TLS", async || {
        Ok(client.handshake("web.local", BOTH).await.ok().map(drop))
    })
    .await
}

async fn wait_shown(client: &TlsClient, certificate: &Signed) -> Result<()> {
    eventually("the certificate is shown", async || {
        let connection = client.connect("web.local", BOTH).await?;
        Ok(connection.is_with(certificate)?.then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_costs_no_request_and_no_connection_of_others() -> Result<()> {
    let mut at = Secured::start().await?;
    let (web, other) = (at.service("web", "web.local")?, at.service("other", "other.local")?);
    let web = at.deploy(web, "web.local").await?;
    at.deploy(other, "other.local").await?;
    let certificates = [at.authority.sign("web.local")?, at.authority.sign("web.local")?];
    for (name, certificate) in ["web2", "web3"].iter().zip(&certificates) {
        at.stage.mount_certificate(name, certificate)?;
    }

    let load = load(&at.client);
    load.go_on(50).await?;
    for (name, certificate) in ["web2", "web3"].iter().zip(&certificates) {
        let (others, own) = (slow(&at, "other.local").await?, slow(&at, "web.local").await?);
        relabel(&web, name);
        wait_shown(&at.client, certificate).await?;
        load.go_on(100).await?;
        let again = others.await??.get("other.local", "/ping").await?;
        ensure!(again.status == 200, "{again:?}");
        // This one may be ended after its answer, but not before.
        own.await??;
    }
    load.end().await
}

/// The first chain still serves the connections that it has when it returns.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_and_returns_costs_no_request() -> Result<()> {
    let mut at = Secured::start().await?;
    let (first, second) = (at.authority.sign("web.local")?, at.authority.sign("web.local")?);
    let web = at.service_with("web", "web.local", &first)?;
    let web = at.deploy(web, "web.local").await?;
    at.stage.mount_certificate("web2", &second)?;

    let load = load(&at.client);
    load.go_on(50).await?;
    for (name, certificate) in
        [("web2", &second), ("web", &first), ("web2", &second), ("web", &first)]
    {
        relabel(&web, name);
        wait_shown(&at.client, certificate).await?;
        load.go_on(50).await?;
    }
    load.end().await
}

/// A proxy beside the stage's: the same Swarm, ports of its own.
struct Second {
    controller: Controller,
    envoy: Envoy,
    client: TlsClient,
}

impl Second {
    fn start(at: &Secured) -> Result<Self> {
        let (http, https) = (free_address()?.port(), free_address()?);
        let port = https.port().to_string();
        let arguments = ["--https-port", &port, "--proxy-service", "proxy"];
        let controller = Controller::start(&at.stage.engine.url(), http, &arguments)?;
        let mut envoy = Envoy::start(controller.xds(), "envoy-2", 1)?;
        envoy.wait_ready()?;
        let client = TlsClient::new(https, &at.authority)?;
        Ok(Self { controller, envoy, client })
    }
}

/// Answers of whichever proxy gives one: a client that goes to the other where one is away.
fn either(clients: [TlsClient; 2], protocol: &'static str) -> BoxStream<'static, Result<Answer>> {
    let [one, other] = clients.map(|client| client.kept("web.local", protocol));
    stream::unfold((one, other), |(mut one, mut other)| async move {
        match one.next().await? {
            Ok(answer) => Some((Ok(answer), (one, other))),
            Err(_away) => Some((other.next().await?, (other, one))),
        }
    })
    .boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_proxies_that_are_replaced_in_turn_no_request_fails() -> Result<()> {
    let mut at = Secured::start().await?;
    at.stage.proxy.scale(2);
    let web = at.service("web", "web.local")?;
    let web = at.deploy(web, "web.local").await?;
    let mut second = Second::start(&at)?;
    let clients = [at.client.clone(), second.client.clone()];
    wait_tls(&second.client).await?;

    let load = Load::of(["h2", "http/1.1"].map(|protocol| either(clients.clone(), protocol)));
    load.go_on(50).await?;
    // The label comes first. What it names is not mounted: that is told, and nothing changes.
    relabel(&web, "web2");
    let code = "secret-without-proxy";
    let told = |status: &_| problem_codes(status, "web") == [code, code];
    at.stage.controller.wait_status(code, told).await?;
    load.go_on(20).await?;

    // Mounting it replaces the proxies, one after the other. Only the new ones hold the files.
    let (certificate, folder) = (at.authority.sign("web.local")?, tempfile::tempdir()?);
    let [chain, key] = ["cert", "key"].map(|part| folder.path().join(part));
    let (at_chain, at_key) = (chain.display().to_string(), key.display().to_string());
    let files = [("web2.cert", at_chain.as_str()), ("web2.key", &at_key)];
    let mut proxies = [
        (&mut at.stage.envoy, &mut at.stage.controller, &clients[0]),
        (&mut second.envoy, &mut second.controller, &clients[1]),
    ]
    .into_iter();
    let mut replaced = None;
    for moment in at.stage.proxy.add_secrets(files) {
        match moment {
            Moment::Stopping(_) => {
                let (envoy, controller, client) = proxies.next().context("a third proxy")?;
                controller.wait_read().await?;
                load.go_on(20).await?;
                envoy.end();
                load.go_on(20).await?;
                replaced = Some((envoy, controller, client));
            }
            Moment::Prepared(_) => {
                let (envoy, controller, client) = replaced.take().context("nothing stopped")?;
                if proxies.len() == 0 {
                    std::fs::write(&chain, &certificate.certificate)?;
                    std::fs::write(&key, &certificate.key)?;
                }
                *envoy = Envoy::start(controller.xds(), "envoy", 1)?;
                envoy.wait_ready()?;
                wait_tls(client).await?;
            }
            Moment::Running(_) | Moment::Gone(_) => {}
        }
    }
    for client in &clients {
        wait_shown(client, &certificate).await?;
    }
    load.go_on(50).await?;
    load.end().await
}

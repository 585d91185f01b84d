//! An engine that is reached over the network, by TLS.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use waggle_tests::authority::Authority;
use waggle_tests::controller::{Controller, service};
use waggle_tests::engine::Engine;
use waggle_tests::program::{eventually, free_address};
use waggle_tests::tls::TlsFront;

/// An engine that only clients with a certificate of its authority may speak to.
struct Secured {
    url: String,
    files: TempDir,
    _engine: Engine,
    _front: TlsFront,
}

impl Secured {
    async fn start() -> Result<Self> {
        let engine = Engine::start().await?;
        let labels = [("com.docker.lb.hosts", "a.local"), ("com.docker.lb.port", "80")];
        let builder = engine.service("web").network("apps");
        labels.into_iter().fold(builder, |web, (key, value)| web.label(key, value)).create();
        let (ours, other) = (Authority::new()?, Authority::new()?);
        let port = free_address()?.port();
        let address = (Ipv4Addr::LOCALHOST.into(), port);
        let target = engine.listen_tcp().await?;
        let front =
            TlsFront::start_mutual(address, &ours.sign("localhost")?, &ours, target).await?;
        let files = tempfile::tempdir()?;
        let (own, foreign) = (ours.sign("waggle")?, other.sign("waggle")?);
        for (name, content) in [
            ("ca", ours.pem()),
            ("cert", &own.certificate),
            ("key", &own.key),
            ("other-ca", other.pem()),
            ("other-cert", &foreign.certificate),
            ("other-key", &foreign.key),
        ] {
            std::fs::write(files.path().join(name), content)?;
        }
        let url = format!("tcp://localhost:{port}");
        Ok(Self { url, files, _engine: engine, _front: front })
    }

    /// Starts a controller with these settings, which name files where they have a value.
    fn controller(&self, settings: &[(&str, &str)]) -> Result<Controller> {
        let argument = |(flag, file): &(&str, &str)| match *file {
            "" => (*flag).to_owned(),
            file => format!("{flag}={}", self.files.path().join(file).display()),
        };
        let arguments: Vec<_> = settings.iter().map(argument).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        Controller::start(&self.url, 80, &arguments)
    }
}

const IDENTITY: [(&str, &str); 2] = [("--docker-cert", "cert"), ("--docker-key", "key")];

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_read_over_mutual_tls() -> Result<()> {
    let engine = Secured::start().await?;
    for trust in [("--docker-ca", "ca"), ("--docker-insecure", "")] {
        let settings: Vec<_> = IDENTITY.into_iter().chain([trust]).collect();
        let mut controller = engine.controller(&settings)?;
        controller.wait_read().await.with_context(|| format!("{trust:?}"))?;
        let status = controller.status()?;
        ensure!(service(&status, "web").is_some(), "{status:#}");
        ensure!(status["swarm"]["failing"].is_null(), "{status:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_or_a_controller_that_nobody_vouches_for_is_told() -> Result<()> {
    let engine = Secured::start().await?;
    for settings in [
        vec![IDENTITY[0], IDENTITY[1], ("--docker-ca", "other-ca")],
        vec![("--docker-cert", "other-cert"), ("--docker-key", "other-key"), ("--docker-ca", "ca")],
        vec![("--docker-ca", "ca")],
        vec![],
    ] {
        let controller = engine.controller(&settings)?;
        let failing = eventually("the status tells why", async || {
            let status = controller.status().unwrap_or_default();
            Ok(status["swarm"]["failing"].as_str().map(ToOwned::to_owned))
        })
        .await?;
        ensure!(failing.contains("tcp://localhost:"), "{settings:?}: {failing}");
        ensure!(service(&controller.status()?, "web").is_none(), "{settings:?} reads");
    }
    Ok(())
}

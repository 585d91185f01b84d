//! Everything together on loopback: simulated engine, real controller, real Envoy with the real
//! filter, real applications.

use std::net::{Ipv4Addr, SocketAddr};

use tempfile::TempDir;

use crate::authority::Signed;
use crate::backend::Backends;
use crate::client::Client;
use crate::controller::{Controller, endpoints};
use crate::engine::{Builder, Engine, Service};
use crate::envoy::{Envoy, members};
use crate::program::{eventually, free_address};
use crate::tls::TlsFront;
use crate::tls::programs::{Printed, curl};

/// The port on which applications listen, each at an address of its own.
pub const APP_PORT: u16 = 8080;

/// The port on which an application takes plain requests that speaks TLS on [`APP_PORT`].
pub const BEHIND_TLS: u16 = 8081;

/// A Swarm without Docker, with a proxy before it.
pub struct Stage {
    /// The simulated engine.
    pub engine: Engine,
    /// The controller.
    pub controller: Controller,
    /// The proxy.
    pub envoy: Envoy,
    /// The applications.
    pub backends: Backends,
    /// A client of the proxy.
    pub client: Client,
    /// Where the proxy takes HTTP.
    pub http: SocketAddr,
    /// Where the proxy takes TLS, once a service asks for it.
    pub https: SocketAddr,
    /// The service whose tasks the proxy is said to be: what is mounted into it are files of this
    /// machine.
    pub proxy: Service,
    files: TempDir,
}

/// A controller of the Swarm with an Envoy of its own, beside those of the [`Stage`].
pub struct Front {
    /// The controller.
    pub controller: Controller,
    /// The proxy.
    pub envoy: Envoy,
    /// A client of the proxy.
    pub client: Client,
    /// Where the proxy takes HTTP.
    pub http: SocketAddr,
}

impl Front {
    /// Starts both, with more arguments for the controller, and waits until the proxy answers.
    pub async fn start(engine: &Engine, workers: u32, arguments: &[&str]) -> anyhow::Result<Self> {
        let port = free_address()?.port();
        let controller = Controller::start(&engine.url(), port, arguments)?;
        let mut envoy = Envoy::start(controller.xds(), "envoy-1", workers)?;
        envoy.wait_ready()?;
        let http = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let client = Client::new(http);
        eventually("the proxy answers", async || Ok(client.get("nobody.local", "/").await.ok()))
            .await?;
        Ok(Self { controller, envoy, client, http })
    }

    /// As [`Stage::settle`].
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        settle(&mut self.controller, &self.envoy).await
    }
}

impl Stage {
    /// Starts all and waits until the proxy answers; there is no service yet.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same, with more arguments for the controller.
    pub async fn start_with(arguments: &[&str]) -> anyhow::Result<Self> {
        let engine = Engine::start().await?;
        let proxy = engine.service("proxy").network("apps").create();
        let https = free_address()?;
        let https_port = https.port().to_string();
        let own = ["--https-port", &https_port, "--proxy-service", "proxy"];
        let arguments: Vec<_> = own.iter().chain(arguments).copied().collect();
        let Front { controller, envoy, client, http } =
            Front::start(&engine, 1, &arguments).await?;
        let (backends, files) = (Backends::new()?, tempfile::tempdir()?);
        Ok(Self { engine, controller, envoy, backends, client, http, https, proxy, files })
    }

    /// A service as users make it: on the network `apps`, its hosts and port labelled.
    pub fn service(&self, name: &str, hosts: &str) -> Builder {
        let port = APP_PORT.to_string();
        let builder = self.engine.service(name).network("apps");
        builder.label("com.docker.lb.hosts", hosts).label("com.docker.lb.port", &port)
    }

    /// Mounts a secret with this content into the proxy.
    pub fn mount(&self, secret: &str, content: &str) -> anyhow::Result<()> {
        let file = self.files.path().join(secret);
        std::fs::write(&file, content)?;
        self.proxy.mount(secret, &file.display().to_string());
        Ok(())
    }

    /// Mounts a certificate as two secrets, `NAME.cert` and `NAME.key`.
    pub fn mount_certificate(&self, name: &str, certificate: &Signed) -> anyhow::Result<()> {
        self.mount(&format!("{name}.cert"), &certificate.certificate)?;
        self.mount(&format!("{name}.key"), &certificate.key)
    }

    /// Creates a service, runs the application for its tasks, and waits until Envoy has it.
    pub async fn deploy(&mut self, builder: Builder) -> anyhow::Result<Service> {
        let service = builder.create();
        self.backends.serve(&service, APP_PORT).await?;
        self.settle().await?;
        Ok(service)
    }

    /// Runs the application for a service's tasks, each behind TLS with this certificate.
    pub async fn serve_tls(
        &mut self,
        service: &Service,
        certificate: &Signed,
        protocols: &[&str],
    ) -> anyhow::Result<Vec<TlsFront>> {
        self.backends.serve(service, BEHIND_TLS).await?;
        let mut fronts = Vec::new();
        for task in service.tasks() {
            let (address, behind) = ((task.address(), APP_PORT), (task.address(), BEHIND_TLS));
            fronts.push(TlsFront::start(address, certificate, protocols, behind.into()).await?);
        }
        Ok(fronts)
    }

    /// Asks by curl, which finds every host at the proxy: at the ports that users publish, 80 and
    /// 443, and at 8443. It takes every certificate.
    pub async fn curl(&self, arguments: &[&str]) -> anyhow::Result<Printed> {
        let (http, https) = (self.http, self.https);
        let ways = [format!(":80:{http}"), format!(":443:{https}"), format!(":8443:{https}")];
        let ways = ways.iter().flat_map(|way| ["--connect-to", way]);
        curl(&ways.chain(arguments.iter().copied()).collect::<Vec<_>>()).await
    }

    /// Waits until the controller has seen the Swarm as it is now, and Envoy has the endpoints that
    /// it tells.
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        settle(&mut self.controller, &self.envoy).await
    }

    /// How many updates Envoy has taken, of all kinds; it looks the controller's address up by
    /// itself.
    pub fn updates(&self) -> anyhow::Result<u64> {
        let counted =
            |name: &str| name.ends_with(".update_success") && !name.starts_with("cluster.xds.");
        let stats = self.envoy.stats()?;
        Ok(stats.iter().filter(|(name, _)| counted(name)).map(|(_, value)| value).sum())
    }
}

async fn settle(controller: &mut Controller, envoy: &Envoy) -> anyhow::Result<()> {
    controller.wait_read().await?;
    eventually("Envoy has the endpoints that the controller tells", async || {
        let told = endpoints(&controller.status()?);
        Ok((told == members(&envoy.get("/clusters")?)).then_some(()))
    })
    .await
}

//! TLS at the proxy: which certificate answers, what becomes of bad ones, how they are replaced, and
//! what passes through.

use anyhow::Result;
use waggle_tests::authority::{Authority, Signed};
use waggle_tests::client::Answer;
use waggle_tests::engine::{Builder, Service};
use waggle_tests::program::eventually;
use waggle_tests::stage::Stage;
use waggle_tests::tls::{BOTH, TlsClient};

mod broken;
mod names;
mod passthrough;
mod replaced;

const CERT: &str = "com.docker.lb.ssl_cert";
const KEY: &str = "com.docker.lb.ssl_key";

/// A stage whose hosts have certificates, and a client that believes who signed them.
pub(crate) struct Secured {
    pub(crate) stage: Stage,
    pub(crate) authority: Authority,
    pub(crate) client: TlsClient,
}

impl Secured {
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(arguments: &[&str]) -> Result<Self> {
        let (stage, authority) = (Stage::start_with(arguments).await?, Authority::new()?);
        let client = TlsClient::new(stage.https, &authority)?;
        Ok(Self { stage, authority, client })
    }

    /// A service with a certificate for its hosts, `NAME.cert` and `NAME.key`.
    pub(crate) fn service(&self, name: &str, hosts: &str) -> Result<Builder> {
        self.service_with(name, hosts, &self.authority.sign(hosts)?)
    }

    /// A service with this certificate.
    fn service_with(&self, name: &str, hosts: &str, certificate: &Signed) -> Result<Builder> {
        self.stage.mount_certificate(name, certificate)?;
        let builder = self.stage.service(name, hosts).label(CERT, &format!("{name}.cert"));
        Ok(builder.label(KEY, &format!("{name}.key")))
    }

    /// Creates a service and waits until this host of it takes TLS.
    pub(crate) async fn deploy(&mut self, builder: Builder, host: &str) -> Result<Service> {
        let service = self.stage.deploy(builder).await?;
        self.wait_tls(host).await?;
        Ok(service)
    }

    pub(crate) async fn wait_tls(&self, host: &str) -> Result<()> {
        let what = format!("{host} takes TLS");
        eventually(&what, async || Ok(self.client.handshake(host, BOTH).await.ok().map(drop))).await
    }
}

/// Which service answered.
pub(crate) fn metadata(answer: &Answer) -> String {
    let body = answer.json().unwrap_or_default();
    body["metadata"].as_str().unwrap_or_default().to_owned()
}

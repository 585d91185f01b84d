//! TLS at the proxy: which certificate answers, and what else must not.

use anyhow::{Result, ensure};
use waggle_tests::authority::Authority;
use waggle_tests::stage::Stage;
use waggle_tests::tls::TlsClient;

const CERT: &str = "com.docker.lb.ssl_cert";
const KEY: &str = "com.docker.lb.ssl_key";

#[tokio::test(flavor = "multi_thread")]
async fn the_right_certificate_answers_by_name() -> Result<()> {
    let mut stage = Stage::start().await?;
    let authority = Authority::new()?;
    let hosts = ["a.local", "b.local"];
    for host in hosts {
        stage.mount_certificate(host, &authority.sign(host)?)?;
        let service = stage.service(host, host).label(CERT, &format!("{host}.cert"));
        stage.deploy(service.label(KEY, &format!("{host}.key"))).await?;
    }
    let client = TlsClient::new(stage.https, &authority)?;
    for host in hosts {
        let answer = client.get(host, "/ping").await?;
        ensure!(answer.status == 200 && answer.json()?["metadata"] == host, "{answer:?}");
    }
    Ok(())
}

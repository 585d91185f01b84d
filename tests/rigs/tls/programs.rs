//! Other people's clients: OpenSSL and curl, which tell what they see in their own words.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use crate::authority::Signed;
use crate::program::DEADLINE;

/// What a program printed, and whether it was content.
#[derive(Debug, Clone)]
pub struct Printed {
    /// Whether it ended well.
    pub success: bool,
    /// What it printed, complaints first.
    pub text: String,
}

/// Shakes hands with a proxy by `openssl s_client`, with more arguments, and says no more.
pub async fn s_client(proxy: SocketAddr, arguments: &[&str]) -> anyhow::Result<Printed> {
    let proxy = proxy.to_string();
    let own = ["s_client", "-connect", &proxy];
    run("openssl", own.iter().chain(arguments).copied()).await
}

/// Asks by curl, which takes every certificate.
pub async fn curl(arguments: &[&str]) -> anyhow::Result<Printed> {
    let own = ["--silent", "--show-error", "--insecure", "--noproxy", "*"];
    run("curl", own.iter().chain(arguments).copied()).await
}

/// A certificate for a name that has signed itself, made as the examples tell users to.
pub async fn self_signed(name: &str) -> anyhow::Result<Signed> {
    let (subject, alternative) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}"));
    let made = run(
        "openssl",
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            .into_iter()
            .chain(["-days", "30", "-subj", &subject, "-addext", &alternative, "-keyout", "-"]),
    )
    .await?;
    let at = |begin| made.text.find(begin).with_context(|| format!("no {begin}: {made:?}"));
    let (key, certificate) = (at("-----BEGIN PRIVATE KEY")?, at("-----BEGIN CERTIFICATE")?);
    let part = |from: usize, to: usize| made.text.get(from..to).unwrap_or_default().to_owned();
    ensure!(key < certificate, "{made:?}");
    Ok(Signed { certificate: part(certificate, made.text.len()), key: part(key, certificate) })
}

/// Fails where curl is one that was built without HTTP/2.
pub async fn need_http2() -> anyhow::Result<()> {
    let version = run("curl", ["--version"]).await?.text;
    ensure!(version.contains("HTTP2"), "curl cannot speak HTTP/2: install one that can\n{version}");
    Ok(())
}

async fn run<'a>(
    program: &str,
    arguments: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<Printed> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let Ok(output) = timeout(DEADLINE, command.output()).await else {
        bail!("not within {DEADLINE:?}: {command:?}");
    };
    let output =
        output.with_context(|| format!("{program} is needed: apt-get install {program}"))?;
    let text = [output.stderr, output.stdout].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Printed { success: output.status.success(), text })
}

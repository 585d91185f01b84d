//! Which certificate answers for which name, and what a connection is good for.

use anyhow::{Result, ensure};
use waggle_tests::program::eventually;
use waggle_tests::tls::BOTH;
use waggle_tests::tls::programs::{need_http2, s_client};

use super::{CERT, Secured, metadata};

const DEFAULT: &str = "com.docker.lb.default_backend";

/// Debug headers that every answer has.
const OF_EVERY_ANSWER: [&str; 3] = ["x-request-id", "x-proxy-id", "x-server-info"];

#[tokio::test(flavor = "multi_thread")]
async fn the_right_certificate_answers_by_name() -> Result<()> {
    let mut at = Secured::start().await?;
    let mut certificates = Vec::new();
    for (name, hosts) in
        [("two", "a.local,b.local"), ("wild", "*.wild.local"), ("exact", "x.wild.local")]
    {
        let certificate = at.authority.sign(hosts)?;
        let service = at.service_with(name, hosts, &certificate)?;
        at.deploy(service, &hosts.replace('*', "w").replace(",b.local", "")).await?;
        certificates.push((name, certificate));
    }
    for (host, expected) in [
        ("a.local", "two"),
        ("b.local", "two"),
        ("B.Local", "two"),
        ("y.wild.local", "wild"),
        ("x.wild.local", "exact"),
    ] {
        let mut connection = at.client.connect(host, BOTH).await?;
        for (name, certificate) in &certificates {
            ensure!(connection.is_with(certificate)? == (*name == expected), "{host}: {name}");
        }
        let answer = connection.get(host, "/ping").await?;
        ensure!(answer.status == 200 && metadata(&answer) == expected, "{host}: {answer:?}");

        let seen = s_client(at.stage.https, &["-servername", host]).await?;
        let certificate = certificates.iter().find(|(name, _)| *name == expected);
        let certificate = certificate.map(|(_, it)| it.certificate.trim()).unwrap_or_default();
        ensure!(seen.success && seen.text.contains(certificate), "{host}: {seen:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_for_an_unknown_name_or_none_is_closed() -> Result<()> {
    let mut at = Secured::start().await?;
    let known = at.service("known", "known.local")?;
    at.deploy(known, "known.local").await?;
    let plain = at.stage.service("plain", "plain.local");
    at.stage.deploy(plain).await?;
    let mut kept = at.client.connect("known.local", BOTH).await?;
    for name in [
        ["-servername", "unknown.local"].as_slice(),
        &["-servername", "plain.local"],
        &["-servername", "sub.known.local"],
        &["-noservername"],
    ] {
        let seen = s_client(at.stage.https, name).await?;
        let is_closed = seen.text.contains("no peer certificate available");
        ensure!(!seen.success && is_closed, "{name:?}: {seen:?}");
        let answer = kept.get("known.local", "/ping").await?;
        ensure!(answer.status == 200, "after {name:?}: {answer:?}");
    }
    ensure!(at.client.get("known.local", "/ping").await?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_backend_with_a_certificate_answers_for_unknown_names_and_none() -> Result<()> {
    let mut at = Secured::start().await?;
    let known = at.service("known", "known.local")?;
    at.deploy(known, "known.local").await?;
    let certificate = at.authority.sign("fallback.local,unknown.local")?;
    let fallback = at.service_with("fallback", "fallback.local", &certificate)?;
    at.deploy(fallback.label(DEFAULT, "true"), "unknown.local").await?;

    let answer = at.client.get("unknown.local", "/ping").await?;
    ensure!(answer.status == 200 && metadata(&answer) == "fallback", "{answer:?}");
    let answer = at.client.get("known.local", "/ping").await?;
    ensure!(answer.status == 200 && metadata(&answer) == "known", "{answer:?}");
    let seen = s_client(at.stage.https, &["-noservername"]).await?;
    ensure!(seen.success && seen.text.contains(certificate.certificate.trim()), "{seen:?}");
    // By an address a client sends no name.
    let https = format!("https://{}/ping", at.stage.https);
    let seen = at.stage.curl(&[&https]).await?;
    ensure!(seen.success && seen.text.contains("\"fallback\""), "{seen:?}");
    // Hosts with a certificate of their own stay on connections of their own.
    let answer =
        at.client.connect("unknown.local", BOTH).await?.get("known.local", "/ping").await?;
    ensure!(answer.status == 421, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_and_http1_are_agreed_on_by_alpn() -> Result<()> {
    need_http2().await?;
    let mut at = Secured::start().await?;
    let web = at.service("web", "a.local")?;
    at.deploy(web, "a.local").await?;
    for (offer, agreed) in [
        (BOTH, Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let mut connection = at.client.connect("a.local", offer).await?;
        ensure!(connection.protocol.as_deref() == agreed, "{offer:?}: {connection:?}");
        let answer = connection.get("a.local", "/ping").await?;
        ensure!(answer.status == 200, "{offer:?}: {answer:?}");
    }
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1"), ("--no-alpn", "1.1")] {
        let arguments = [option, "--output", "/dev/null", "--write-out", "%{http_version}"];
        let url = "https://a.local/ping";
        let seen = at.stage.curl(&[arguments.as_slice(), &[url]].concat()).await?;
        ensure!(seen.success && seen.text == version, "{option}: {seen:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_and_1_3_are_taken_and_1_1_is_refused() -> Result<()> {
    let mut at = Secured::start().await?;
    let web = at.service("web", "a.local")?;
    at.deploy(web, "a.local").await?;
    // At level 0 OpenSSL offers what it would not by itself.
    let offer = ["-servername", "a.local", "-cipher", "DEFAULT:@SECLEVEL=0"];
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let seen =
            s_client(at.stage.https, &[offer.as_slice(), &["-brief", option]].concat()).await?;
        let agreed = seen.text.contains(&format!("Protocol version: {version}"));
        ensure!(seen.success && agreed, "{option}: {seen:?}");
    }
    for option in ["-tls1", "-tls1_1"] {
        let seen = s_client(at.stage.https, &[offer.as_slice(), &[option]].concat()).await?;
        let refused = seen.text.contains("alert protocol version");
        ensure!(!seen.success && refused, "{option}: {seen:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_secret_may_hold_certificate_and_key() -> Result<()> {
    let mut at = Secured::start().await?;
    let certificate = at.authority.sign("one.local")?;
    at.stage.mount("both", &format!("{}{}", certificate.certificate, certificate.key))?;
    let web = at.stage.service("web", "one.local").label(CERT, "both");
    at.deploy(web, "one.local").await?;
    let mut connection = at.client.connect("one.local", BOTH).await?;
    ensure!(connection.is_with(&certificate)?, "another certificate");
    ensure!(connection.get("one.local", "/ping").await?.status == 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_good_for_the_hosts_of_its_certificate_only() -> Result<()> {
    let mut at = Secured::start().await?;
    for (name, hosts) in
        [("two", "a.local,b.local"), ("wild", "*.wild.local"), ("exact", "x.wild.local")]
    {
        let service = at.service(name, hosts)?;
        at.deploy(service, &hosts.replace('*', "w").replace(",b.local", "")).await?;
    }
    let plain = at.stage.service("plain", "plain.local,p.wild.local");
    at.stage.deploy(plain).await?;
    eventually("the plain hosts answer", async || {
        let answer = at.stage.client.get("p.wild.local", "/ping").await?;
        Ok((metadata(&answer) == "plain").then_some(()))
    })
    .await?;

    for protocol in ["h2", "http/1.1"] {
        for (name, host, status) in [
            ("a.local", "b.local", 200),
            ("a.local", "a.local:8443", 200),
            ("a.local", "w.wild.local", 421),
            ("w.wild.local", "v.wild.local", 200),
            ("w.wild.local", "x.wild.local", 421),
            ("w.wild.local", "p.wild.local", 421),
            ("x.wild.local", "w.wild.local", 421),
            ("a.local", "plain.local", 421),
            ("a.local", "nobody.local", 421),
        ] {
            let mut connection = at.client.connect(name, &[protocol]).await?;
            let answer = connection.get(host, "/ping").await?;
            ensure!(answer.status == status, "{protocol}, {host} at {name}: {answer:?}");
            for header in OF_EVERY_ANSWER {
                let times = answer.headers.get_all(header).iter().count();
                ensure!(times == 1, "{times} times {header}: {answer:?}");
            }
            // It stays good for its own.
            let own = connection.get(name, "/ping").await?;
            ensure!(own.status == 200, "{protocol}, {name} after {host}: {own:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_goes_on_beside_tls() -> Result<()> {
    let mut at = Secured::start().await?;
    let web = at.service("web", "a.local")?;
    at.deploy(web, "a.local").await?;
    let mut connection = at.client.connect("a.local", BOTH).await?;
    let plain = at.stage.client.get("a.local", "/headers").await?;
    let secure = connection.get("a.local", "/headers").await?;
    for (answer, proto, port) in [(plain, "http", 80), (secure, "https", 443)] {
        ensure!(answer.status == 200, "{answer:?}");
        for header in OF_EVERY_ANSWER.iter().chain(&["x-upstream-addr", "x-upstream-response-time"])
        {
            ensure!(!answer.header(header).is_empty(), "no {header}: {answer:?}");
        }
        let seen = answer.json()?.to_string();
        for pair in [
            format!(r#"["x-forwarded-proto","{proto}"]"#),
            format!(r#"["x-forwarded-port","{port}"]"#),
            r#"["host","a.local"]"#.to_owned(),
        ] {
            ensure!(seen.contains(&pair), "no {pair} in {seen}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_service_goes_takes_no_tls_any_more() -> Result<()> {
    let mut at = Secured::start().await?;
    let (a, b) = (at.service("a", "a.local")?, at.service("b", "b.local")?);
    let a = at.deploy(a, "a.local").await?;
    at.deploy(b, "b.local").await?;
    let mut kept = at.client.connect("b.local", BOTH).await?;
    a.remove();
    eventually("a.local takes no TLS", async || {
        Ok(at.client.handshake("a.local", BOTH).await.is_err().then_some(()))
    })
    .await?;
    ensure!(kept.get("b.local", "/ping").await?.status == 200);
    Ok(())
}

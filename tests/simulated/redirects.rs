//! `redirects` and `ssl_only`: where clients are sent, and that they arrive.

use anyhow::{Result, ensure};
use waggle_tests::program::eventually;
use waggle_tests::stage::Stage;

use super::tls::{Secured, metadata};

const ONLY: &str = "com.docker.lb.ssl_only";
const REDIRECTS: &str = "com.docker.lb.redirects";

/// What curl is told of the first answer: status and `Location`.
async fn first(stage: &Stage, arguments: &[&str]) -> Result<String> {
    let own = ["--output", "/dev/null", "--write-out", "%{http_code} %header{location}"];
    let printed = stage.curl(&[own.as_slice(), arguments].concat()).await?;
    ensure!(printed.success, "{arguments:?}: {printed:?}");
    Ok(printed.text)
}

/// Where a client that follows arrives, and with what: status, redirects, URL.
async fn end(stage: &Stage, url: &str) -> Result<String> {
    let told = "%{http_code} %{num_redirects} %{url_effective}";
    let own = ["--location", "--output", "/dev/null", "--write-out", told, url];
    let printed = stage.curl(&own).await?;
    ensure!(printed.success, "{url}: {printed:?}");
    Ok(printed.text)
}

/// Waits until a plain request for a host gets something other than the answer for unknown hosts.
async fn wait_known(stage: &Stage, host: &str) -> Result<()> {
    eventually("the host is known", async || {
        let answer = stage.client.get(host, "/ping").await?;
        Ok((!answer.body.starts_with(b"No service")).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_only_sends_plain_requests_to_https() -> Result<()> {
    let mut at = Secured::start().await?;
    let only = at.service("only", "only.local,*.w.local")?.label(ONLY, "true");
    at.deploy(only, "only.local").await?;
    wait_known(&at.stage, "a.w.local").await?;
    for (arguments, expected) in [
        (&["http://only.local"] as &[&str], "301 https://only.local/"),
        (&["http://only.local/a/b?c=d&e=%2F"], "301 https://only.local/a/b?c=d&e=%2F"),
        (&["http://only.local//x/%2e?"], "301 https://only.local//x/?"),
        (&["http://a.w.local/x?y"], "301 https://a.w.local/x?y"),
        // Clients that name a port of the plain kind come out at the usual one.
        (&["-H", "Host: only.local:80", "http://only.local/x"], "301 https://only.local/x"),
        // Below a wildcard it is named: Envoy would keep the other one.
        (&["-H", "Host: a.w.local:8080", "http://a.w.local/x"], "301 https://a.w.local:443/x"),
        (&["-H", "Host: a.w.local:80", "http://a.w.local/x"], "301 https://a.w.local:443/x"),
        (&["--data", "x=y", "http://only.local/form"], "301 https://only.local/form"),
        (&["--head", "http://only.local/x"], "301 https://only.local/x"),
        // Nobody in front is believed.
        (&["-H", "X-Forwarded-Proto: https", "http://only.local/x"], "301 https://only.local/x"),
        (&["https://only.local/ping"], "200 "),
        (&["https://a.w.local/ping"], "200 "),
    ] {
        let told = first(&at.stage, arguments).await?;
        ensure!(told == expected, "{arguments:?}: {told}");
    }
    let arrived = end(&at.stage, "http://only.local/ping?a=b").await?;
    ensure!(arrived == "200 1 https://only.local/ping?a=b", "{arrived}");
    let answer = at.stage.client.get("only.local", "/").await?;
    for name in ["x-request-id", "x-proxy-id", "x-server-info"] {
        ensure!(!answer.header(name).is_empty(), "no {name}: {answer:?}");
    }
    ensure!(answer.header("x-upstream-addr").is_empty(), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_port_is_named_where_it_is_not_443() -> Result<()> {
    let mut at = Secured::start_with(&["--public-https-port", "8443"]).await?;
    let only = at.service("only", "only.local,*.w.local")?.label(ONLY, "true");
    at.deploy(only, "only.local").await?;
    wait_known(&at.stage, "a.w.local").await?;
    for (arguments, expected) in [
        (&["http://only.local/x?y"] as &[&str], "301 https://only.local:8443/x?y"),
        (&["http://a.w.local/x?y"], "301 https://a.w.local:8443/x?y"),
        (&["-H", "Host: only.local:8080", "http://only.local/"], "301 https://only.local:8443/"),
        (&["-H", "Host: a.w.local:8080", "http://a.w.local/"], "301 https://a.w.local:8443/"),
    ] {
        let told = first(&at.stage, arguments).await?;
        ensure!(told == expected, "{arguments:?}: {told}");
    }
    let arrived = end(&at.stage, "http://a.w.local/ping").await?;
    ensure!(arrived == "200 1 https://a.w.local:8443/ping", "{arrived}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_that_has_taken_tls_is_served() -> Result<()> {
    let mut at = Secured::start_with(&["--trusted-hops", "1"]).await?;
    let only = at.service("only", "only.local")?.label(ONLY, "true");
    at.deploy(only, "only.local").await?;
    wait_known(&at.stage, "only.local").await?;
    let url = "http://only.local/headers";
    for (proto, expected) in [
        ("https", "200 "),
        ("http", "301 https://only.local/headers"),
        ("", "301 https://only.local/headers"),
    ] {
        let header = format!("X-Forwarded-Proto: {proto}");
        let told = first(&at.stage, &["-H", &header, url]).await?;
        ensure!(told == expected, "{proto:?}: {told}");
    }
    let seen = at.stage.curl(&["-H", "X-Forwarded-Proto: https", url]).await?;
    ensure!(seen.text.contains(r#"["x-forwarded-proto","https"]"#), "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_default_backend_may_be_ssl_only() -> Result<()> {
    let mut at = Secured::start().await?;
    let any = at.service("any", "any.local")?.label("com.docker.lb.default_backend", "true");
    at.deploy(any.label(ONLY, "true"), "any.local").await?;
    wait_known(&at.stage, "stranger.local").await?;
    let arrived = end(&at.stage, "http://stranger.local/ping?a").await?;
    ensure!(arrived == "200 1 https://stranger.local/ping?a", "{arrived}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_https_of_the_same_host_does_not_loop() -> Result<()> {
    let mut at = Secured::start().await?;
    let up = at.service("up", "up.local,*.w.local")?;
    let redirects = "http://up.local,https://up.local;http://*.w.local,https://up.local/w";
    at.deploy(up.label(REDIRECTS, redirects), "up.local").await?;
    wait_known(&at.stage, "up.local").await?;
    for (url, expected) in [
        ("http://up.local/a?b=c", "302 https://up.local/a?b=c"),
        ("https://up.local/ping", "200 "),
        ("http://a.w.local/b?c", "302 https://up.local/w/b?c"),
        ("https://a.w.local/b?c", "302 https://up.local/w/b?c"),
    ] {
        let told = first(&at.stage, &[url]).await?;
        ensure!(told == expected, "{url}: {told}");
    }
    let arrived = end(&at.stage, "http://up.local/ping").await?;
    ensure!(arrived == "200 1 https://up.local/ping", "{arrived}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_host_holds_on_both_listeners() -> Result<()> {
    let mut at = Secured::start().await?;
    let hosts = "old.local,new.local,deep.local,down.local,split.local";
    let redirects = "http://old.local,http://new.local;\
                     https://deep.local,https://new.local:8443/base/path;\
                     https://down.local,http://down.local;\
                     http://split.local,https://new.local/plain;\
                     https://split.local,https://new.local/secure";
    let moved = at.service("moved", hosts)?.label(REDIRECTS, redirects);
    at.deploy(moved, "old.local").await?;
    wait_known(&at.stage, "old.local").await?;
    for (arguments, expected) in [
        (&["http://old.local/a/b?c=d"] as &[&str], "302 http://new.local/a/b?c=d"),
        (&["https://old.local/a/b?c=d"], "302 http://new.local/a/b?c=d"),
        (&["-H", "Host: old.local:8080", "http://old.local/x"], "302 http://new.local/x"),
        (&["--data", "x=y", "http://old.local/form"], "302 http://new.local/form"),
        (&["--request", "DELETE", "https://old.local/x"], "302 http://new.local/x"),
        (&["http://deep.local/a?b"], "302 https://new.local:8443/base/path/a?b"),
        (&["https://deep.local"], "302 https://new.local:8443/base/path/"),
        (&["https://down.local/x?y"], "302 http://down.local/x?y"),
        (&["http://down.local/ping"], "200 "),
        (&["http://split.local/x"], "302 https://new.local/plain/x"),
        (&["https://split.local/x"], "302 https://new.local/secure/x"),
        (&["http://new.local/ping"], "200 "),
    ] {
        let told = first(&at.stage, arguments).await?;
        ensure!(told == expected, "{arguments:?}: {told}");
    }
    let plain = at.stage.client.get("old.local", "/").await?;
    let secure = at.client.get("old.local", "/").await?;
    for answer in [plain, secure] {
        for name in ["x-request-id", "x-proxy-id", "x-server-info"] {
            ensure!(!answer.header(name).is_empty(), "no {name}: {answer:?}");
        }
    }
    let arrived = at.client.get("new.local", "/ping").await?;
    ensure!(arrived.status == 200 && metadata(&arrived) == "moved", "{arrived:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ssl_only_and_redirects_go_together() -> Result<()> {
    let mut at = Secured::start().await?;
    let both = at.service("both", "old.local,new.local")?.label(ONLY, "true");
    let redirects = "https://old.local,https://new.local";
    at.deploy(both.label(REDIRECTS, redirects), "new.local").await?;
    wait_known(&at.stage, "new.local").await?;
    for (from, expected) in [
        ("http://new.local/ping", "200 1 https://new.local/ping"),
        ("http://old.local/ping", "200 1 https://new.local/ping"),
        ("https://old.local/ping", "200 1 https://new.local/ping"),
    ] {
        let arrived = end(&at.stage, from).await?;
        ensure!(arrived == expected, "{from}: {arrived}");
    }
    Ok(())
}

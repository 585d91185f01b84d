//! What kinds of requests and answers do with a session's cookie, where labels and settings decide.

use anyhow::{Result, ensure};
use waggle_tests::client::{Answer, Client, Jar};
use waggle_tests::stage::Stage;

use super::{HOST, STICKY, sticky};
use crate::tls::Secured;

/// A path where the application sets no cookie.
const PATH: &str = "/headers";

/// The one `Set-Cookie` line of an answer, without the token.
fn attributes(answer: &Answer) -> Result<&str> {
    let lines = answer.set_cookies();
    let [line] = lines.as_slice() else { anyhow::bail!("{} cookies in {answer:?}", lines.len()) };
    ensure!(line.starts_with("session_lb="), "{answer:?}");
    Ok(line.split_once("; ").unwrap_or_default().1)
}

const PLAIN: &str = "Path=/; HttpOnly; SameSite=Lax";
const SECURE: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_answers_itself_sets_no_cookie() -> Result<()> {
    let mut all = Secured::start_with(&["--max-body-size", "1000"]).await?;
    let sticky = all.stage.service("sticky", HOST).label(STICKY, "session");
    all.stage.deploy(sticky.label("com.docker.lb.context_root", "/app")).await?;
    let moved = all.stage.service("moved", "old.local,new.local").label(STICKY, "session");
    let redirects = "http://old.local,http://new.local";
    all.stage.deploy(moved.label("com.docker.lb.redirects", redirects)).await?;
    let secured = all.service("secured", "tls.local")?.label(STICKY, "session");
    all.deploy(secured.label("com.docker.lb.ssl_only", "true"), "tls.local").await?;
    let empty = all.stage.service("empty", "empty.local").label(STICKY, "session").replicas(0);
    all.stage.deploy(empty).await?;

    let mut jar = Jar::default();
    all.stage.client.get_as(&mut jar, HOST, "/app/headers").await?;
    jar.set("session", Some("1"));
    let session = jar.line();
    ensure!(session.contains("session_lb="), "{session}");
    let client = &all.stage.client;
    for cookies in ["session=1", &session] {
        for (host, path, status) in [
            (HOST, "/", 404),
            (HOST, "/apple", 404),
            ("nobody.local", "/", 503),
            ("empty.local", "/", 503),
            ("old.local", "/", 302),
            ("tls.local", "/", 301),
        ] {
            let answer = client.get_with(host, path, &[("cookie", cookies.as_bytes())]).await?;
            ensure!(answer.status == status, "{host}{path}: {answer:?}");
            ensure!(answer.set_cookies().is_empty(), "{host}{path}: {answer:?}");
        }
    }
    let answer = client.post(HOST, "/app", &[0; 1001]).await?;
    ensure!(answer.status == 413 && answer.set_cookies().is_empty(), "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_is_set_over_tls_is_secure() -> Result<()> {
    let mut all = Secured::start().await?;
    let builder = all.service("sticky", HOST)?.label(STICKY, "session");
    all.deploy(builder, HOST).await?;
    for protocol in ["http/1.1", "h2"] {
        let mut connection = all.client.connect(HOST, &[protocol]).await?;
        ensure!(connection.protocol.as_deref() == Some(protocol), "{connection:?}");
        let answer = connection.get(HOST, PATH).await?;
        ensure!(attributes(&answer)? == SECURE, "over {protocol}: {answer:?}");
    }
    // Over plain HTTP browsers would refuse one, and what a client says of itself counts for nothing.
    let forged: [(&str, &[u8]); 1] = [("x-forwarded-proto", b"https")];
    for headers in [&[][..], &forged] {
        let answer = all.stage.client.get_with(HOST, PATH, headers).await?;
        ensure!(answer.set_cookies().is_empty(), "{answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_may_be_believed_its_word_makes_the_cookie_secure() -> Result<()> {
    let mut stage = Stage::start_with(&["--trusted-hops", "1"]).await?;
    sticky(&mut stage, 1).await?;
    for client in [stage.client.clone(), Client::http2(stage.http).await?] {
        for (said, expected) in [("https", SECURE), ("http", PLAIN)] {
            let headers: [(&str, &[u8]); 2] =
                [("x-forwarded-proto", said.as_bytes()), ("x-forwarded-for", b"192.0.2.1")];
            let answer = client.get_with(HOST, PATH, &headers).await?;
            ensure!(attributes(&answer)? == expected, "{said} by {client:?}: {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_found_in_any_of_the_crumbs_of_http2() -> Result<()> {
    let mut stage = Stage::start().await?;
    sticky(&mut stage, 4).await?;
    let client = Client::http2(stage.http).await?;
    let mut jar = Jar::default();
    let first = client.get_as(&mut jar, HOST, PATH).await?;
    let token = jar.line();
    let others: Vec<String> = (0..80).map(|number| format!("c{number}={number}")).collect();
    let few = ["a=1".to_owned(), "b=2".to_owned()];
    for crumbs in [&few[..], &others] {
        for at in [0, crumbs.len() / 2, crumbs.len()] {
            let mut fields: Vec<(&str, &[u8])> =
                crumbs.iter().map(|crumb| ("cookie", crumb.as_bytes())).collect();
            fields.insert(at, ("cookie", token.as_bytes()));
            let answer = client.get_with(HOST, PATH, &fields).await?;
            let case = format!("at {at} of {}", crumbs.len());
            ensure!(answer.status == 200 && answer.set_cookies().is_empty(), "{case}: {answer:?}");
            let task = "x-upstream-addr";
            ensure!(answer.header(task) == first.header(task), "{case}: {answer:?}");
            let seen: Vec<(String, String)> = serde_json::from_slice(&answer.body)?;
            let cookies: Vec<_> = seen.into_iter().filter(|(name, _)| name == "cookie").collect();
            let expected = [("cookie".to_owned(), crumbs.join("; "))];
            ensure!(cookies == expected, "{case}: the task saw {cookies:?}");
        }
    }
    // A token that is cut in two is none.
    let (left, right) = token.split_at(token.len() / 2);
    let halves: [(&str, &[u8]); 2] = [("cookie", left.as_bytes()), ("cookie", right.as_bytes())];
    let answer = client.get_with(HOST, PATH, &halves).await?;
    ensure!(answer.status == 200 && answer.set_cookies().len() == 1, "{answer:?}");
    // Envoy refuses more fields than it is told to take, on this request alone.
    let flood: Vec<(&str, &[u8])> = vec![("cookie", token.as_bytes()); 1_000];
    if let Ok(answer) = client.get_with(HOST, PATH, &flood).await {
        ensure!(answer.status == 200 || answer.status == 431, "{answer:?}");
    }
    let answer = client.get_as(&mut jar, HOST, PATH).await?;
    ensure!(answer.status == 200 && answer.set_cookies().is_empty(), "{answer:?}");
    ensure!(stage.envoy.vm_reloads()? == 0, "a VM was made anew");
    Ok(())
}

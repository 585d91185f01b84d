//! Sticky sessions, and cookies of all kinds.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use waggle_tests::client::{Answer, Jar};
use waggle_tests::controller::problem_codes;

use crate::modes::{routed, routed_by_vip};
use crate::world::{World, on_stack, wait};

const HOST: &str = "sticky.local";
const STICKY: &str = "--label com.docker.lb.sticky_session_cookie=session";

/// A client, and the instance that it is pinned to.
struct Session {
    jar: Jar,
    instance: String,
}

impl Session {
    /// A first request without cookies: its answer sets the application's cookie and the pin.
    fn start(world: &World) -> Result<Self> {
        let mut jar = Jar::default();
        let answer = world.get_as(&mut jar, HOST, "/ping")?;
        for cookie in ["session", "session_lb"] {
            ensure!(jar.get(cookie).is_some(), "no {cookie} is set by {answer:?}");
        }
        Ok(Self { jar, instance: answer.instance()? })
    }

    /// One more request; fails unless the same instance answers.
    fn goes_on(&mut self, world: &World) -> Result<()> {
        let sent = self.jar.line();
        let answer = world.get_as(&mut self.jar, HOST, "/ping")?;
        let instance = answer.instance()?;
        ensure!(instance == self.instance, "{} before; sent `{sent}`: {answer:?}", self.instance);
        Ok(())
    }
}

#[test]
fn a_session_stays_on_the_task_that_issued_it_until_that_is_removed() -> Result<()> {
    on_stack(|world| {
        world.create("sticky", 4, &format!("{} {STICKY}", routed(HOST)))?;
        let mut sessions = Vec::new();
        for _ in 0..20 {
            sessions.push(Session::start(world)?);
        }
        let used: BTreeSet<&str> = sessions.iter().map(|it| it.instance.as_str()).collect();
        ensure!(used.len() > 1, "20 clients on {used:?}");
        for request in 0..50 {
            for (client, session) in sessions.iter_mut().enumerate() {
                let what = || format!("client {client}, request {request}");
                session.goes_on(world).with_context(what)?;
            }
        }

        let gone = sessions[0].instance.clone();
        world.docker(&format!("rm --force {gone}"))?;
        for (client, session) in sessions.iter_mut().enumerate() {
            let what = || format!("client {client} after {gone} was removed");
            if session.instance == gone {
                let pin = session.jar.get("session_lb").map(ToOwned::to_owned);
                let answer = world.get_as(&mut session.jar, HOST, "/ping").with_context(what)?;
                session.instance = answer.instance()?;
                ensure!(session.instance != gone, "{}: {answer:?}", what());
                let anew = session.jar.get("session_lb") != pin.as_deref();
                ensure!(anew, "{} has no new pin: {answer:?}", what());
            }
            for _ in 0..10 {
                session.goes_on(world).with_context(what)?;
            }
        }
        Ok(())
    })
}

#[test]
fn stickiness_in_vip_mode_is_told_and_the_service_routed() -> Result<()> {
    on_stack(|world| {
        world.create("sticky", 4, &format!("{} {STICKY}", routed_by_vip(HOST)))?;
        let status = world.status()?;
        ensure!(problem_codes(&status, "sticky") == ["sticky-with-vip"], "{status:#}");
        let vip = world.vip("sticky", "waggle-apps")?.to_string();
        let (mut jar, mut seen) = (Jar::default(), BTreeSet::new());
        wait("another task answers the same client", || {
            let answer = world.get_as(&mut jar, HOST, "/ping")?;
            ensure!(answer.header("x-upstream-addr") == vip, "not {vip}: {answer:?}");
            ensure!(jar.get("session_lb").is_none(), "{answer:?}");
            seen.insert(answer.instance()?);
            Ok((seen.len() > 1).then_some(()))
        })
    })
}

#[test]
fn no_cookie_harms_the_filter_or_reaches_the_task_wrongly() -> Result<()> {
    on_stack(|world| {
        world.create("sticky", 4, &format!("{} {STICKY}", routed(HOST)))?;
        world.create("other", 1, &format!("{} {STICKY}", routed("other.local")))?;
        let session = Session::start(world)?;
        let pin = session.jar.get("session_lb").context("a pin")?;
        let mut jar = Jar::default();
        world.get_as(&mut jar, "other.local", "/ping")?;
        let of_another = format!("session_lb={}", jar.get("session_lb").context("a pin")?);
        let forged = format!("session_lb={}x", pin.get(..pin.len() - 1).unwrap_or_default());
        let pinned = format!("b=2; session_lb={pin}; c=3");
        let large = format!("a={}", "x".repeat(60 * 1024));
        let cookies: [(&str, &[&[u8]], u16); 7] = [
            ("bytes that are no text", &[b"session=\xff\xfe; session_lb=\xff; \xff=\xff"], 200),
            ("two lines", &[b"a=1", b"session_lb=zzz; b=2"], 200),
            ("a forged token", &[forged.as_bytes()], 200),
            ("a token of another service", &[of_another.as_bytes()], 200),
            ("broken pairs", &[b";;;= ; session_lb=; session_lb"], 200),
            ("a pin in the second line", &[b"a=\xff", pinned.as_bytes()], 200),
            ("60 KiB", &[large.as_bytes()], 431),
        ];
        for (what, lines, status) in cookies {
            let headers: Vec<(&str, &[u8])> = lines.iter().map(|line| ("cookie", *line)).collect();
            for path in ["/headers", "/ping"] {
                let answer = world.get_with(HOST, path, &headers).context(what)?;
                ensure!(answer.status == status, "{what}, {path}: {answer:?}");
                let seen = String::from_utf8_lossy(&answer.body);
                ensure!(!seen.contains("session_lb="), "{what}: the task saw {seen}");
            }
        }

        let lines: [(&str, &[u8]); 2] = [("cookie", b"a=\xff"), ("cookie", pinned.as_bytes())];
        let answer = world.get_with(HOST, "/ping", &lines)?;
        ensure!(answer.instance()? == session.instance, "not pinned: {answer:?}");
        let seen = cookie_lines(&world.get_with(HOST, "/headers", &lines)?)?;
        ensure!(seen == [r"a=\xff", "b=2; c=3"], "the task saw {seen:?}");

        let stats = world.stats()?;
        for stat in ["wasm.waggle.vm_reload", "wasm.waggle.vm_reload_backoff"] {
            ensure!(stats.get(stat) == Some(&0), "{stat} is {:?}", stats.get(stat));
        }
        Ok(())
    })
}

/// The `Cookie` lines that a task saw, by its `/headers`.
fn cookie_lines(answer: &Answer) -> Result<Vec<String>> {
    let pairs: Vec<(String, String)> = serde_json::from_value(answer.json()?)?;
    Ok(pairs.into_iter().filter(|(name, _)| name == "cookie").map(|(_, value)| value).collect())
}

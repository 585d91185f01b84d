//! Debug headers: on every answer, and nobody else's.

use anyhow::{Result, ensure};
use waggle_tests::client::Answer;

use crate::modes::routed;
use crate::world::{address, on_stack};

/// The debug headers that every answer has.
pub(crate) const OF_EVERY_ANSWER: [&str; 3] = ["x-request-id", "x-proxy-id", "x-server-info"];
/// Those of an answer that an endpoint gave, or was tried for.
pub(crate) const OF_THE_TASK: [&str; 2] = ["x-upstream-addr", "x-upstream-response-time"];

/// Fails unless an answer has each header once, with a value.
pub(crate) fn has(answer: &Answer, names: &[&str]) -> Result<()> {
    for name in names {
        let values: Vec<_> = answer.headers.get_all(*name).iter().collect();
        ensure!(values.len() == 1 && !values[0].is_empty(), "{name}: {values:?} in {answer:?}");
    }
    Ok(())
}

#[test]
fn every_answer_says_who_gave_it_and_forged_headers_get_through_in_neither_direction() -> Result<()>
{
    on_stack(|world| {
        let tasks = world.create("app", 1, &routed("app.local"))?;
        let task = address(&tasks[0])?.to_string();
        let proxy = &world.container("waggle_envoy")?[..12];
        for (path, status) in
            [("/ping", 200), ("/elsewhere", 200), ("/status/404", 404), ("/status/500", 500)]
        {
            let answer = world.get("app.local", path)?;
            ensure!(answer.status == status, "{path}: {answer:?}");
            has(&answer, &OF_EVERY_ANSWER)?;
            has(&answer, &OF_THE_TASK)?;
            ensure!(answer.header("x-upstream-addr") == task, "not {task}: {answer:?}");
            ensure!(answer.header("x-proxy-id") == proxy, "not {proxy}: {answer:?}");
            ensure!(answer.header("x-server-info").starts_with("waggle/"), "{answer:?}");
            let seconds: f64 = answer.header("x-upstream-response-time").parse()?;
            ensure!((0.0..5.0).contains(&seconds), "{answer:?}");
        }

        let nobody = world.get("nobody.local", "/")?;
        ensure!(nobody.status == 503, "{nobody:?}");
        has(&nobody, &OF_EVERY_ANSWER)?;
        ensure!(OF_THE_TASK.iter().all(|name| nobody.header(name).is_empty()), "{nobody:?}");

        let forged: Vec<(&str, &[u8])> = OF_EVERY_ANSWER[1..]
            .iter()
            .chain(&OF_THE_TASK)
            .chain(&["x-waggle-endpoint"])
            .map(|name| (*name, b"forged".as_slice()))
            .collect();
        let seen = world.get_with("app.local", "/headers", &forged)?;
        let seen = String::from_utf8_lossy(&seen.body);
        ensure!(!seen.contains("forged"), "sent {forged:?}, the task saw {seen}");
        for answer in [
            world.get_with("app.local", "/ping", &forged)?,
            world.get_with("nobody.local", "/ping", &forged)?,
            world.get("app.local", "/forge")?,
        ] {
            let is_forged = |value: &[u8]| value.starts_with(b"forged");
            ensure!(!answer.headers.values().any(|it| is_forged(it.as_bytes())), "{answer:?}");
            has(&answer, &OF_EVERY_ANSWER)?;
        }

        // A port that nobody listens on: Envoy tried the task, and says so.
        world.docker("service update --detach --label-add com.docker.lb.port=81 app")?;
        world.wait_read()?;
        world.wait_told()?;
        let closed = world.get("app.local", "/ping")?;
        let tried = task.replace(":8080", ":81");
        ensure!(closed.status == 503, "{closed:?}");
        ensure!(closed.header("x-upstream-addr") == tried, "not {tried}: {closed:?}");
        has(&closed, &OF_EVERY_ANSWER)
    })
}

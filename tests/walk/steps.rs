//! The steps of the walk, each with what it claims.

use anyhow::Result;
use serde_json::Value;
use waggle_tests::controller;

use super::command::{Docker, Service};
use super::page;
use super::sessions::{Session, Sessions};
use super::walk::{By, Walk};

/// One step after the other, to the first that cannot be gone.
pub(crate) async fn all(walk: &mut Walk) -> Result<()> {
    task_mode(walk).await?;
    vip_mode(walk).await?;
    side_by_side(walk)?;
    default_host(walk).await?;
    canary(walk).await?;
    sticky_sessions(walk).await?;
    tasks_that_leave(walk).await?;
    bad_label(walk).await
}

async fn task_mode(walk: &mut Walk) -> Result<()> {
    walk.page.step(
        "Two labels route a service",
        "Each running task is an endpoint of Envoy, and gets its even share of the requests. That \
         is task mode, the default. Every response tells by its x- headers who gave it.",
    );
    walk.docker(Docker::Create(Service::new("web", "web.local", 4))).await?;
    let answer = walk.curl("-i", "web.local", &["x-", "set-cookie"])?;
    let tasks = walk.world.tasks("web")?;
    let is_task = |address: &&str| tasks.iter().any(|task| task.address.to_string() == *address);
    let address = answer.header("x-upstream-addr");
    walk.claim("x-upstream-addr is the address of one of the four tasks", address, is_task);
    let missing: Vec<&str> = DEBUG.into_iter().filter(|it| answer.header(it).is_empty()).collect();
    walk.claim("all five debug headers are there", missing, Vec::is_empty);
    let told = answer.json()?["request_id"].as_str().map(ToOwned::to_owned);
    let same = answer.header("x-request-id");
    walk.claim("the task received the same request ID", told, |told| told.as_deref() == Some(same));
    let counted = walk.ask("web.local", 400, By::Endpoint).await?;
    walk.claim("each task answered 25 % ± 5 of them", counted, |counted| {
        counted.len() == 4 && counted.values().all(|count| (80..=120).contains(count))
    });
    Ok(())
}

/// The one header that most steps are about.
const UPSTREAM: &[&str] = &["x-upstream-addr"];
/// The headers that every response of a task carries.
const DEBUG: [&str; 5] =
    ["x-request-id", "x-proxy-id", "x-server-info", "x-upstream-addr", "x-upstream-response-time"];

async fn vip_mode(walk: &mut Walk) -> Result<()> {
    walk.page.step(
        "The virtual IP, where that is wanted",
        "With backend_mode=vip Envoy sends to the service's virtual IP, and Swarm spreads the \
         connections over the tasks. What the tasks do is then no business of Envoy's.",
    );
    let service = Service::new("vip", "vip.local", 4).label("backend_mode", "vip");
    walk.docker(Docker::Create(service)).await?;
    let vip = walk.inspect_vip("vip")?;
    let answer = walk.curl("-i", "vip.local", UPSTREAM)?;
    let address = answer.header("x-upstream-addr");
    walk.claim("x-upstream-addr is the virtual IP", address, |it| *it == vip.to_string());
    let counted = walk.ask("vip.local", 400, By::Instance).await?;
    walk.claim("all four tasks are reached, none by more than 45 %", counted, |counted| {
        counted.len() == 4 && counted.values().all(|count| *count <= 180)
    });
    let before = walk.told()?;
    walk.docker(Docker::Scale("vip", 2)).await?;
    let after = walk.told()?;
    walk.claim("of two tasks that left, Envoy was told nothing", after, |after| *after == before);
    walk.world.ended("vip").await
}

fn side_by_side(walk: &mut Walk) -> Result<()> {
    walk.page.step(
        "A mode for each service",
        "Both services stay as they are, side by side behind one Envoy: web by its tasks, vip by its \
         virtual IP. The controller's status says which is which.",
    );
    for (service, host, mode) in [("web", "web.local", "task"), ("vip", "vip.local", "vip")] {
        let answer = walk.curl("-i", host, UPSTREAM)?;
        let part = controller::service(&walk.world.status()?, service).cloned();
        let part = part.unwrap_or_default();
        walk.claim(&format!("{service} is in {mode} mode"), &part["mode"], |found| *found == mode);
        let endpoints = part["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
        walk.claim(
            "and answers from what its status shows",
            answer.header("x-upstream-addr"),
            |it| endpoints.iter().any(|endpoint| endpoint["address"] == *it),
        );
    }
    Ok(())
}

async fn default_host(walk: &mut Walk) -> Result<()> {
    walk.page.step(
        "A default host",
        "A host that no service claims gets 503, until a service offers to answer for all of them.",
    );
    let answer = walk.curl("-i", "nobody.local", UPSTREAM)?;
    walk.claim("nobody answers", answer.status.as_u16(), |status| *status == 503);
    let labels = vec![("default_backend", "true"), ("port", "8080")];
    walk.docker(Docker::Create(Service { name: "fallback", replicas: 1, labels })).await?;
    let answer = walk.curl("-i", "nobody.local", UPSTREAM)?;
    let service = answer.json()?["metadata"].clone();
    walk.claim("the default service answers", service, |service| service == "fallback");
    Ok(())
}

async fn canary(walk: &mut Walk) -> Result<()> {
    walk.page.step(
        "A canary",
        "Services on one host share its requests, by the number of their tasks: one new task beside \
         four old ones gets 20 %.",
    );
    for (name, replicas) in [("stable", 4), ("canary", 1)] {
        walk.docker(Docker::Create(Service::new(name, "canary.local", replicas))).await?;
    }
    let counted = walk.ask("canary.local", 1000, By::Service).await?;
    walk.claim("the canary answered 20 % ± 4", counted.get("canary").copied(), |count| {
        count.is_some_and(|count| (160..=240).contains(&count))
    });
    Ok(())
}

async fn sticky_sessions(walk: &mut Walk) -> Result<()> {
    walk.page.step(
        "Sticky sessions",
        "The application has a cookie, session. Beside it Waggle sets its own, session_lb: an \
         encrypted token that names the task, so that the session stays where it began.",
    );
    let service = Service::new("sticky", "sticky.local", 5);
    let service = service.label("sticky_session_cookie", "session");
    walk.docker(Docker::Create(service)).await?;
    let jar = "-i -c cookies.txt -b cookies.txt";
    let first = walk.curl(jar, "sticky.local", &["x-upstream-addr", "set-cookie"])?;
    let cookies: Vec<String> = first.set_cookies().into_iter().map(ToOwned::to_owned).collect();
    walk.claim("the first answer sets both cookies", cookies, |cookies| {
        let has = |start| cookies.iter().any(|cookie| cookie.starts_with(start));
        has("session=") && has("session_lb=")
    });
    let second = walk.curl(jar, "sticky.local", &["x-upstream-addr", "set-cookie"])?;
    let stays = |instance: &String| first.instance().is_ok_and(|first| first == *instance);
    walk.claim("the same task answers again", second.instance()?, stays);

    let counted = walk.ask("sticky.local", 400, By::Instance).await?;
    walk.claim("clients without cookies reach all five", counted, |counted| counted.len() == 5);
    Ok(())
}

async fn tasks_that_leave(walk: &mut Walk) -> Result<()> {
    walk.page.step(
        "Tasks leave while requests flow",
        "Twenty clients with sessions ask without pause. Two of the five tasks are told to stop: \
         they leave the pool at once, and Swarm signals them two seconds later.",
    );
    let sessions = Sessions::begin(&walk.client, "sticky.local", 20).await?;
    walk.docker(Docker::Scale("sticky", 3)).await?;
    walk.world.ended("sticky").await?;
    sessions.go_on(500).await?;
    let (answered, sessions) = sessions.end().await;

    let left = walk.world.tasks("sticky")?;
    let stays = |session: &&Session| {
        session.tasks.first().is_some_and(|first| left.iter().any(|task| task.instance == *first))
    };
    let (stayed, moved): (Vec<&Session>, Vec<&Session>) = sessions.iter().partition(stays);
    walk.page.text(&format!(
        "{answered} requests. The tasks of {} clients stayed, those of {} left.",
        stayed.len(),
        moved.len(),
    ));
    let failed: Vec<&String> = sessions.iter().flat_map(|session| &session.failed).collect();
    walk.claim("0 requests failed", failed, Vec::is_empty);
    let lengths = |sessions: &[&Session]| -> Vec<usize> {
        sessions.iter().map(|session| session.tasks.len()).collect()
    };
    walk.claim("clients whose task stayed did not move", lengths(&stayed), |tasks| {
        !tasks.is_empty() && tasks.iter().all(|tasks| *tasks == 1)
    });
    walk.claim("the others moved once, and stay with their new task", lengths(&moved), |tasks| {
        !tasks.is_empty() && tasks.iter().all(|tasks| *tasks == 2)
    });
    Ok(())
}

async fn bad_label(walk: &mut Walk) -> Result<()> {
    walk.page.step(
        "A bad label is told, with its fix",
        "Here is a typo. It harms no other service; the controller's log and status say what is \
         wrong and how to mend it.",
    );
    let labels = vec![("hosts", "typo.local"), ("prot", "8080")];
    walk.docker(Docker::Create(Service { name: "typo", replicas: 1, labels })).await?;
    let part = walk.look_up("typo")?;
    page::field("standing", part["standing"].as_str().unwrap_or_default());
    let problems = part["problems"].as_array().cloned().unwrap_or_default();
    for problem in &problems {
        show(problem);
    }
    let codes: Vec<&str> = problems.iter().filter_map(|problem| problem["code"].as_str()).collect();
    walk.claim("both mistakes are told", codes, |codes| {
        codes.contains(&"unknown-label") && codes.contains(&"missing-port")
    });
    walk.claim("each with a fix", &problems, |problems| {
        problems.iter().all(|problem| problem["fix"].is_string())
    });
    let add = vec![("port", "8080")];
    walk.docker(Docker::Relabel { service: "typo", add, remove: vec!["prot"] }).await?;
    let answer = walk.curl("-i", "typo.local", UPSTREAM)?;
    walk.claim("mended, it is routed", answer.status.as_u16(), |status| *status == 200);
    Ok(())
}

/// What a user needs of a problem.
fn show(problem: &Value) {
    for name in ["code", "label", "message", "fix"] {
        match &problem[name] {
            Value::String(text) => page::field(name, text),
            Value::Null => {}
            other => page::field(name, &other.to_string()),
        }
    }
}

//! The Swarm source against the simulated engine: what it tells, and what it does not fall for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use waggle_controller::swarm::{
    Freshness, Picture, Scale, Secrets, Service, Settings, TaskState, Update,
};
use waggle_tests::engine::{self, Engine, Fault, Moment, State};
use waggle_tests::source::{Source, running, settings};

/// The only service of a picture.
fn only(picture: &Picture) -> Result<&Service> {
    ensure!(picture.services.len() == 1, "not one service: {picture:#?}");
    picture.services.values().next().context("a service")
}

fn ids(tasks: &[engine::Task]) -> BTreeSet<String> {
    tasks.iter().map(|task| task.id.clone()).collect()
}

fn seen(picture: &Picture) -> BTreeSet<String> {
    picture.tasks.keys().map(ToString::to_string).collect()
}

fn in_docker_words(message: &str) -> Fault {
    Fault::Status(500, message.into())
}

#[tokio::test]
async fn the_names_of_secrets_are_read_when_an_event_tells_and_only_where_asked_for() -> Result<()>
{
    let engine = Engine::start().await?;
    let cert = engine.add_secret("cert");
    engine.service("demo").network("demo").secret("cert").create();
    let mut leaving = Source::start(settings(&engine.url(), Secrets::Leave)?, None);
    let picture = leaving.until("a service", |picture| picture.services.len() == 1).await?;
    leaving.cycles(3).await?;
    ensure!(picture.secrets.is_none() && engine.requests("/secrets") == 0, "{picture:#?}");

    let mut source = Source::of(&engine.url())?;
    let picture = source.until("a secret", |picture| picture.secrets.is_some()).await?;
    let mounted = only(&picture)?.secrets.clone();
    ensure!(mounted.len() == 1 && mounted[0].target == "cert", "{mounted:#?}");
    ensure!(mounted[0].id.as_str() == cert, "{mounted:#?}");
    // The stream of events opens beside the first reads; what it may have missed is read again.
    source.cycles(3).await?;
    let reads = engine.requests("/secrets");
    source.cycles(5).await?;
    ensure!(engine.requests("/secrets") == reads, "read at each poll");
    engine.add_secret("key");
    let both = |picture: &Picture| picture.secrets.as_ref().is_some_and(|it| it.len() == 2);
    source.until("another secret", both).await?;
    engine.remove_secret("key");
    source.until("it is gone", |picture| !both(picture)).await?;
    Ok(())
}

#[tokio::test]
async fn a_service_arrives_with_its_labels_networks_vips_and_addresses() -> Result<()> {
    let engine = Engine::start().await?;
    let demo = engine
        .service("demo")
        .label("com.docker.lb.hosts", "demo.local")
        .container_label("com.docker.lb.port", "8080")
        .network("demo")
        .network_target("back")
        .publish(80)
        .env("PASSWORD=secret")
        .replicas(4)
        .create();
    let back = engine.add_network("back");
    let mut source = Source::of(&engine.url())?;
    let picture = source.until("four tasks", |picture| running(picture) == 4).await?;

    let service = only(&picture)?;
    assert_eq!(service.name.as_str(), "demo");
    let hosts = service.labels.get("com.docker.lb.hosts").map(String::as_str);
    assert_eq!(hosts, Some("demo.local"));
    let port = service.misplaced_labels.get("com.docker.lb.port").map(String::as_str);
    assert_eq!(port, Some("8080"));
    assert_eq!((service.scale, service.update), (Scale::Replicated(4), Update::Idle));
    let names: Vec<_> = service.networks.iter().map(|id| &picture.networks[id].name).collect();
    assert_eq!(names, ["demo", "back"], "in the order of the service, ingress left out");
    assert_eq!(service.networks[1].as_str(), back);
    assert_eq!(service.vips.get(&service.networks[0]).copied(), demo.vip("demo"));

    let addresses: BTreeSet<_> = picture
        .tasks
        .values()
        .filter_map(|task| task.addresses.get(&service.networks[0]))
        .collect();
    let expected: Vec<_> = demo.tasks().iter().map(engine::Task::address).collect();
    assert_eq!(addresses, expected.iter().collect());
    let nodes: Vec<_> = picture.nodes.values().map(|node| node.hostname.as_str()).collect();
    assert_eq!(nodes, ["node-1"]);
    assert!(!format!("{picture:?}").contains("PASSWORD"));
    Ok(())
}

#[tokio::test]
async fn a_task_told_to_stop_leaves_while_it_still_says_running() -> Result<()> {
    let engine = Engine::start().await?;
    let demo = engine.service("demo").network("demo").replicas(2).create();
    let mut source = Source::of(&engine.url())?;
    source.until("two tasks", |picture| running(picture) == 2).await?;

    let told = Instant::now();
    demo.tasks()[0].stop();
    let picture = source.until("one task", |picture| running(picture) == 1).await?;
    assert!(told.elapsed() < Duration::from_millis(1500), "{:?}", told.elapsed());
    assert_eq!(seen(&picture), ids(&demo.tasks()));
    Ok(())
}

#[tokio::test]
async fn a_rolling_update_shows_at_each_step() -> Result<()> {
    for start_first in [true, false] {
        let engine = Engine::start().await?;
        let demo = engine.service("demo").network("demo").replicas(2);
        let demo = if start_first { demo.start_first().create() } else { demo.create() };
        let mut source = Source::of(&engine.url())?;
        source.until("two tasks", |picture| running(picture) == 2).await?;
        for moment in demo.set_image("demo:2") {
            let expected = ids(&demo.tasks());
            let (id, state) = match moment {
                Moment::Prepared(task) => (task.id, Some(TaskState::Waiting)),
                Moment::Running(task) => (task.id, Some(TaskState::Running)),
                Moment::Stopping(task) | Moment::Gone(task) => (task.id, None),
            };
            let picture = source
                .until("the step", |picture| {
                    let task = picture.tasks.values().find(|task| task.id.as_str() == id);
                    seen(picture) == expected && task.map(|task| task.state) == state
                })
                .await?;
            assert_eq!(only(&picture)?.update, Update::Rolling);
        }
        source
            .until("the end", |it| it.services.values().all(|it| it.update == Update::Idle))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn networks_nodes_and_removals_arrive() -> Result<()> {
    let engine = Engine::start().await?;
    let demo = engine.service("demo").network("demo").global().create();
    let mut source = Source::of(&engine.url())?;
    source.until("one task", |picture| running(picture) == 1).await?;

    engine.add_node("node-2");
    source
        .until("a second node with its task", |it| it.nodes.len() == 2 && running(it) == 2)
        .await?;
    engine.lose_node("node-2");
    source.until("the lost node's task is gone", |it| running(it) == 1).await?;

    demo.add_network("extra").finish();
    let picture = source
        .until("a second network and VIP", |it| {
            it.services.values().all(|it| it.networks.len() == 2 && it.vips.len() == 2)
        })
        .await?;
    assert!(picture.networks.values().any(|network| network.name == "extra"));
    demo.remove_network("extra").finish();
    engine.remove_network("extra");
    source
        .until("one network again", |it| {
            it.services.values().all(|it| it.networks.len() == 1 && it.vips.len() == 1)
                && it.networks.values().all(|network| network.name != "extra")
        })
        .await?;

    demo.remove();
    source
        .until("no service and no task", |it| it.services.is_empty() && it.tasks.is_empty())
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_stays_the_same_is_told_once() -> Result<()> {
    let engine = Engine::start().await?;
    engine.service("demo").network("demo").create();
    let mut source = Source::of(&engine.url())?;
    source.until("one task", |picture| running(picture) == 1).await?;
    source.cycles(1).await?;
    source.forget_news();
    let networks_read = engine.requests("/networks");
    source.cycles(3).await?;
    assert!(!source.told_anew());
    assert_eq!(engine.requests("/networks"), networks_read, "networks are read by event only");
    Ok(())
}

#[tokio::test]
async fn a_cycle_with_any_failed_call_is_thrown_away_whole() -> Result<()> {
    for path in ["/services", "/tasks"] {
        for fault in [in_docker_words("rpc error"), Fault::CutBody, Fault::Hang] {
            let engine = Engine::start().await?;
            let demo = engine.service("demo").network("demo").replicas(2).create();
            let mut source = Source::of(&engine.url())?;
            source.until("two tasks", |picture| running(picture) == 2).await?;
            source.cycles(1).await?;
            source.forget_news();

            engine.fault(path, fault.clone(), usize::MAX);
            demo.scale(3);
            demo.set_label("com.docker.lb.hosts", "new.local");
            let health = source.until_health("a failure", |it| it.failing.is_some()).await?;
            let told = health.failing.unwrap_or_default();
            let expected = match fault {
                Fault::CutBody => "unreadable answer",
                Fault::Hang => "no complete answer within 1s",
                _ => "500 (rpc error)",
            };
            let at = format!("GET {path} at {}: {expected}", engine.url());
            assert!(told.starts_with(&at), "{told:?} does not begin with {at:?}");
            source.until_health("two failures more", |it| it.failed_cycles > 2).await?;
            assert!(!source.told_anew(), "{path} {fault:?}: {:#?}", source.observed);

            engine.clear_faults();
            source.until("three tasks", |picture| running(picture) == 3).await?;
            source.until_health("no failure", |it| it.failing.is_none()).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_read_that_hangs_though_docker_answers_again_is_made_anew() -> Result<()> {
    for path in ["/services", "/tasks", "/nodes"] {
        let engine = Engine::start().await?;
        let demo = engine.service("demo").network("demo").replicas(2).create();
        let in_an_hour = Duration::from_hours(1);
        let patient = Settings { timeout: in_an_hour, ..settings(&engine.url(), Secrets::Read)? };
        let mut source = Source::start(patient, None);
        source.until("two tasks", |picture| running(picture) == 2).await?;
        source.cycles(1).await?;

        engine.fault(path, Fault::Hang, 1);
        demo.scale(3);
        // Of a node that is as it was: it is asked for, and nothing new but the task is found.
        engine.send_event(json!({"Type": "node", "Action": "update", "scope": "swarm"}));
        source.until("three tasks", |picture| running(picture) == 3).await?;
        let health = source.health.borrow().clone();
        assert_eq!(health.failed_cycles, 0, "{path}: nothing failed: {health:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_engine_that_is_away_changes_nothing_and_is_found_again() -> Result<()> {
    let engine = Engine::start().await?;
    let demo = engine.service("demo").network("demo").replicas(2).create();
    let mut source = Source::of(&engine.url())?;
    source.until("two tasks", |picture| running(picture) == 2).await?;
    source.cycles(1).await?;
    source.forget_news();

    engine.stop_listening();
    let health = source.until_health("a failure", |it| it.failed_cycles > 1).await?;
    let told = health.failing.unwrap_or_default();
    assert!(told.contains(&engine.url()) && told.contains("no such socket"), "{told}");
    demo.scale(1);
    assert!(!source.told_anew());

    engine.listen()?;
    source.until("one task", |picture| running(picture) == 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_read_without_any_service_is_believed_the_third_time() -> Result<()> {
    let engine = Engine::start().await?;
    let empty = engine.photo();
    let demo = engine.service("demo").network("demo").create();
    let mut source = Source::of(&engine.url())?;
    source.until("one task", |picture| running(picture) == 1).await?;
    source.forget_news();

    engine.fault("/services", Fault::Stale(empty), 2);
    source.until_health("a doubt", |it| it.doubt.is_some()).await?;
    source.until_health("no doubt", |it| it.doubt.is_none()).await?;
    assert!(!source.told_anew(), "two empty reads were believed");

    let before = source.health.borrow().complete_cycles;
    demo.remove();
    source.until("nothing", |picture| picture.services.is_empty()).await?;
    assert!(source.health.borrow().complete_cycles >= before + 3);
    Ok(())
}

#[tokio::test]
async fn a_stale_read_is_ignored_and_a_restored_swarm_believed() -> Result<()> {
    let engine = Engine::start().await?;
    let demo = engine.service("demo").network("demo").create();
    let old = engine.photo();
    demo.set_label("com.docker.lb.hosts", "new.local");
    let mut source = Source::of(&engine.url())?;
    let new = |picture: &Picture| picture.services.values().all(|it| !it.labels.is_empty());
    source.until("the new label", |picture| running(picture) == 1 && new(picture)).await?;
    source.forget_news();

    engine.fault("/services", Fault::Stale(old.clone()), 2);
    source.until_health("a doubt", |it| it.doubt.is_some()).await?;
    source.until_health("no doubt", |it| it.doubt.is_none()).await?;
    assert!(!source.told_anew(), "two stale reads were believed");

    engine.fault("/services", Fault::Stale(old), usize::MAX);
    source.until("the old labels", |picture| !new(picture)).await?;
    Ok(())
}

#[tokio::test]
async fn a_kept_picture_serves_until_docker_answers() -> Result<()> {
    let engine = Engine::start().await?;
    engine.service("demo").network("demo").create();
    let mut first = Source::of(&engine.url())?;
    let kept = first.until("one task", |picture| running(picture) == 1).await?;
    drop(first);
    engine.stop_listening();

    let mut source = Source::start(settings(&engine.url(), Secrets::Read)?, Some(kept.clone()));
    let freshness = |source: &Source| source.observed.borrow().as_ref().map(|it| it.freshness);
    assert_eq!(source.until("the kept picture", |_| true).await?, kept);
    source.until_health("a failure", |it| it.failing.is_some()).await?;
    assert_eq!(freshness(&source), Some(Freshness::Kept));

    engine.listen()?;
    source.until_health("a complete read", |it| it.complete_cycles > 0).await?;
    let read = source.until("the same picture", |_| true).await?;
    assert_eq!((&read, freshness(&source)), (&kept, Some(Freshness::Live)));
    let tasks = |picture: &Picture| -> Vec<_> {
        picture.tasks.iter_shared().map(|(_, task)| Arc::as_ptr(task)).collect()
    };
    assert_eq!(tasks(&read), tasks(&kept), "what is the same is held once");
    Ok(())
}

#[tokio::test]
async fn odd_objects_cost_only_themselves() -> Result<()> {
    let engine = Engine::start().await?;
    engine.service("demo").network("demo").create();
    engine.add_odd("/services", json!({"ID": "odd", "CreatedAt": "never"}));
    engine.add_odd("/services", json!(null));
    engine.add_odd("/tasks", json!({"Status": {"State": "of a later version"}}));
    let mut source = Source::of(&engine.url())?;
    let picture = source.until("one task", |picture| running(picture) == 1).await?;
    assert_eq!((only(&picture)?.name.as_str(), picture.tasks.len()), ("demo", 1));
    Ok(())
}

#[tokio::test]
async fn events_that_are_lost_odd_or_cut_off_delay_nothing_for_long() -> Result<()> {
    let engine = Engine::start().await?;
    let demo = engine.service("demo").network("demo").create();
    let mut source = Source::of(&engine.url())?;
    source.until("one task", |picture| running(picture) == 1).await?;

    engine.lose_events();
    demo.scale(2);
    source.until("two tasks, without an event", |picture| running(picture) == 2).await?;
    demo.add_network("unheard").finish();
    source
        .until("an unheard network", |it| it.networks.values().any(|it| it.name == "unheard"))
        .await?;

    engine.add_node("unheard");
    engine.end_event_streams();
    source.until("the node, after subscribing again", |it| it.nodes.len() == 2).await?;

    engine.send_events();
    engine.send_event(json!({"Type": "of a later version", "Action": "x"}));
    engine.send_event(json!("odd"));
    engine.add_node("heard");
    source.until("the third node", |it| it.nodes.len() == 3).await?;
    Ok(())
}

#[tokio::test]
async fn an_event_wakes_a_calm_source() -> Result<()> {
    let engine = Engine::start().await?;
    let mut source = Source::of(&engine.url())?;
    source.until("the empty Swarm", |_| true).await?;
    // Waits until the first subscription's own wake-up is over.
    source.cycles(3).await?;
    let mut delays = Vec::new();
    for number in 0..10 {
        let created = Instant::now();
        engine.service(&format!("demo-{number}")).create();
        source.until("the service", |it| it.services.len() == number + 1).await?;
        delays.push(created.elapsed());
    }
    // Each began just after a read: by polling alone, none would come before a quarter of a second.
    let quickest = delays.iter().min().copied().unwrap_or_default();
    assert!(quickest < Duration::from_millis(150), "{delays:?}");
    Ok(())
}

#[tokio::test]
async fn events_that_a_socket_proxy_refuses_leave_polling() -> Result<()> {
    let engine = Engine::start().await?;
    engine.fault("/events", Fault::Status(403, "Forbidden".into()), usize::MAX);
    let demo = engine.service("demo").network("demo").create();
    let mut source = Source::of(&engine.url())?;
    source.until("one task", |picture| running(picture) == 1).await?;
    demo.scale(2);
    source.until("two tasks", |picture| running(picture) == 2).await?;
    Ok(())
}

#[tokio::test]
async fn every_call_names_a_version_that_the_engine_accepts() -> Result<()> {
    for (from, to, agreed) in
        [((1, 12), (1, 41), "1.41"), ((1, 44), (1, 51), "1.51"), ((1, 98), (1, 99), "1.98")]
    {
        let engine = Engine::speaking(from, to).await?;
        engine.service("demo").network("demo").create();
        let mut source = Source::of(&engine.url())?;
        source.until("one task", |picture| running(picture) == 1).await?;
        let health = source.until_health("a version", |it| it.api_version.is_some()).await?;
        assert_eq!(health.api_version.as_deref(), Some(agreed));
        assert_eq!(engine.versions_asked(), [agreed.to_owned()].into());
        let unversioned = engine.requests_without_version();
        assert_eq!(unversioned, ["/version".to_owned()].into());
    }
    Ok(())
}

#[tokio::test]
async fn a_socket_proxy_on_tcp_serves_as_well() -> Result<()> {
    let engine = Engine::start().await?;
    let address = engine.listen_tcp().await?;
    engine.service("demo").network("demo").create();
    for scheme in ["tcp", "http"] {
        let mut source = Source::of(&format!("{scheme}://{address}"))?;
        source.until("one task", |picture| running(picture) == 1).await?;
        assert_eq!(source.health.borrow().source, format!("tcp://{address}"));
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_says_what_to_do() -> Result<()> {
    let worker =
        "This node is not a swarm manager. Worker nodes can't be used to view cluster state.";
    for (path, status, message, told) in [
        (
            "/version",
            403,
            "Forbidden",
            "GET /version at {url}: 403 (Forbidden); the socket proxy must allow GET on this path",
        ),
        (
            "/nodes",
            403,
            "Forbidden",
            "GET /nodes at {url}: 403 (Forbidden); the socket proxy must allow GET on this path",
        ),
        (
            "/networks",
            403,
            "Forbidden",
            "GET /networks at {url}: 403 (Forbidden); the socket proxy must allow GET on this path",
        ),
        (
            "/tasks",
            403,
            "Forbidden",
            "GET /tasks at {url}: 403 (Forbidden); the socket proxy must allow GET on this path",
        ),
        (
            "/services",
            503,
            worker,
            "GET /services at {url}: 503 (This node is not a swarm manager. Worker nodes can't be used to view cluster state.); point --docker at a Swarm manager",
        ),
    ] {
        let engine = Engine::start().await?;
        engine.fault(path, Fault::Status(status, message.into()), usize::MAX);
        let mut source = Source::of(&engine.url())?;
        let health = source.until_health("a failure", |it| it.failing.is_some()).await?;
        assert_eq!(health.failing, Some(told.replace("{url}", &engine.url())));
        assert_eq!(source.observed.borrow().as_ref(), None);
    }
    Ok(())
}

#[tokio::test]
async fn addresses_where_nobody_answers_are_told_apart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dead = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead)?);
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    for (url, told) in [
        (format!("unix://{}/none.sock", folder.path().display()), "no such socket"),
        (format!("unix://{}", dead.display()), "connection refused"),
        (format!("tcp://{free}"), "connection refused"),
    ] {
        let mut source = Source::of(&url)?;
        let health = source.until_health("a failure", |it| it.failing.is_some()).await?;
        let failing = health.failing.unwrap_or_default();
        assert!(failing.starts_with(&format!("GET /version at {url}: {told}")), "{failing}");
    }
    Ok(())
}

#[tokio::test]
async fn reads_are_quick_while_a_task_is_not_yet_running() -> Result<()> {
    let engine = Engine::start().await?;
    let demo = engine.service("demo").network("demo").begin_as(State::Preparing).create();
    engine.lose_events();
    let mut source = Source::of(&engine.url())?;
    source.until("a waiting task", |picture| picture.tasks.len() == 1).await?;
    let began = Instant::now();
    source.cycles(8).await?;
    // Eight calm cycles would take four seconds.
    assert!(began.elapsed() < Duration::from_millis(3200), "{:?}", began.elapsed());
    demo.tasks()[0].becomes(State::Running);
    source.until("a running task", |picture| running(picture) == 1).await?;
    Ok(())
}

#[tokio::test]
async fn the_engines_socket_goes_with_the_engine() -> Result<()> {
    let engine = Engine::start().await?;
    let socket = engine.socket().to_owned();
    assert!(socket.exists());
    drop(engine);
    assert!(!socket.parent().is_some_and(std::path::Path::exists));
    Ok(())
}

//! The watch of a simulated manager: what it tells, how fast, and what happens when it fails.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tonic::Status;
use waggle_controller::swarm::{Freshness, Picture, Secrets, Settings, Via};
use waggle_tests::authority::Authority;
use waggle_tests::controller::{Controller, endpoints};
use waggle_tests::engine::{ControlSocket, Engine, Fault, State, WatchFault};
use waggle_tests::source::{Source, agree, running, settings};

/// Far less than what polling takes when it comes at a bad moment.
const PUSHED: Duration = Duration::from_millis(150);

/// A manager with a control socket, and its authority.
async fn manager() -> Result<(Engine, Authority, ControlSocket)> {
    let engine = Engine::start().await?;
    let authority = Authority::new()?;
    engine.trust(&authority);
    let socket = engine.open_control(&authority.sign("swarm-manager")?).await?;
    Ok((engine, authority, socket))
}

/// A source that watches, once it does.
async fn watching(engine: &Engine) -> Result<Source> {
    let mut source = Source::watching(&engine.url(), &engine.control_path())?;
    source.until_via(Via::Pushed).await?;
    Ok(source)
}

/// Takes a step, and waits until both sources show what is expected, and the same.
async fn both(
    polled: &mut Source,
    pushed: &Source,
    claim: &str,
    step: impl FnOnce(),
    holds: impl Fn(&Picture) -> bool,
) -> Result<()> {
    step();
    agree(polled, pushed, claim, holds).await
}

#[tokio::test]
async fn both_sources_show_the_same_at_each_step() -> Result<()> {
    let (engine, _authority, _socket) = manager().await?;
    let mut polled = Source::of(&engine.url())?;
    let pushed = watching(&engine).await?;
    let (one, other) = (&mut polled, &pushed);
    let mut demo = None;
    let create = || {
        let demo = engine.service("demo").label("com.docker.lb.hosts", "demo.local");
        let demo = demo.container_label("com.docker.lb.port", "8080").network("front");
        demo.secret("cert").publish(80).env("PASSWORD=hunter2").replicas(3).create()
    };
    both(one, other, "a service", || demo = Some(create()), |it| running(it) == 3).await?;
    let demo = demo.ok_or_else(|| anyhow::anyhow!("no service"))?;
    both(one, other, "scale up", || demo.scale(5), |it| running(it) == 5).await?;
    both(one, other, "scale down", || demo.scale(2), |it| running(it) == 2).await?;
    let label = || demo.set_label("com.docker.lb.path", "/app");
    let labelled = |it: &Picture| it.services.values().any(|it| it.labels.len() == 2);
    both(one, other, "a label", label, labelled).await?;
    let two = |it: &Picture| it.services.values().any(|it| it.networks.len() == 2);
    both(one, other, "a network", || demo.add_network("back").finish(), two).await?;
    let take = || demo.remove_network("back").finish();
    both(one, other, "one network", take, |it| !two(it) && running(it) == 2).await?;
    let gone = |it: &Picture| it.networks.values().all(|it| it.name != "back");
    both(one, other, "no network", || engine.remove_network("back"), gone).await?;
    let waits = || demo.tasks()[0].becomes(State::Starting);
    both(one, other, "a task that waits", waits, |it| running(it) == 1).await?;
    let runs = || demo.tasks()[0].becomes(State::Running);
    both(one, other, "it runs", runs, |it| running(it) == 2).await?;
    let crash = || drop(demo.tasks()[0].crash());
    let before = demo.tasks()[0].id.clone();
    let replaced =
        |it: &Picture| running(it) == 2 && it.tasks.keys().all(|id| id.as_str() != before);
    both(one, other, "a crash", crash, replaced).await?;
    both(one, other, "a node", || engine.add_node("node-2"), |it| it.nodes.len() == 2).await?;
    let global = || drop(engine.service("all").network("front").dnsrr().global().create());
    both(one, other, "a task a node", global, |it| running(it) == 4).await?;
    let lose = || engine.lose_node("node-2");
    both(one, other, "a lost node", lose, |it| running(it) == 3).await?;
    let secret = || drop(engine.add_secret("key"));
    let both_secrets = |it: &Picture| it.secrets.as_ref().is_some_and(|it| it.len() == 2);
    both(one, other, "a secret", secret, both_secrets).await?;
    let removed = |it: &Picture| it.services.len() == 1 && running(it) == 1;
    both(one, other, "a removal", || demo.remove(), removed).await?;

    let kinds: Vec<_> = engine.kinds_watched().into_iter().collect();
    assert_eq!(kinds, ["network", "node", "service", "task"], "nothing that shows secrets");
    Ok(())
}

#[tokio::test]
async fn what_is_pushed_is_told_at_once_and_docker_is_left_alone() -> Result<()> {
    let (engine, _authority, _socket) = manager().await?;
    let demo = engine.service("demo").network("demo").create();
    let mut source = watching(&engine).await?;
    source.until("one task", |picture| running(picture) == 1).await?;
    let reads = engine.requests("/tasks");
    let mut delays = Vec::new();
    for round in 0..20 {
        let replicas = 1 + (round + 1) % 2;
        let told = Instant::now();
        demo.scale(replicas);
        source.until("the scale", |it| u64::try_from(running(it)) == Ok(replicas)).await?;
        delays.push(told.elapsed());
    }
    // Polling would need 125 ms on average.
    let median = {
        delays.sort();
        delays[delays.len() / 2]
    };
    ensure!(median < Duration::from_millis(100), "{delays:?}");
    ensure!(engine.requests("/tasks") <= reads + 2, "it went on polling");
    ensure!(source.observed.borrow().as_ref().is_some_and(|it| it.via == Via::Pushed));
    Ok(())
}

#[tokio::test]
async fn a_task_that_runs_after_a_rest_is_told_at_once() -> Result<()> {
    let (engine, _authority, _socket) = manager().await?;
    let demo = engine.service("demo").network("demo").create();
    let mut source = watching(&engine).await?;
    let mut delays = Vec::new();
    for replicas in 2..12 {
        // Longer than what follows an addition is gathered.
        tokio::time::sleep(Duration::from_millis(70)).await;
        let told = Instant::now();
        demo.scale(replicas);
        source.until("the scale", |it| u64::try_from(running(it)) == Ok(replicas)).await?;
        delays.push(told.elapsed());
    }
    delays.sort();
    // Half of them: a busy machine holds up some.
    ensure!(delays[delays.len() / 2] < Duration::from_millis(40), "{delays:?}");
    Ok(())
}

#[tokio::test]
async fn a_socket_that_goes_leaves_polling_and_is_found_again() -> Result<()> {
    let (engine, authority, socket) = manager().await?;
    let demo = engine.service("demo").network("demo").create();
    let mut source = watching(&engine).await?;
    drop(socket);
    let health = source.until_via(Via::Polled).await?;
    ensure!(health.watch_failures >= 1 && health.failing.is_none(), "{health:#?}");
    demo.scale(3);
    source.until("three tasks", |picture| running(picture) == 3).await?;
    let health = source
        .until_health("why", |it| {
            it.watch_failing.as_ref().is_some_and(|it| it.contains("no such socket"))
        })
        .await?;
    let path = engine.control_path().display().to_string();
    ensure!(health.watch_failing.is_some_and(|it| it.contains(&path)), "where");

    let _socket = engine.open_control(&authority.sign("swarm-manager")?).await?;
    let health = source.until_via(Via::Pushed).await?;
    ensure!(health.watch_failing.is_none(), "{health:#?}");
    demo.scale(4);
    source.until("four tasks", |picture| running(picture) == 4).await?;
    Ok(())
}

#[tokio::test]
async fn what_happens_while_a_watch_is_opened_again_is_not_missed() -> Result<()> {
    let (engine, _authority, _socket) = manager().await?;
    let demo = engine.service("demo").network("demo").create();
    let mut source = watching(&engine).await?;
    for round in 2..8 {
        engine.end_watches();
        demo.scale(round);
        source.until("the scale", |it| u64::try_from(running(it)) == Ok(round)).await?;
        source
            .until_health("another watch", |it| {
                it.via == Via::Pushed && it.watch_failures + 1 >= round
            })
            .await?;
    }
    ensure!(engine.watches_begun() >= 7, "{}", engine.watches_begun());
    Ok(())
}

#[tokio::test]
async fn a_manager_that_does_not_let_us_watch_leaves_polling_and_is_told() -> Result<()> {
    let (engine, authority, socket) = manager().await?;
    drop(socket);
    let demo = engine.service("demo").network("demo").create();
    let stranger = Authority::new()?;
    let good = authority.sign("swarm-manager")?;
    let compacted = Status::out_of_range("the log is compacted");
    let cases = [
        (stranger.sign("swarm-manager")?, None, "invalid peer certificate"),
        (authority.sign("swarm-worker")?, None, "invalid peer certificate"),
        (authority.sign_expired("swarm-manager")?, None, "invalid peer certificate"),
        (good.clone(), Some(WatchFault::Refused(compacted)), "the log is compacted"),
        (good.clone(), Some(WatchFault::Mute), "no watch within 1s"),
    ];
    for (round, (certificate, fault, told)) in cases.into_iter().enumerate() {
        let _socket = engine.open_control(&certificate).await?;
        engine.fault_watches(fault);
        let mut source = Source::watching(&engine.url(), &engine.control_path())?;
        let health = source.until_health("a failure", |it| it.watch_failing.is_some()).await?;
        let failing = health.watch_failing.unwrap_or_default();
        ensure!(failing.contains(told), "{failing:?} does not tell {told:?}");
        let replicas = round + 2;
        demo.scale(u64::try_from(replicas)?);
        source.until("the scale", |it| running(it) == replicas).await?;
        ensure!(source.health.borrow().via == Via::Polled, "{told}");
    }
    ensure!(engine.watches_begun() == 0, "somebody without the certificate was asked");

    engine.fault_watches(None);
    let _socket = engine.open_control(&good).await?;
    watching(&engine).await?;
    Ok(())
}

#[tokio::test]
async fn an_authority_that_was_replaced_is_read_again() -> Result<()> {
    let (engine, _old, socket) = manager().await?;
    let demo = engine.service("demo").network("demo").create();
    let mut source = watching(&engine).await?;
    let new = Authority::new()?;
    engine.trust(&new);
    drop(socket);
    let _socket = engine.open_control(&new.sign("swarm-manager")?).await?;
    source.until_health("the end of the old", |it| it.watch_failures > 0).await?;
    source.until_via(Via::Pushed).await?;
    demo.scale(2);
    source.until("two tasks", |picture| running(picture) == 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_found_out_and_trusted_again_when_it_speaks() -> Result<()> {
    let (engine, _authority, _socket) = manager().await?;
    let demo = engine.service("demo").network("demo").create();
    let mut source = watching(&engine).await?;
    engine.silence_watches();
    // Told by Docker's API alone: the net below the watch.
    demo.scale(2);
    source.until("two tasks", |picture| running(picture) == 2).await?;
    let silent = |it: &waggle_controller::swarm::Health| {
        it.watch_failing.as_ref().is_some_and(|it| it.contains("silent"))
    };
    source.until_health("the silence is told", silent).await?;
    // It is opened again, and silent again: reads go on as without it.
    for replicas in [3, 4] {
        let told = Instant::now();
        demo.scale(replicas);
        source.until("the scale", |it| u64::try_from(running(it)) == Ok(replicas)).await?;
        ensure!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
        ensure!(source.health.borrow().via == Via::Polled);
    }
    engine.unsilence_watches();
    let mut replicas = 4;
    while source.health.borrow().via == Via::Polled {
        replicas += 1;
        demo.scale(replicas);
        source.until("the scale", |it| u64::try_from(running(it)) == Ok(replicas)).await?;
        ensure!(replicas < 200, "never trusted again: {:#?}", source.health.borrow());
        source.cycles(1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_docker_api_that_is_away_leaves_the_watch_in_force_and_is_told() -> Result<()> {
    let (engine, _authority, _socket) = manager().await?;
    let demo = engine.service("demo").network("demo").replicas(2).create();
    let mut source = watching(&engine).await?;
    engine.stop_listening();
    // Its event stream is gone, and a secret is no object of the watch.
    source.until_health("a failure", |it| it.failing.is_some()).await?;
    let told = Instant::now();
    demo.tasks()[0].stop();
    source.until("one task", |picture| running(picture) == 1).await?;
    ensure!(told.elapsed() < PUSHED, "{:?}", told.elapsed());
    ensure!(source.health.borrow().via == Via::Pushed);
    engine.listen()?;
    source.until_health("no failure", |it| it.failing.is_none()).await?;
    ensure!(source.health.borrow().watch_failures == 0);
    Ok(())
}

#[tokio::test]
async fn a_doubtful_list_does_not_touch_what_the_watch_tells() -> Result<()> {
    let (engine, _authority, _socket) = manager().await?;
    let empty = engine.photo();
    let demo = engine.service("demo").network("demo").replicas(2).create();
    let mut source = watching(&engine).await?;
    engine.fault("/services", Fault::Stale(empty), 2);
    source.forget_news();
    // A secret's event is what has the lists read before their time.
    engine.add_secret("cert");
    source.until_health("a doubt", |it| it.doubt.is_some()).await?;
    let told = Instant::now();
    demo.tasks()[0].stop();
    let picture = source.until("one task", |picture| running(picture) == 1).await?;
    ensure!(told.elapsed() < PUSHED, "{:?}", told.elapsed());
    ensure!(picture.services.len() == 1, "{picture:#?}");
    source.until_health("no doubt", |it| it.doubt.is_none()).await?;
    ensure!(source.health.borrow().via == Via::Pushed);
    Ok(())
}

#[tokio::test]
async fn before_a_list_is_believed_nothing_that_the_watch_tells_is_passed_on() -> Result<()> {
    let (engine, _authority, _socket) = manager().await?;
    let empty = engine.photo();
    let demo = engine.service("demo").network("demo").create();
    let kept = Source::of(&engine.url())?.until("one task", |it| running(it) == 1).await?;
    engine.fault("/services", Fault::Stale(empty), 2);
    let settings =
        Settings { watch: Some(engine.control_path()), ..settings(&engine.url(), Secrets::Read)? };
    let mut source = Source::start(settings, Some(kept));
    source.until_health("a doubt", |it| it.doubt.is_some()).await?;
    demo.scale(3);
    let seen = source.observed.borrow().clone();
    let freshness = seen.map(|it| it.freshness);
    ensure!(freshness == Some(Freshness::Kept) || source.health.borrow().doubt.is_none());
    let picture = source.until("three tasks", |picture| running(picture) == 3).await?;
    ensure!(picture.services.len() == 1, "{picture:#?}");
    source.until_via(Via::Pushed).await?;
    Ok(())
}

#[tokio::test]
async fn the_controller_tells_by_which_way_changes_come() -> Result<()> {
    let (engine, authority, socket) = manager().await?;
    let demo = engine.service("demo").network("demo");
    let demo = demo.label("com.docker.lb.hosts", "a.local").label("com.docker.lb.port", "80");
    let demo = demo.create();
    let path = engine.control_path().display().to_string();
    let mut controller = Controller::start(&engine.url(), 80, &["--watch-socket", &path])?;
    let via = |expected: &'static str| {
        move |status: &serde_json::Value| status["swarm"]["changes"] == expected
    };
    controller.wait_status("a watch", via("pushed")).await?;
    demo.scale(2);
    controller.wait_status("two endpoints", |it| endpoints(it).len() == 2).await?;
    drop(socket);
    let status = controller.wait_status("polling", via("polled")).await?;
    ensure!(status["swarm"]["watch_failures"].as_u64() >= Some(1), "{status:#}");
    demo.scale(3);
    controller.wait_status("three endpoints", |it| endpoints(it).len() == 3).await?;
    controller.wait_status("why", |it| it["swarm"]["watch_failing"].is_string()).await?;
    let metrics = waggle_tests::program::page(controller.status_address(), "/metrics")?;
    ensure!(metrics.contains("waggle_swarm_pushed 0"), "{metrics}");
    ensure!(metrics.contains("waggle_swarm_watch_failures_total "), "{metrics}");
    let ready = waggle_tests::program::page(controller.status_address(), "/readyz")?;
    ensure!(ready.contains("ready"), "{ready}");
    let _socket = engine.open_control(&authority.sign("swarm-manager")?).await?;
    controller.wait_status("a watch again", via("pushed")).await?;
    let log = controller.log();
    let told = log.matches("changes of the Swarm are polled").count();
    ensure!((1..=2).contains(&told), "told {told} times: {log}");
    ensure!(log.matches("the watch is in force").count() == 2, "{log}");
    Ok(())
}

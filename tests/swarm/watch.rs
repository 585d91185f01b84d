//! The watch of a real manager, side by side with polling.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;
use waggle_controller::persistent::Map;
use waggle_controller::swarm::{Picture, Secrets, Settings, TaskState, Via};
use waggle_tests::private_swarm::{Image, PrivateSwarm};
use waggle_tests::relay::Relay;
use waggle_tests::source::{Source, agree, running, settings};

/// How long anything that is waited for may take.
const DEADLINE: Duration = Duration::from_mins(1);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(20);
/// Where the source finds the control socket; a relay, which can be taken away.
const SOCKET: &str = "/run/control/control.sock";

/// A Swarm that is read by both sources.
struct Pair {
    swarm: PrivateSwarm,
    runtime: Runtime,
    polled: Source,
    pushed: Source,
    relay: Option<Relay>,
}

impl Pair {
    fn start() -> Result<Self> {
        let swarm = PrivateSwarm::start()?;
        swarm.import(&Image::demo())?;
        // Only now may threads start: they are in the same sandbox.
        let runtime = Runtime::new()?;
        let url = format!("unix://{}", swarm.socket().display());
        let guard = runtime.enter();
        let relay = Some(Relay::start(Path::new(SOCKET), swarm.control_socket())?);
        let polling = Settings { timeout: DEADLINE, ..settings(&url, Secrets::Read)? };
        let watching = Settings { watch: Some(SOCKET.into()), ..polling.clone() };
        let (polled, mut pushed) = (Source::start(polling, None), Source::start(watching, None));
        runtime.block_on(pushed.until_via(Via::Pushed))?;
        drop(guard);
        Ok(Self { swarm, runtime, polled, pushed, relay })
    }

    fn docker(&self, command: &str) -> Result<String> {
        self.swarm.docker(command.split_whitespace())
    }

    /// Takes a step, waits until both sources show the same, as expected.
    fn step(&mut self, command: &str, holds: impl Fn(&Picture) -> bool) -> Result<()> {
        self.docker(command)?;
        self.agree(command, holds)
    }

    fn agree(&mut self, claim: &str, holds: impl Fn(&Picture) -> bool) -> Result<()> {
        self.runtime.block_on(agree(&mut self.polled, &self.pushed, claim, holds))
    }
}

/// So many services, and so many tasks that run, with none that waits.
fn counts(services: usize, tasks: usize) -> impl Fn(&Picture) -> bool {
    move |it| it.services.len() == services && it.tasks.len() == tasks && running(it) == tasks
}

#[test]
fn both_sources_show_the_same_swarm_through_its_changes() -> Result<()> {
    let mut pair = Pair::start()?;
    let image = Image::demo().name().to_owned();
    let create = "service create --detach --no-resolve-image";
    std::fs::write("/run/secret", "hunter2")?;
    pair.step("network create --driver overlay front", |it| it.networks.len() == 2)?;
    pair.step("network create --driver overlay back", |it| it.networks.len() == 3)?;
    pair.step("secret create key /run/secret", |it| {
        it.secrets.as_ref().is_some_and(|it| it.len() == 1)
    })?;
    let labels = "--label com.docker.lb.hosts=demo.local --label com.docker.lb.port=8080";
    let options = "--container-label com.docker.lb.port=8080 --env PASSWORD=hunter2 \
                   --secret source=key,target=/etc/key --publish mode=host,target=8080 --network front";
    let demo = format!("{create} --name demo --replicas 3 {labels} {options} {image}");
    pair.step(&demo, counts(1, 3))?;
    pair.step("service scale --detach demo=5", counts(1, 5))?;
    pair.step("service scale --detach demo=2", counts(1, 2))?;
    let update = "service update --detach --no-resolve-image --update-delay 0s";
    pair.step(&format!("{update} --label-add com.docker.lb.path=/app demo"), |it| {
        it.services.values().all(|it| it.labels.len() == 3)
    })?;
    let networks = |count: usize| {
        move |it: &Picture| {
            let services = it.services.values();
            let done = services.map(|it| (it.networks.len(), it.vips.len()));
            counts(1, 2)(it) && done.eq([(count, count)])
        }
    };
    let updated = |pair: &Pair, state: &str| {
        wait("the update is over", || {
            let service = pair.docker("service inspect demo")?;
            Ok(service.contains(&format!("\"State\": \"{state}\"")))
        })
    };
    pair.step(&format!("{update} --network-add back --update-order start-first demo"), |it| {
        it.services.values().all(|it| it.networks.len() == 2)
    })?;
    updated(&pair, "completed")?;
    pair.agree("on two networks", networks(2))?;
    pair.step("service update --detach --rollback demo", |it| {
        it.services.values().all(|it| it.networks.len() == 1)
    })?;
    updated(&pair, "rollback_completed")?;
    pair.agree("rolled back", networks(1))?;

    let all =
        format!("{create} --name all --mode global --endpoint-mode dnsrr --network back {image}");
    pair.step(&all, counts(2, 3))?;
    let host = format!("{create} --name host --network host --replicas 1 {image}");
    pair.step(&host, |it| it.services.len() == 3)?;
    let job = format!("{create} --name job --mode replicated-job --network front {image}");
    pair.step(&job, |it| it.services.len() == 4)?;
    // A container of its owner's own on the network of the services.
    pair.docker("network create --driver overlay --attachable open")?;
    pair.docker(&format!("run --detach --name own --network open {image}"))?;
    pair.agree("a container beside the services", |it| it.networks.len() == 4)?;
    pair.docker("rm --force own")?;
    let victim = pair.swarm.tasks("demo")?.into_iter().find_map(|task| task.container);
    let victim = victim.context("a container")?;
    let before = pair.swarm.tasks("demo")?;
    pair.docker(&format!("kill {victim}"))?;
    wait("another task", || {
        Ok(pair.swarm.tasks("demo")? != before && pair.swarm.wait_running("demo", 2).is_ok())
    })?;
    pair.agree("after a crash", |it| it.services.len() == 4)?;
    for (left, service) in [(3, "demo"), (2, "job"), (1, "host"), (0, "all")] {
        pair.step(&format!("service rm {service}"), |it| it.services.len() == left)?;
    }
    wait("the tasks have left the network", || Ok(pair.docker("network rm back").is_ok()))?;
    pair.agree("without the network", |it| it.networks.len() == 3 && it.tasks.is_empty())?;
    pair.step("secret rm key", |it| it.secrets.as_ref().is_some_and(Map::is_empty))?;

    let health = pair.pushed.health.borrow().clone();
    ensure!(health.via == Via::Pushed && health.watch_failures == 0, "{health:#?}");
    let polled = pair.polled.health.borrow().complete_cycles;
    ensure!(health.complete_cycles * 4 < polled, "{} of {polled}", health.complete_cycles);
    Ok(())
}

#[test]
fn an_end_of_which_no_event_tells_is_pushed_before_it_is_polled() -> Result<()> {
    let mut pair = Pair::start()?;
    let image = Image::demo().name().to_owned();
    pair.docker("network create --driver overlay front")?;
    let create = "service create --detach --no-resolve-image --replicas 2 --restart-delay 0s";
    pair.docker(&format!("{create} --name demo --network front {image}"))?;
    let (mut by_watch, mut by_poll) = (Duration::ZERO, Duration::ZERO);
    for _round in 0..5 {
        let tasks = pair.swarm.wait_running("demo", 2)?;
        pair.agree("both run", counts(1, 2))?;
        let [task, _] = tasks.as_slice() else { continue };
        let container = task.container.as_deref().context("a container")?;
        let told = Instant::now();
        pair.docker(&format!("kill {container}"))?;
        let Pair { runtime, polled, pushed, .. } = &mut pair;
        let ended = |it: &Picture| {
            let known = it.tasks.values().find(|known| known.id.as_str() == task.id);
            known.is_none_or(|task| task.state != TaskState::Running)
        };
        let (watch, poll) = runtime.block_on(async {
            let watch = async { pushed.until("pushed", ended).await.map(|_| told.elapsed()) };
            let poll = async { polled.until("polled", ended).await.map(|_| told.elapsed()) };
            tokio::join!(watch, poll)
        });
        by_watch += watch?;
        by_poll += poll?;
    }
    println!(
        "five ends took {by_watch:?} until they were pushed, {by_poll:?} until they were polled"
    );
    ensure!(by_watch < by_poll, "{by_watch:?}, {by_poll:?}");
    Ok(())
}

#[test]
fn a_socket_that_is_taken_away_leaves_polling_and_works_again_with_another_authority() -> Result<()>
{
    let mut pair = Pair::start()?;
    let image = Image::demo().name().to_owned();
    pair.docker("network create --driver overlay front")?;
    let create = "service create --detach --no-resolve-image --replicas 2";
    pair.step(&format!("{create} --name demo --network front {image}"), counts(1, 2))?;
    pair.relay = None;
    pair.runtime.block_on(pair.pushed.until_via(Via::Polled))?;
    pair.step("service scale --detach demo=4", counts(1, 4))?;
    let health =
        pair.runtime.block_on(pair.pushed.until_health("why", |it| it.watch_failing.is_some()))?;
    ensure!(health.via == Via::Polled && health.failing.is_none(), "{health:#?}");

    let root = |pair: &Pair| pair.docker("swarm ca");
    let before = root(&pair)?;
    pair.docker("swarm ca --rotate --quiet --detach")?;
    wait("the authority is another", || Ok(root(&pair)? != before))?;
    let guard = pair.runtime.enter();
    let relay = Relay::start(Path::new(SOCKET), pair.swarm.control_socket())?;
    drop(guard);
    pair.relay = Some(relay);
    pair.runtime.block_on(pair.pushed.until_via(Via::Pushed))?;
    pair.step("service scale --detach demo=1", counts(1, 1))?;
    pair.step("service rm demo", counts(0, 0))?;
    let health = pair.pushed.health.borrow().clone();
    ensure!(health.via == Via::Pushed && health.watch_failing.is_none(), "{health:#?}");
    Ok(())
}

/// Waits until something is so.
fn wait(claim: &str, so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while !so()? {
        ensure!(Instant::now() < deadline, "not within {DEADLINE:?}: {claim}");
        thread::sleep(PAUSE);
    }
    Ok(())
}

//! Sticky sessions while everything around them changes, and how new ones spread.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use waggle_tests::balancer::{Health, Proxy};
use waggle_tests::client::Jar;

use crate::modes::routed;
use crate::world::{APPS, ENVOY, World, on_stack, wait};
use clients::Clients;
use judge::{Circumstances, Story, judge, moves};
use looks::Looks;

mod clients;
mod judge;
mod looks;

const HOST: &str = "sticky.local";
const STICKY: &str = "--label com.docker.lb.sticky_session_cookie=session";
const SERVICES: &[&str] = &["sticky", "canary"];

/// The name that a task's container has for itself, and answers with.
fn instance(container: &str) -> Option<String> {
    container.get(..12).map(ToOwned::to_owned)
}

/// The second Envoy: it has the same controller, and so the same keys.
const SECOND: &str = "second_envoy";

/// Where each Envoy is published: clients at the first port, health checks at the second.
const PUBLISHED: [(&str, u16, u16); 2] = [(ENVOY, 80, 9902), (SECOND, 8081, 9903)];

fn proxies() -> [Proxy; 2] {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    PUBLISHED.map(|(_, http, health)| Proxy { http: at(http), health: at(health) })
}

/// Creates the second Envoy on ports of its own, and waits until it serves.
fn create_second_envoy(world: &World) -> Result<()> {
    let [_, (_, http, health)] = PUBLISHED;
    world.docker(&format!(
        "service create --detach --no-resolve-image --name {SECOND} \
         --network waggle_xds --network {APPS} \
         --config source=waggle_bootstrap,target=/etc/envoy/waggle.yaml \
         --config source=waggle_entry,target=/etc/envoy/entry.sh \
         --env WAGGLE_DRAIN_NOTICE=1 --env WAGGLE_DRAIN_WAIT=2 --stop-grace-period 45s \
         --publish mode=host,target=80,published={http} \
         --publish mode=host,target=9902,published={health} \
         envoyproxy/envoy:v1.40.0 bash /etc/envoy/entry.sh \
         envoy -c /etc/envoy/waggle.yaml --service-cluster default --service-node second"
    ))?;
    world.swarm.wait_running(SECOND, 1)?;
    let [_, second] = proxies();
    wait("the second Envoy is healthy", || {
        Ok((world.runtime.block_on(Health::of(second.health)) == Health::Holds).then_some(()))
    })
}

/// The clients, and all that happens around them.
struct Scene<'a> {
    world: &'a World,
    start: Instant,
    clients: Clients,
    looks: Looks,
    around: Circumstances,
    /// What was done, and when it was over.
    chapters: Vec<(&'static str, Duration)>,
    killed: Vec<(String, Duration)>,
}

impl<'a> Scene<'a> {
    fn start(world: &'a World, clients: usize) -> Result<Self> {
        let start = Instant::now();
        let looks = Looks::start((*world.swarm).clone(), start, SERVICES);
        let mut all = Clients::new(&world.runtime, start, proxies());
        all.start(&world.runtime, clients);
        let mut scene = Self {
            world,
            start,
            clients: all,
            looks,
            around: Circumstances::default(),
            chapters: Vec::new(),
            killed: Vec::new(),
        };
        scene.end_chapter("begin")?;
        Ok(scene)
    }

    /// Lets every client ask some more.
    fn end_chapter(&mut self, what: &'static str) -> Result<()> {
        self.clients.go_on(5).context(what)?;
        self.chapters.push((what, self.start.elapsed()));
        Ok(())
    }

    /// Runs a command of Docker's that changes the service, and waits until all know.
    fn change(&mut self, what: &'static str, command: &str, replicas: usize) -> Result<()> {
        self.world.docker(command).context(what)?;
        self.world.settle("sticky", replicas).context(what)?;
        self.end_chapter(what)
    }

    /// Kills a task of which the Swarm hears only afterwards.
    fn kill_a_task(&mut self) -> Result<()> {
        let container = self.world.container("sticky")?;
        let name = instance(&container).context("a container has an ID")?;
        self.killed.push((name, self.start.elapsed()));
        self.world.docker(&format!("kill {container}"))?;
        wait("Swarm has noticed", || {
            let tasks = self.world.swarm.tasks("sticky")?;
            let there = tasks.iter().any(|task| task.container.as_ref() == Some(&container));
            Ok((!there).then_some(()))
        })?;
        self.world.settle("sticky", 4)?;
        self.end_chapter("a task is killed")
    }

    /// Has Swarm replace an Envoy.
    fn restart(&mut self, envoy: usize, what: &'static str) -> Result<()> {
        let (service, ..) = PUBLISHED.get(envoy).context("there are two")?;
        let before = self.world.container(service)?;
        let from = self.start.elapsed();
        self.world.docker(&format!("service update --detach --force {service}"))?;
        self.clients.wait_health(envoy, Health::Fails)?;
        wait("there is a new task", || {
            Ok((self.world.container(service)? != before).then_some(()))
        })?;
        self.world.swarm.wait_running(service, 1)?;
        self.clients.wait_health(envoy, Health::Holds)?;
        let code =
            self.world.docker(&format!("inspect --format {{{{.State.ExitCode}}}} {before}"))?;
        ensure!(code == "0", "{service} ended with {code}, and was not let go");
        self.around.restarts.push((envoy, from, self.start.elapsed()));
        self.end_chapter(what)
    }

    /// Ends all and judges each client; tells what happened.
    fn end(mut self) -> Result<()> {
        let histories = self.clients.end(&self.world.runtime)?;
        self.around.pool = self.looks.end()?;
        for (task, at) in self.killed {
            self.around.pool.get_mut(&task).context("it was never in the pool")?.killed = Some(at);
        }
        let requests: usize = histories.iter().map(Vec::len).sum();
        let mut per_chapter: BTreeMap<&str, usize> = BTreeMap::new();
        for at in histories.iter().flat_map(|history| moves(history)) {
            let chapter = self.chapters.iter().find(|(_, end)| at <= *end);
            *per_chapter.entry(chapter.map_or("the end", |(what, _)| *what)).or_default() += 1;
        }
        let mut closed: BTreeMap<String, usize> = BTreeMap::new();
        for (envoy, how) in histories.iter().flatten().flat_map(|event| &event.closed) {
            *closed.entry(format!("Envoy {envoy}: {how}")).or_default() += 1;
        }
        println!(
            "{} clients, {requests} requests\nmoves: {per_chapter:#?}\n\
             connections closed by an Envoy on its way: {closed:#?}\nchapters: {:#?}\nrestarts: {:#?}",
            histories.len(),
            self.chapters,
            self.around.restarts,
        );
        let mut stories = Vec::new();
        for (client, history) in histories.iter().enumerate() {
            if let Some((place, violation)) = judge(history, &self.around).into_iter().next() {
                let story = Story { history, place, around: &self.around };
                stories.push(format!("client {client}: {violation:?}\n{story}"));
            }
        }
        let all = stories.len();
        stories.truncate(3);
        ensure!(
            all == 0,
            "{all} clients have a story to tell; first ones:\n{}",
            stories.join("\n")
        );
        for what in
            ["4 to 8 to 2", "start-first", "stop-first", "a task is killed", "canary leaves"]
        {
            ensure!(per_chapter.keys().any(|it| it.contains(what)), "nobody moved: {what}");
        }
        Ok(())
    }
}

#[test]
fn clients_leave_their_task_only_when_it_leaves_whatever_changes() -> Result<()> {
    on_stack(|world| {
        create_second_envoy(world)?;
        world.create("sticky", 4, &format!("{} {STICKY} --restart-delay 1s", routed(HOST)))?;
        let mut scene = Scene::start(world, 200)?;
        scene.change("scale 4 to 8", "service scale --detach sticky=8", 8)?;
        scene.change("scale 4 to 8 to 2", "service scale --detach sticky=2", 2)?;
        scene.change("scale back", "service scale --detach sticky=4", 4)?;
        let update = "service update --detach=false --no-resolve-image --update-monitor 1s";
        let order =
            |order| format!("{update} --update-order {order} --env-add ORDER={order} sticky");
        scene.change("a start-first update", &order("start-first"), 4)?;
        // Before the next update, which leaves a task that nobody had to go to.
        scene.kill_a_task()?;
        scene.change("a stop-first update", &order("stop-first"), 4)?;

        world.create("canary", 2, &format!("{} {STICKY}", routed(HOST)))?;
        scene.end_chapter("a canary joins")?;
        scene.clients.start(&world.runtime, 40);
        scene.end_chapter("40 clients join")?;
        scene.change("the canary leaves", "service rm canary", 4)?;

        scene.restart(0, "the first Envoy restarts")?;
        scene.restart(1, "the second Envoy restarts")?;
        scene.end()
    })
}

#[test]
fn new_clients_spread_evenly_over_the_tasks() -> Result<()> {
    const CLIENTS: u32 = 4000;
    on_stack(|world| {
        world.create("sticky", 4, &format!("{} {STICKY}", routed(HOST)))?;
        let answers = stream::iter(0..CLIENTS).map(async |_| {
            let mut jar = Jar::default();
            let answer = world.client.get_as(&mut jar, HOST, "/ping").await?;
            ensure!(answer.status == 200 && jar.get("session_lb").is_some(), "{answer:?}");
            answer.instance()
        });
        let answers = answers.buffer_unordered(20).try_collect::<Vec<String>>();
        let answers = world.runtime.block_on(answers)?;
        let mut shares: BTreeMap<String, u32> = BTreeMap::new();
        for task in answers {
            *shares.entry(task).or_default() += 1;
        }
        println!("{CLIENTS} clients: {shares:?}");
        // 25 % ± 4 points.
        let even = |share: &u32| (CLIENTS / 100 * 21..=CLIENTS / 100 * 29).contains(share);
        ensure!(shares.len() == 4 && shares.values().all(even), "{shares:?}");
        Ok(())
    })
}

//! What Swarm knows of a node's tasks, and what Envoy has of them: when the one, and when the other.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use waggle_tests::connections::established;
use waggle_tests::envoy::members;
use waggle_tests::private_swarm::{Other, Task};
use waggle_tests::sandbox::run;

use super::{APP, NOTICE};
use crate::world::{ENVOY, World, address, wait, wait_for};

/// How long Envoy was wrong.
pub(super) struct Lag {
    what: &'static str,
    /// From the beginning of the looking until Swarm knew.
    noticed: Duration,
    /// When Swarm may have known, at the earliest.
    known: Instant,
    /// From then until Envoy was seen to be right.
    time: Duration,
}

impl Lag {
    /// How long Envoy was wrong, at the most.
    pub(super) fn time(&self) -> Duration {
        self.time
    }

    /// When Swarm may have known, at the earliest.
    pub(super) fn known(&self) -> Instant {
        self.known
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, noticed, time, .. } = self;
        write!(out, "{what}: Swarm after {noticed:.2?}, Envoy within {time:.2?} of that")
    }
}

/// The tasks of a node, as Swarm and Envoy see them.
pub(super) struct Sight<'a> {
    world: &'a World,
    node: String,
    /// The endpoints that the node had at first.
    own: BTreeSet<SocketAddr>,
    /// Programs that ask in the network of the proxy.
    clusters: Command,
    connections: Command,
}

impl<'a> Sight<'a> {
    /// Looks at a node that runs tasks.
    pub(super) fn of(world: &'a World, other: Other) -> Result<Self> {
        let node = world.swarm.other(other)?.node_id()?;
        let tasks = world.swarm.tasks(APP)?;
        let own: BTreeSet<SocketAddr> =
            tasks.iter().filter(|task| task.node == node).map(address).collect::<Result<_>>()?;
        ensure!(own.len() == 2, "of {tasks:?} two are to be on {}", other.name());
        let proxy = world.container(ENVOY)?;
        let mut clusters = world.swarm.inside(&proxy, "curl")?;
        clusters.args(["--silent", "--show-error", "--fail", "http://127.0.0.1:9901/clusters"]);
        let mut connections = world.swarm.inside(&proxy, "cat")?;
        connections.arg("/proc/thread-self/net/tcp");
        Ok(Self { world, node, own, clusters, connections })
    }

    /// The node's ID.
    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// How many tasks the node had at first.
    pub(super) fn tasks(&self) -> usize {
        self.own.len()
    }

    /// How many connections from the proxy to the node's tasks are open.
    pub(super) fn open_connections(&mut self) -> Result<usize> {
        let table = run(&mut self.connections)?;
        let open = self.own.iter().map(|own| match own {
            SocketAddr::V4(own) => established(&table, SocketAddrV4::new(*own.ip(), own.port())),
            SocketAddr::V6(_) => 0,
        });
        Ok(open.sum())
    }

    /// Waits until Swarm wants no task on the node, and then until Envoy has none.
    pub(super) fn until_gone(&mut self) -> Result<Lag> {
        let node = self.node.clone();
        let gone = |tasks: &[Task]| tasks.iter().all(|task| task.node != node);
        let own: BTreeSet<String> = self.own.iter().map(ToString::to_string).collect();
        self.lag("its tasks are gone", gone, |_, endpoints| endpoints.is_disjoint(&own))
    }

    /// Waits until Swarm runs so many tasks, and then until Envoy has these and no others.
    pub(super) fn until_whole(&mut self, count: usize) -> Result<Lag> {
        let runs = |tasks: &[Task]| tasks.len() == count && tasks.iter().all(is_running);
        self.lag("all tasks run", runs, |tasks, endpoints| addresses(tasks) == *endpoints)
    }

    /// Whether Envoy has the tasks that Swarm runs, which are so many.
    pub(super) fn is_right(&mut self, count: usize) -> Result<bool> {
        let tasks = self.world.swarm.tasks(APP)?;
        Ok(tasks.len() == count && addresses(&tasks) == self.endpoints()?)
    }

    /// Waits until the node is back, and has ended the tasks that it should not run.
    pub(super) fn until_ready(&self) -> Result<()> {
        wait_for(NOTICE, "the node is back", || {
            let nodes: Vec<Value> = self.world.swarm.get("/nodes", &json!({}))?;
            let is_back = |it: &Value| it["ID"] == *self.node && it["Status"]["State"] == "ready";
            Ok(nodes.iter().any(is_back).then_some(()))
        })?;
        wait("it has ended its tasks", || {
            let tasks: Vec<Value> = self.world.swarm.get("/tasks", &json!({ "service": [APP] }))?;
            let here = |it: &&Value| it["NodeID"] == *self.node;
            let runs = |it: &Value| it["Status"]["State"] == "running";
            Ok((!tasks.iter().filter(here).any(runs)).then_some(()))
        })
    }

    fn lag(
        &mut self,
        what: &'static str,
        told: impl Fn(&[Task]) -> bool,
        right: impl Fn(&[Task], &BTreeSet<String>) -> bool,
    ) -> Result<Lag> {
        let began = Instant::now();
        let mut look = began;
        let (known, tasks) = wait_for(NOTICE, &format!("Swarm knows: {what}"), || {
            let last = std::mem::replace(&mut look, Instant::now());
            let tasks = self.world.swarm.tasks(APP)?;
            Ok(told(&tasks).then_some((last, tasks)))
        })?;
        let noticed = began.elapsed();
        wait(&format!("Envoy knows: {what}"), || {
            Ok(right(&tasks, &self.endpoints()?).then_some(()))
        })?;
        Ok(Lag { what, noticed, known, time: known.elapsed() })
    }

    /// The endpoints of the service's pool.
    fn endpoints(&mut self) -> Result<BTreeSet<String>> {
        let all: BTreeSet<String> = members(&run(&mut self.clusters)?);
        let own = all.iter().filter_map(|it| it.split_once(' ')).filter(|(pool, _)| *pool == APP);
        Ok(own.map(|(_, address)| address.to_owned()).collect())
    }
}

fn is_running(task: &Task) -> bool {
    task.state == "running"
}

fn addresses(tasks: &[Task]) -> BTreeSet<String> {
    tasks.iter().filter_map(|task| address(task).ok()).map(|it| it.to_string()).collect()
}

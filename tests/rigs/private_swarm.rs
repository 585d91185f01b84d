//! A Swarm on Docker engines of the test's own: of one node, or of three.
//!
//! ```text
//! test ── sandbox (network, /run, /etc) ── docker CLI, curl, Envoy, …
//!   ├─ engine.sh ── process namespace: dockerd ── containerd ── shims ── tasks
//!   └─ engine.sh ── process namespace, network, /run: a further node
//! ```
//!
//! The engines' data, sockets and networks are in the sandbox, the processes of each in a namespace
//! that ends with its first one, which ends with the test. The engine of the machine is out of reach.
//!
//! The first node is at home in the network of the sandbox. Every other has one of its own and a
//! [cable](cables) to the first, which can be cut.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::gettid;

use crate::sandbox::{self, run};

mod cables;
mod engine;
mod image;
mod node;
mod stack;
mod task;
mod vips;

pub use engine::Engine;
pub use image::Image;
pub use task::Task;
pub use vips::VipForwarding;

use node::{Node, Place};

/// A Swarm that ends with this value, or with the process that holds it.
///
/// It is asked as the [`Engine`] of its first node, which is a manager.
pub struct PrivateSwarm {
    /// Ended before the first node, whose cgroup holds theirs.
    others: Vec<Node>,
    first: Node,
}

/// Who manages a Swarm of three nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Managers {
    /// The first node; the others are workers.
    First,
    /// All of them. The third one leads.
    All,
}

/// A node that can be lost, by its number: the second or the third.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// `node-2`.
    Second,
    /// `node-3`.
    Third,
}

impl Other {
    const ALL: [Self; 2] = [Self::Second, Self::Third];

    fn number(self) -> u8 {
        match self {
            Self::Second => 2,
            Self::Third => 3,
        }
    }

    /// Its host name.
    pub fn name(self) -> String {
        cables::name(self.number())
    }
}

impl PrivateSwarm {
    /// Moves the calling thread into a [`sandbox`] and starts an engine and a Swarm there.
    ///
    /// Call it first in a test, before a runtime starts: what runs on other threads stays outside.
    ///
    /// # Errors
    ///
    /// Without root; without the tools; and if the engine does not come up, with its log.
    pub fn start() -> Result<Self> {
        let (first, _tools) = first()?;
        let swarm = Self { first, others: Vec::new() };
        begin(swarm.first.engine(), 1)?;
        Ok(swarm)
    }

    /// The same with three nodes, named `node-1` to `node-3`.
    ///
    /// # Errors
    ///
    /// As [`PrivateSwarm::start`], and if a node does not join.
    pub fn start_three(managers: Managers) -> Result<Self> {
        let (first, tools) = first()?;
        cables::lay()?;
        let mut swarm = Self { first, others: Vec::new() };
        for other in Other::ALL {
            swarm.others.push(swarm.further(&tools, other)?);
        }
        let engines: Vec<(&Engine, u8)> = swarm.engines().zip(1..).collect();
        let (beginner, role) = match managers {
            Managers::First => (1, "worker"),
            Managers::All => (3, "manager"),
        };
        let is_beginner = |(_, number): &&(&Engine, u8)| *number == beginner;
        let (leader, _) = engines.iter().find(is_beginner).context("a node begins")?;
        begin(leader, beginner)?;
        let token = leader.docker(["swarm", "join-token", "--quiet", role])?;
        let meet = format!("{}:2377", cables::address(beginner));
        for (engine, number) in engines.iter().filter(|it| !is_beginner(it)) {
            let address = cables::address(*number).to_string();
            let join = ["swarm", "join", "--token", &token, "--advertise-addr", &address, &meet];
            engine.docker(join).with_context(|| format!("{} joins", cables::name(*number)))?;
        }
        Ok(swarm)
    }

    fn further(&self, tools: &Path, other: Other) -> Result<Node> {
        let name = other.name();
        let folder = Path::new("/run").join(&name);
        let cgroup = format!("{}/{name}", self.cgroup());
        let node = Node::start(Place { tools, name, folder, cgroup })?;
        cables::plug(&node, other.number())?;
        Ok(node)
    }

    /// The engines of all nodes, the first one's first.
    pub fn engines(&self) -> impl Iterator<Item = &Engine> {
        [&self.first].into_iter().chain(&self.others).map(Node::engine)
    }

    /// The engine of another node.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn other(&self, other: Other) -> Result<&Engine> {
        self.node(other).map(Node::engine)
    }

    /// Cuts a node off: nothing passes between it and the others. It runs on.
    ///
    /// # Errors
    ///
    /// If there is no such node.
    pub fn cut_off(&self, other: Other) -> Result<()> {
        self.node(other)?;
        cables::cut(other.number())
    }

    /// Joins a node again that was cut off.
    ///
    /// # Errors
    ///
    /// If there is no such node, or it was killed.
    pub fn heal(&self, other: Other) -> Result<()> {
        self.node(other)?;
        cables::mend(other.number())
    }

    /// Kills a node: its engine and all its tasks, at once. Their connections are closed, as they are
    /// when processes end; what is sent to the node from then on is lost.
    ///
    /// # Errors
    ///
    /// If there is no such node.
    pub fn kill(&self, other: Other) -> Result<()> {
        self.node(other)?.kill()
    }

    fn node(&self, other: Other) -> Result<&Node> {
        let place = usize::from(other.number()) - 2;
        self.others.get(place).with_context(|| format!("there is no {}", other.name()))
    }

    /// The name of the cgroup that holds the tasks; unique on the machine while the test runs.
    pub fn cgroup(&self) -> &str {
        self.first.cgroup()
    }
}

/// Moves into the sandbox and starts the first engine. Tells where the tools are.
fn first() -> Result<(Node, PathBuf)> {
    sandbox::check_root()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools.sh");
    let tools = PathBuf::from(run(Command::new(script).arg("docker"))?);
    sandbox::enter()?;
    let (name, folder) = (cables::name(1), PathBuf::from("/run"));
    let cgroup = format!("waggle-{}", gettid());
    let node = Node::start(Place { tools: &tools, name, folder, cgroup })?;
    Ok((node, tools))
}

/// Makes an engine the first of a Swarm.
fn begin(engine: &Engine, number: u8) -> Result<()> {
    let address = cables::address(number).to_string();
    engine.docker(["swarm", "init", "--advertise-addr", &address]).map(drop)
}

impl Deref for PrivateSwarm {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        self.first.engine()
    }
}

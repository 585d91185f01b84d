//! Where the walk goes: a simulated Swarm on loopback, or a real one in a private engine. All that
//! tells them apart is here; the steps are the same.

mod simulated;
mod swarm;

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::Value;
use waggle_tests::private_swarm::PrivateSwarm;

use super::command::Docker;
use simulated::Simulated;
use swarm::Swarm;

/// A Swarm with a proxy before it.
pub(crate) enum World {
    /// Its engine is played; controller, Envoy, filter and applications are processes on loopback.
    Simulated(Box<Simulated>),
    /// Everything runs in containers.
    Swarm(Box<Swarm>),
}

/// A running task.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What its application calls itself.
    pub(crate) instance: String,
}

impl World {
    /// Starts the simulated one, or deploys the example stack on a real one.
    pub(crate) async fn start(swarm: Option<PrivateSwarm>) -> Result<Self> {
        Ok(match swarm {
            None => Self::Simulated(Box::new(Simulated::start().await?)),
            Some(swarm) => Self::Swarm(Box::new(Swarm::start(swarm).await?)),
        })
    }

    /// What a reader is to know of it.
    pub(crate) fn introduction(swarm: Option<&PrivateSwarm>) -> &'static str {
        match swarm {
            None => simulated::INTRODUCTION,
            Some(_) => swarm::INTRODUCTION,
        }
    }

    /// Where the proxy takes HTTP.
    pub(crate) fn proxy(&self) -> SocketAddr {
        match self {
            Self::Simulated(world) => world.proxy(),
            Self::Swarm(_) => swarm::PROXY,
        }
    }

    /// Does what a command asks for, and waits until the tasks that it asks for run.
    pub(crate) async fn obey(&mut self, command: &Docker) -> Result<()> {
        match self {
            Self::Simulated(world) => world.obey(command).await,
            Self::Swarm(world) => world.obey(command),
        }
    }

    /// Waits until the controller has seen the Swarm as it is now, and Envoy has what it tells.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        match self {
            Self::Simulated(world) => world.settle().await,
            Self::Swarm(world) => world.settle().await,
        }
    }

    /// Waits until those tasks of a service have ended that are to end.
    pub(crate) async fn ended(&mut self, service: &str) -> Result<()> {
        match self {
            Self::Simulated(world) => world.ended(service).await,
            Self::Swarm(world) => world.ended(service).await,
        }
    }

    /// The tasks that are to run.
    pub(crate) fn tasks(&self, service: &str) -> Result<Vec<Task>> {
        match self {
            Self::Simulated(world) => world.tasks(service),
            Self::Swarm(world) => world.tasks(service),
        }
    }

    /// The virtual IP of a service, with its port.
    pub(crate) fn vip(&self, service: &str) -> Result<SocketAddr> {
        match self {
            Self::Simulated(world) => world.vip(service),
            Self::Swarm(world) => world.vip(service),
        }
    }

    /// The controller's status.
    pub(crate) fn status(&self) -> Result<Value> {
        match self {
            Self::Simulated(world) => world.status(),
            Self::Swarm(world) => world.status(),
        }
    }

    /// Where that is.
    pub(crate) fn status_address(&self) -> SocketAddr {
        match self {
            Self::Simulated(world) => world.status_address(),
            Self::Swarm(_) => swarm::STATUS,
        }
    }

    /// A page of Envoy's admin interface.
    pub(crate) fn envoy(&self, path: &str) -> Result<String> {
        match self {
            Self::Simulated(world) => world.envoy(path),
            Self::Swarm(world) => world.envoy(path),
        }
    }

    /// What there is to try out, and how.
    pub(crate) fn addresses(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Simulated(world) => world.addresses(),
            Self::Swarm(world) => world.addresses(),
        }
    }
}

//! The Swarm that the contenders come to, one after the other, and the applications that stay.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;
use waggle_tests::client::Client;
use waggle_tests::envoy;
use waggle_tests::private_swarm::{Image, PrivateSwarm};
use waggle_tests::sandbox::run;
use waggle_tests::wait::wait_for;

use super::contender::{Contender, host, labels};

/// Where applications listen in their containers.
pub(super) const APP_PORT: u16 = 8080;

/// How long a contender may take until it knows the services, or is gone.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long one request may take that is not part of a load.
const ANSWER: Duration = Duration::from_secs(1);

/// The proxies' programs.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    envoy: PathBuf,
    traefik: PathBuf,
}

impl Programs {
    /// Fetches those that are missing: not in a [`World`], which has no way out.
    pub(super) fn fetch() -> Result<Self> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools.sh");
        let traefik = PathBuf::from(run(Command::new(tools).arg("traefik"))?);
        Ok(Self { envoy: envoy::binary()?.into(), traefik })
    }
}

/// A Swarm with the images of all contenders.
pub(super) struct World {
    pub(super) swarm: PrivateSwarm,
    pub(super) runtime: Runtime,
    /// What the applications and the proxies share.
    pub(super) network: &'static str,
}

impl World {
    /// Moves the calling thread into a sandbox and starts a Swarm there; the network is the caller's
    /// to create.
    pub(super) fn start(programs: &Programs, network: &'static str) -> Result<Self> {
        let swarm = PrivateSwarm::start()?;
        let envoy = Image::envoy(&programs.envoy)?;
        for image in [Image::demo(), Image::controller(), envoy, Image::traefik(&programs.traefik)]
        {
            swarm.import(&image)?;
        }
        // Only now may threads start: they are in the same sandbox.
        Ok(Self { swarm, runtime: Runtime::new()?, network })
    }

    /// Runs a command of Docker's, as it is typed.
    pub(super) fn docker(&self, command: &str) -> Result<String> {
        self.swarm.docker(command.split_whitespace())
    }

    /// Creates a service of the demo application that all contenders route; its host is its name's.
    pub(super) fn create(&self, name: &str, replicas: usize, options: &[&str]) -> Result<()> {
        let labels = labels(name).into_iter().map(|(key, value)| format!("--label={key}={value}"));
        let mut create: Vec<String> = ["service", "create", "--detach", "--no-resolve-image"]
            .into_iter()
            .chain(["--network", self.network, "--name", name])
            .chain(options.iter().copied())
            .map(str::to_owned)
            .collect();
        create.extend([format!("--replicas={replicas}"), format!("--env=METADATA={name}")]);
        create.extend(labels.chain([Image::demo().name().to_owned()]));
        self.swarm.docker(create).map(drop)
    }

    /// The container of a service's first task.
    pub(super) fn container(&self, service: &str) -> Result<String> {
        let container = self.swarm.tasks(service)?.into_iter().find_map(|task| task.container);
        container.with_context(|| format!("{service} has no container"))
    }

    /// Whether the proxy answers a service's `/ping` with a 200.
    pub(super) fn is_served(&self, client: &Client, name: &str) -> bool {
        let host = host(name);
        let asked = self
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER, client.get(&host, "/ping")).await });
        asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
    }

    /// Has a contender come, does something with its proxy, and has it go.
    pub(super) fn with<T>(
        &self,
        contender: Contender,
        witnesses: &[&str],
        act: impl FnOnce(SocketAddr) -> Result<T>,
    ) -> Result<T> {
        let proxy = contender.arrive(self)?;
        let client = Client::new(proxy);
        wait_for(PATIENCE, "the proxy serves what was there before it", || {
            Ok(witnesses.iter().all(|name| self.is_served(&client, name)).then_some(()))
        })?;
        contender.check(self)?;
        let acted = act(proxy)?;
        self.remove(contender.services())?;
        Ok(acted)
    }

    /// Removes services, and waits until their containers are gone.
    pub(super) fn remove(&self, services: &[&str]) -> Result<()> {
        self.swarm.docker(["service", "rm"].iter().chain(services))?;
        let shown = "{{.Label \"com.docker.swarm.service.name\"}}";
        wait_for(PATIENCE, "the containers are gone", || {
            let left = self.swarm.docker(["ps", "--format", shown])?;
            let left: Vec<&str> = left.lines().filter(|name| services.contains(name)).collect();
            ensure!(left.is_empty(), "{left:?}");
            Ok(Some(()))
        })
    }
}

//! Who is compared, and how each is run: as its own documentation shows it, on the same network.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use waggle_tests::private_swarm::Image;
use waggle_tests::sandbox::run;
use waggle_tests::wait::wait;

use super::world::{APP_PORT, World};

/// A way to route the same services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contender {
    /// Waggle by its defaults: it polls, some times a second.
    Waggle,
    /// Waggle with `--watch-socket`: a manager pushes.
    Watching,
    /// Traefik by its defaults: it polls, each 15 s.
    Traefik,
    /// Traefik that polls each second.
    Eager,
}

/// What Traefik is told: of its documentation's setup for Swarm, what concerns plain HTTP. Left out are
/// HTTPS, the dashboard, metrics and the access log, which would cost it more.
const TRAEFIK: [&str; 3] = [
    "--entrypoints.web.address=:80",
    "--providers.swarm.endpoint=unix:///var/run/docker.sock",
    "--providers.swarm.exposedbydefault=false",
];

/// What the eager one is told beside.
const EVERY_SECOND: &str = "--providers.swarm.refreshSeconds=1";

/// Where all of them listen.
const PORT: u16 = 80;

impl Contender {
    /// All of them, in the order of the tables.
    pub(super) const ALL: [Self; 4] = [Self::Waggle, Self::Watching, Self::Traefik, Self::Eager];

    /// The services that it consists of, the proxy first.
    pub(super) fn services(self) -> &'static [&'static str] {
        match self {
            Self::Waggle | Self::Watching => &["waggle_envoy", "waggle_controller", "waggle_demo"],
            Self::Traefik | Self::Eager => &["traefik"],
        }
    }

    /// Starts it, waits until its containers run, and tells where the proxy is.
    pub(super) fn arrive(self, world: &World) -> Result<SocketAddr> {
        match self {
            Self::Waggle => deploy_waggle(world, &[])?,
            Self::Watching => deploy_waggle(world, &["watch.yml"])?,
            Self::Traefik => create_traefik(world, &[])?,
            Self::Eager => create_traefik(world, &[EVERY_SECOND])?,
        }
        for service in self.services().iter().take(2) {
            world.swarm.wait_running(service, 1)?;
        }
        let proxy = self.services().first().context("a contender has a proxy")?;
        let address = world.swarm.bridge_address(&world.container(proxy)?)?;
        Ok(SocketAddr::new(address, PORT))
    }

    /// Makes sure that it works in the way that it is named after; it knows its services by now.
    pub(super) fn check(self, world: &World) -> Result<()> {
        if !matches!(self, Self::Waggle | Self::Watching) {
            return Ok(());
        }
        let wanted = if self == Self::Watching { "pushed" } else { "polled" };
        let container = world.container("waggle_controller")?;
        wait(&format!("changes are {wanted}"), || {
            let mut curl = world.swarm.inside(&container, "curl")?;
            let status = run(curl.args(["-sSf", "http://127.0.0.1:18080/status"]))?;
            let reading = &serde_json::from_str::<Value>(&status)?["swarm"];
            ensure!(reading["changes"] == wanted, "{reading:#}");
            Ok(Some(()))
        })
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Waggle => "Waggle",
            Self::Watching => "Waggle, `--watch-socket`",
            Self::Traefik => "Traefik",
            Self::Eager => "Traefik, `refreshSeconds=1`",
        })
    }
}

/// The labels by which all of them route `name.local` to a service of this name.
pub(super) fn labels(name: &str) -> BTreeMap<String, String> {
    let host = host(name);
    let port = APP_PORT.to_string();
    [
        ("com.docker.lb.hosts".to_owned(), host.clone()),
        ("com.docker.lb.port".to_owned(), port.clone()),
        ("traefik.enable".to_owned(), "true".to_owned()),
        (format!("traefik.http.routers.{name}.rule"), format!("Host(`{host}`)")),
        (format!("traefik.http.services.{name}.loadbalancer.server.port"), port),
    ]
    .into()
}

/// The host of a service.
pub(super) fn host(name: &str) -> String {
    format!("{name}.local")
}

fn deploy_waggle(world: &World, changes: &[&str]) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let change = |name: &&str| root.join("bench/versus").join(name);
    let mut files = vec![root.with_file_name("examples").join("stack.yml")];
    files.extend(["network.yml"].iter().chain(changes).map(change));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    // When it leaves, nobody is asking any more.
    let environment =
        [("NETWORK", world.network), ("WAGGLE_DRAIN_NOTICE", "0"), ("WAGGLE_DRAIN_WAIT", "0")];
    world.swarm.deploy("waggle", &files, &environment)
}

fn create_traefik(world: &World, more: &[&str]) -> Result<()> {
    let publish = format!("mode=host,target={PORT},published={PORT}");
    let socket = "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock,readonly";
    let network = format!("--providers.swarm.network={}", world.network);
    let create = ["service", "create", "--detach", "--no-resolve-image", "--name", "traefik"]
        .into_iter()
        .chain(["--network", world.network, "--publish", &publish, "--mount", socket])
        .chain(["--constraint", "node.role==manager", Image::traefik(Path::new("")).name()])
        .chain(TRAEFIK)
        .chain([network.as_str()])
        .chain(more.iter().copied());
    world.swarm.docker(create).map(drop)
}

//! The beginning of a test: a Swarm, the images, the stack.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tokio::runtime::Runtime;
use waggle_tests::client::Client;
use waggle_tests::envoy;
use waggle_tests::private_swarm::{Image, Managers, PrivateSwarm};

use super::{CONTROLLER, ENVOY, World};

/// Runs a test on `examples/stack.yml`. Where it fails, the error also tells how the product stood.
pub(crate) fn on_stack(test: impl FnOnce(&World) -> Result<()>) -> Result<()> {
    on_swarm(PrivateSwarm::start()?, &["examples/stack.yml"], test)
}

/// The same on three nodes. The controller and the only proxy are on the first one, applications on all.
pub(crate) fn on_nodes(managers: Managers, test: impl FnOnce(&World) -> Result<()>) -> Result<()> {
    let files = ["examples/stack.yml", "tests/swarm/nodes/first-node.yml"];
    on_swarm(PrivateSwarm::start_three(managers)?, &files, test)
}

fn on_swarm(
    swarm: PrivateSwarm,
    files: &[&str],
    test: impl FnOnce(&World) -> Result<()>,
) -> Result<()> {
    for engine in swarm.engines() {
        engine.import(&Image::demo())?;
    }
    for image in [Image::controller(), Image::envoy(envoy::binary()?)?] {
        swarm.import(&image)?;
    }
    deploy(&swarm, files, "waggle")?;
    for (service, replicas) in [(CONTROLLER, 1), (ENVOY, 1), ("waggle_demo", 2)] {
        swarm.wait_running(service, replicas)?;
    }
    // Only now may threads start: they are in the same sandbox.
    let runtime = Runtime::new()?;
    let client = Client::new(SocketAddr::from(([127, 0, 0, 1], 80)));
    let vips = swarm.forward_vips(ENVOY)?;
    let world = World { vips, swarm, runtime, client };
    world
        .wait_answer("demo.local", 200)
        .and_then(|_| test(&world))
        .map_err(|error| error.context(world.account()))
}

/// Deploys files of the repository as one stack.
pub(super) fn deploy(swarm: &PrivateSwarm, files: &[&str], stack: &str) -> Result<()> {
    let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let files: Vec<PathBuf> = files.iter().map(|file| repository.join(file)).collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    // The tests' clients ask for health every 200 ms, and leave connections open.
    let drain = [("WAGGLE_DRAIN_NOTICE", "1"), ("WAGGLE_DRAIN_WAIT", "2")];
    swarm.deploy(stack, &files, &drain)
}

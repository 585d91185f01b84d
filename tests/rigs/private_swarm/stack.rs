//! Stacks, and where their containers are reached from outside.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Engine;
use super::task::without_prefix;
use crate::sandbox::run;

impl Engine {
    /// Deploys a stack of these Compose files, of which the later ones change the earlier ones, with
    /// variables of the environment that they name.
    ///
    /// # Errors
    ///
    /// If the engine refuses.
    pub fn deploy(&self, stack: &str, files: &[&Path], environment: &[(&str, &str)]) -> Result<()> {
        let mut command = self.client();
        command.args(["stack", "deploy", "--resolve-image", "never"]);
        for file in files {
            command.args([OsStr::new("--compose-file"), file.as_os_str()]);
        }
        run(command.arg(stack).envs(environment.iter().copied())).map(drop)
    }

    /// The address at which this machine reaches a container past its published ports, before which
    /// the engine puts a relay of its own.
    ///
    /// # Errors
    ///
    /// If there is no such container, or it is on no network that leads outside.
    pub fn bridge_address(&self, container: &str) -> Result<IpAddr> {
        let bridge = self.docker(["network", "inspect", "docker_gwbridge"])?;
        let bridge: Value = serde_json::from_str(&bridge)?;
        let containers = bridge[0]["Containers"].as_object().context("nothing on the bridge")?;
        let mut own = containers.iter().filter(|(id, _)| id.starts_with(container));
        let (_, own) = own.next().with_context(|| format!("{container} is not on {bridge:#}"))?;
        own["IPv4Address"].as_str().and_then(without_prefix).context("no address")
    }
}

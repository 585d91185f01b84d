//! The real controller, as a process with ports of its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Process, built, eventually, filter_module, free_address, page};

/// A controller that can be killed and started again where it was.
#[derive(Debug)]
pub struct Controller {
    process: Option<Process>,
    folder: TempDir,
    arguments: Vec<String>,
    xds: SocketAddr,
    status: SocketAddr,
}

impl Controller {
    /// Starts `waggle serve` on this engine; `more` arguments go behind the rig's own.
    pub fn start(docker: &str, http_port: u16, more: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (xds, status) = (free_address()?, free_address()?);
        let own = [
            "serve",
            "--docker",
            docker,
            "--xds-address",
            &xds.to_string(),
            "--status-address",
            &status.to_string(),
            "--http-port",
            &http_port.to_string(),
            "--state-dir",
            &folder.path().join("state").display().to_string(),
            "--filter",
            &filter_module()?.display().to_string(),
        ];
        let arguments = own.iter().chain(more).map(ToString::to_string).collect();
        let mut controller = Self { process: None, folder, arguments, xds, status };
        controller.start_again()?;
        Ok(controller)
    }

    /// Starts it where it was, with the state that it left.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let log = self.folder.path().join("log");
        self.process = Some(Process::start(&built("waggle")?, &self.arguments, &[], &log)?);
        Ok(())
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Its process's ID, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Where it serves xDS.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// Where its status server is.
    pub fn status_address(&self) -> SocketAddr {
        self.status
    }

    /// `GET /status`.
    pub fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&page(self.status, "/status")?)?)
    }

    /// Waits until its status is as wanted, and returns it.
    pub async fn wait_status(
        &mut self,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut last = Value::Null;
        let found = eventually(what, async || {
            last = self.status().unwrap_or_default();
            Ok(holds(&last).then(|| last.clone()))
        })
        .await;
        found.with_context(|| format!("its status is {last:#}\nits log ends\n{}", self.log_tail()))
    }

    /// Waits until it has read the Swarm wholly, twice since now: what was there before is seen.
    pub async fn wait_read(&mut self) -> anyhow::Result<Value> {
        let before = self.status().map(|status| complete_reads(&status)).unwrap_or_default();
        self.wait_status("two complete reads", |status| complete_reads(status) >= before + 2).await
    }

    /// Everything that it logged, over all its lives.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn log_tail(&self) -> String {
        self.process.as_ref().map(Process::log_tail).unwrap_or_default()
    }
}

/// How often it has read the Swarm wholly.
pub fn complete_reads(status: &Value) -> u64 {
    status["swarm"]["complete_reads"].as_u64().unwrap_or_default()
}

/// A service's part of a status.
pub fn service<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["services"].as_array()?.iter().find(|service| service["name"] == name)
}

/// The codes of a service's problems.
pub fn problem_codes<'a>(status: &'a Value, name: &str) -> Vec<&'a str> {
    let problems = service(status, name).and_then(|service| service["problems"].as_array());
    problems.into_iter().flatten().filter_map(|problem| problem["code"].as_str()).collect()
}

/// How many responses it has sent to Envoys, of all kinds.
pub fn responses(status: &Value) -> u64 {
    let counts = status["xds"]["responses"].as_object();
    counts.into_iter().flat_map(|counts| counts.values()).filter_map(Value::as_u64).sum()
}

/// All endpoints that it tells, as `pool address`.
pub fn endpoints(status: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let services = status["services"].as_array().into_iter().flatten();
    let of_service = |service: &Value| {
        let pools: Vec<String> = text(&service["pool"]).split(' ').map(ToOwned::to_owned).collect();
        let endpoints = service["endpoints"].as_array().cloned().unwrap_or_default();
        let addresses: Vec<String> =
            endpoints.iter().map(|endpoint| text(&endpoint["address"])).collect();
        pools.into_iter().flat_map(move |pool| {
            let line = move |address: &String| format!("{pool} {address}");
            addresses.iter().map(line).collect::<Vec<_>>()
        })
    };
    services.flat_map(of_service).collect()
}

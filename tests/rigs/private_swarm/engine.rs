//! The engine of a private Swarm, as it is asked and told.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::task::{EngineTask, Task};
use super::{Image, VipForwarding};
use crate::sandbox::run;

/// Between two looks at something that is waited for.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How long tasks may take until they run.
const TASKS: Duration = Duration::from_secs(30);

/// A way to speak to the engine. It can be cloned and sent to other threads of the sandbox; it does
/// not keep the engine alive.
#[derive(Debug, Clone)]
pub struct Engine {
    client: PathBuf,
    socket: PathBuf,
    control: PathBuf,
    log: PathBuf,
    process: u32,
}

impl Engine {
    /// The engine whose `/run` is this folder of the sandbox, about to be started.
    pub(super) fn new(client: PathBuf, run: &Path) -> Self {
        Self {
            client,
            socket: run.join("docker.sock"),
            // Below the engine's `--exec-root`.
            control: run.join("docker/swarm/control.sock"),
            log: run.join("engine.log"),
            process: 0,
        }
    }

    /// The same, now that this process is it.
    pub(super) fn running_as(self, process: u32) -> Self {
        Self { process, ..self }
    }

    /// The engine's socket; the path means this engine only inside of the sandbox.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The control socket of the engine's Swarm manager; the path means it only inside of the sandbox.
    pub fn control_socket(&self) -> &Path {
        &self.control
    }

    /// The file that the engine logs to.
    pub(super) fn log_file(&self) -> &Path {
        &self.log
    }

    /// The ID of the engine's node.
    ///
    /// # Errors
    ///
    /// If the engine does not answer.
    pub fn node_id(&self) -> Result<String> {
        self.docker(["info", "--format", "{{.Swarm.NodeID}}"])
    }

    /// The engine's process, to be signalled: stopped (`SIGSTOP`), its API hangs and its tasks run.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Runs the Docker CLI against this engine and returns what it printed.
    ///
    /// # Errors
    ///
    /// If it fails, with the command and what it complained.
    pub fn docker<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        run(self.client().args(arguments))
    }

    /// The Docker CLI, about to be run against this engine.
    pub fn client(&self) -> Command {
        let mut command = Command::new(&self.client);
        self.address(&mut command);
        command
    }

    /// Leads the Docker CLI to this engine, and away from the user's settings.
    fn address<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env_remove("DOCKER_CONTEXT")
            .env("DOCKER_CONFIG", "/run/docker-cli")
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
    }

    /// Runs a line of a shell that calls `docker`, as its user types it.
    ///
    /// # Errors
    ///
    /// If it fails, with the line and what it complained.
    pub fn shell(&self, line: &str) -> Result<String> {
        let folder = self.client.parent().context("the client is in a folder")?;
        let path = env::var("PATH")?;
        let mut shell = Command::new("sh");
        shell.args(["-ec", line]).env("PATH", format!("{}:{path}", folder.display()));
        run(self.address(&mut shell))
    }

    /// Asks the engine's API, such as `/services`, with the call's filters.
    ///
    /// # Errors
    ///
    /// If the engine refuses, or answers something else than a `T`.
    pub fn get<T: DeserializeOwned>(&self, path: &str, filters: &serde_json::Value) -> Result<T> {
        let answer = run(Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--unix-socket"])
            .arg(&self.socket)
            .args(["--get", "--data-urlencode", &format!("filters={filters}")])
            .arg(format!("http://docker{path}")))?;
        serde_json::from_str(&answer).with_context(|| format!("GET {path} answered {answer}"))
    }

    /// Posts to the engine's API, such as to `/services/create`.
    ///
    /// # Errors
    ///
    /// If the engine refuses, with what it says; or if it answers something else than a `T`.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T> {
        let answer = run(Command::new("curl")
            .args(["--silent", "--show-error", "--fail-with-body", "--unix-socket"])
            .arg(&self.socket)
            .args(["--header", "content-type: application/json", "--data", &body.to_string()])
            .arg(format!("http://docker{path}")))?;
        serde_json::from_str(&answer).with_context(|| format!("POST {path} answered {answer}"))
    }

    /// Imports an image.
    ///
    /// # Errors
    ///
    /// If a file of it is missing, with the command that builds it.
    pub fn import(&self, image: &Image) -> Result<()> {
        image.import(self)
    }

    /// The tasks of a service that Swarm wants to run, whatever their state.
    ///
    /// # Errors
    ///
    /// If the engine refuses.
    pub fn tasks(&self, service: &str) -> Result<Vec<Task>> {
        self.wanted_tasks(&json!({ "service": [service], "desired-state": ["running"] }))
    }

    pub(crate) fn wanted_tasks(&self, filters: &serde_json::Value) -> Result<Vec<Task>> {
        let tasks: Vec<EngineTask> = self.get("/tasks", filters)?;
        Ok(tasks.into_iter().map(Task::from).collect())
    }

    /// Waits until a service has exactly this many tasks and all of them run.
    ///
    /// # Errors
    ///
    /// If that takes more than 30 seconds, with the tasks as they are then.
    pub fn wait_running(&self, service: &str, count: usize) -> Result<Vec<Task>> {
        let deadline = Instant::now() + TASKS;
        loop {
            let tasks = self.tasks(service)?;
            if tasks.len() == count && tasks.iter().all(|task| task.state == "running") {
                return Ok(tasks);
            }
            if Instant::now() > deadline {
                let told = self.docker(["service", "ps", "--no-trunc", service])?;
                bail!("{service} does not run {count} tasks within {TASKS:?}:\n{told}");
            }
            thread::sleep(PAUSE);
        }
    }

    /// A program of the machine, about to be run in the network of a container.
    ///
    /// # Errors
    ///
    /// If there is no such container, or it has ended.
    pub fn inside(&self, container: &str, program: &str) -> Result<Command> {
        let key = self.docker(["inspect", "-f", "{{.NetworkSettings.SandboxKey}}", container])?;
        ensure!(!key.is_empty(), "the container {container} has no network any more");
        let mut command = Command::new("nsenter");
        // The engine mounts the network namespaces in a mount namespace of its own.
        command.arg(format!("--net=/proc/{}/root{key}", self.process)).arg(program);
        Ok(command)
    }

    /// Where the kernel has no IPVS, makes VIPs work for the tasks of one service (the proxy).
    ///
    /// # Errors
    ///
    /// If the rules cannot be written.
    pub fn forward_vips(&self, client: &str) -> Result<VipForwarding> {
        VipForwarding::start(self.clone(), client)
    }

    /// What the engine has logged so far.
    ///
    /// # Errors
    ///
    /// Outside of the sandbox.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }
}

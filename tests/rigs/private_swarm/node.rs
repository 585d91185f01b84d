//! One engine: started, found, ended.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::engine::{Engine, PAUSE};

/// Long enough for a loaded machine; on an idle one the engine is up in half a second.
const START: Duration = Duration::from_mins(1);

/// An engine and all that it runs. It ends with this value, or with the process that holds it.
pub(super) struct Node {
    engine: Engine,
    cgroup: String,
    keeper: Child,
    /// The parent of the engine, which is in the engine's network.
    holder: String,
}

/// Where an engine is to run.
pub(super) struct Place<'a> {
    /// Its programs.
    pub(super) tools: &'a Path,
    /// Its host name.
    pub(super) name: String,
    /// What it sees as `/run`. With `/run` it is in the caller's network, else in one of its own.
    pub(super) folder: PathBuf,
    /// The cgroup of its tasks.
    pub(super) cgroup: String,
}

impl Node {
    /// Starts an engine, and waits until it answers.
    pub(super) fn start(place: Place<'_>) -> Result<Self> {
        let Place { tools, name, folder, cgroup } = place;
        fs::create_dir_all(&folder)?;
        let engine = Engine::new(tools.join("usr/bin/docker"), &folder);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rigs/private_swarm/engine.sh");
        let mut keeper = Command::new("sh")
            .args([script.as_path(), Path::new(&cgroup), Path::new(&name), &folder])
            .args(["dockerd", "--cgroup-parent", &format!("/{cgroup}")])
            // The machine's systemd would keep scopes for the containers.
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--data-root=/run/data", "--exec-root=/run/docker", "--pidfile=/run/docker.pid"])
            .arg("--host=unix:///run/docker.sock")
            .env_clear()
            .env("PATH", search_path(tools))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(engine.log_file())?)
            // What ends the test's process group must not end the one who cleans up.
            .process_group(0)
            .spawn()
            .context("start engine.sh")?;
        let holder = first_line(&mut keeper);
        let mut node = Self { engine, cgroup, keeper, holder: String::new() };
        holder.and_then(|holder| node.come_up(holder)).with_context(|| {
            format!("the engine of {name} did not start; its log ends:\n{}", node.log_end())
        })?;
        Ok(node)
    }

    /// Waits for the engine's API, and finds the engine's process below the one that holds it.
    fn come_up(&mut self, holder: String) -> Result<()> {
        let deadline = Instant::now() + START;
        while self.engine.docker(["version"]).is_err() {
            if let Some(status) = self.keeper.try_wait()? {
                bail!("dockerd ended: {status}");
            }
            ensure!(Instant::now() < deadline, "no answer within {START:?}");
            thread::sleep(PAUSE);
        }
        let children = fs::read_to_string(format!("/proc/{holder}/task/{holder}/children"))?;
        let process = children.trim().parse();
        let process = process.with_context(|| format!("{holder} runs '{children}'"))?;
        self.engine = self.engine.clone().running_as(process);
        self.holder = holder;
        Ok(())
    }

    /// How it is asked and told.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The cgroup of its tasks.
    pub(super) fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// A process in its network, as `ip link` and `nsenter` take it.
    pub(super) fn holder(&self) -> &str {
        &self.holder
    }

    /// Ends the engine and all that it runs at once, by SIGKILL to the first process of its namespace.
    pub(super) fn kill(&self) -> Result<()> {
        let process = Pid::from_raw(i32::try_from(self.engine.process())?);
        kill(process, Signal::SIGKILL).with_context(|| format!("SIGKILL to the engine, {process}"))
    }

    fn log_end(&self) -> String {
        let log = self.engine.log().unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Node {
    /// Ends the engine and waits until nothing of it is left.
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("the engine of {} may still run: {error}", self.cgroup);
        }
    }
}

fn first_line(keeper: &mut Child) -> Result<String> {
    let stdout = keeper.stdout.take().context("engine.sh has no standard output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn search_path(tools: &Path) -> String {
    let tools = tools.display();
    format!("{tools}/usr/sbin:{tools}/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

//! A one-node Swarm on a Docker engine of the test's own.
//!
//! ```text
//! test ── sandbox (network, /run, /etc) ── docker CLI, curl, Envoy, …
//!   └─ engine.sh ── process namespace: dockerd ── containerd ── shims ── tasks
//! ```
//!
//! The engine's data, sockets and networks are in the sandbox, its processes in a namespace that
//! ends with its first one, which ends with the test. The engine of the machine is out of reach.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::gettid;

use crate::sandbox::{self, run};

mod engine;
mod image;
mod stack;
mod vips;

pub use engine::{Engine, Task};
pub use image::Image;
pub use vips::VipForwarding;

/// Long enough for a loaded machine; on an idle one the engine is up in half a second.
const START: Duration = Duration::from_mins(1);

/// A Swarm of one manager that ends with this value, or with the process that holds it.
///
/// It is asked as its [`Engine`].
pub struct PrivateSwarm {
    engine: Engine,
    cgroup: String,
    keeper: Child,
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
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        sandbox::check_root()?;
        let tools = PathBuf::from(run(Command::new(folder.join("tools.sh")).arg("docker"))?);
        sandbox::enter()?;
        let cgroup = format!("waggle-{}", gettid());
        let mut keeper = Command::new("sh")
            .arg(folder.join("rigs/private_swarm/engine.sh"))
            .args([&cgroup, "dockerd", "--cgroup-parent", &format!("/{cgroup}")])
            // The machine's systemd would keep scopes for the containers.
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args(["--data-root=/run/data", "--exec-root=/run/docker", "--pidfile=/run/docker.pid"])
            .arg(format!("--host=unix://{}", engine::SOCKET))
            .env_clear()
            .env("PATH", search_path(&tools))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(engine::LOG)?)
            // What ends the test's process group must not end the one who cleans up.
            .process_group(0)
            .spawn()
            .context("start engine.sh")?;
        let holder = first_line(&mut keeper);
        let mut swarm = Self { engine: Engine::new(tools.join("usr/bin/docker")), cgroup, keeper };
        holder
            .and_then(|holder| swarm.come_up(&holder))
            .with_context(|| format!("the engine did not start; its log ends:\n{}", log_end()))?;
        swarm.docker(["swarm", "init", "--advertise-addr", &sandbox::ADDRESS.to_string()])?;
        Ok(swarm)
    }

    /// Waits for the engine's API, and finds the engine's process below the one that holds it.
    fn come_up(&mut self, holder: &str) -> Result<()> {
        let deadline = Instant::now() + START;
        while self.docker(["version"]).is_err() {
            if let Some(status) = self.keeper.try_wait()? {
                bail!("dockerd ended: {status}");
            }
            ensure!(Instant::now() < deadline, "no answer within {START:?}");
            thread::sleep(engine::PAUSE);
        }
        let children = fs::read_to_string(format!("/proc/{holder}/task/{holder}/children"))?;
        let engine = children.trim().parse();
        self.engine.process = engine.with_context(|| format!("{holder} runs '{children}'"))?;
        Ok(())
    }

    /// The name of the cgroup that holds the tasks; unique on the machine while the test runs.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }
}

impl Deref for PrivateSwarm {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl Drop for PrivateSwarm {
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

fn log_end() -> String {
    let log = fs::read_to_string(engine::LOG).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

//! The real Envoy, as a process with ports of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use tempfile::TempDir;

/// How long Envoy may take to be ready, and an admin request to be answered.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running Envoy. It ends when this is dropped, and when the test's process ends in any way.
#[derive(Debug)]
pub struct Envoy {
    process: Child,
    admin: SocketAddr,
    folder: TempDir,
}

/// What an Envoy is started with.
#[derive(Debug)]
pub struct Start<'a> {
    /// The bootstrap, in YAML.
    pub bootstrap: &'a str,
    /// Where the bootstrap has its admin interface.
    pub admin: SocketAddr,
    /// `--service-node`.
    pub node: &'a str,
    /// `--concurrency`.
    pub workers: u32,
}

impl Envoy {
    /// Starts Envoy and does not wait.
    pub fn start(start: &Start<'_>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let bootstrap = folder.path().join("bootstrap.yaml");
        std::fs::write(&bootstrap, start.bootstrap)?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(binary()?)
            .arg("--config-path")
            .arg(&bootstrap)
            .args(["--service-node", start.node, "--service-cluster", "default"])
            .args(["--concurrency", &start.workers.to_string()])
            .args(["--disable-hot-restart", "--log-level", "warning"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = command.spawn().context("cannot start Envoy by setpriv")?;
        Ok(Self { process, admin: start.admin, folder })
    }

    /// Waits until Envoy has its whole configuration.
    pub fn wait_ready(&mut self) -> anyhow::Result<()> {
        self.wait_until("Envoy is ready", |envoy| {
            Ok(envoy.get("/ready").is_ok_and(|answer| answer.trim() == "LIVE"))
        })
    }

    /// Waits until something holds; on failure the log's end is part of the error.
    pub fn wait_until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("Envoy ended: {status}\n{}", self.log_tail());
            }
            if holds(self)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("not within {DEADLINE:?}: {what}\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where the admin interface is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process's ID.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All counters and gauges.
    pub fn stats(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let text = self.get("/stats?format=text")?;
        let number = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        Ok(text.lines().filter_map(number).collect())
    }

    /// One counter or gauge; 0 if Envoy has none of that name yet.
    pub fn stat(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.stats()?.get(name).copied().unwrap_or_default())
    }

    /// Everything that Envoy is configured with.
    pub fn config_dump(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.get("/config_dump?include_eds")?)?)
    }

    /// An admin page. (By curl: the interface speaks no HTTP/1.0, and chunks what it answers.)
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("http://{}{path}", self.admin);
        let limit = DEADLINE.as_secs().to_string();
        let page = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", &limit])
            .arg(&url)
            .output()
            .context("cannot start curl")?;
        if !page.status.success() {
            bail!("{url}: {}", String::from_utf8_lossy(&page.stderr).trim());
        }
        Ok(String::from_utf8(page.stdout)?)
    }

    /// What Envoy wrote to stdout (the access log) and stderr.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The real Envoy's path; installs it where it is missing.
pub fn binary() -> anyhow::Result<&'static Path> {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = FOUND.get() {
        return Ok(path);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools.sh");
    let output = Command::new(script).arg("envoy").stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{script} envoy failed: {}", output.status);
    }
    let path = String::from_utf8(output.stdout)?.trim().into();
    Ok(FOUND.get_or_init(|| path))
}

/// A loopback address that was free a moment ago.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

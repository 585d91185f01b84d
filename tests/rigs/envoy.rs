//! The real Envoy, as a process with ports of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{DEADLINE, Process, built, free_address, page};

mod entry;

pub use entry::{Drain, Entry};

/// The name of a bootstrap that people can read.
const YAML: &str = "bootstrap.yaml";

/// A running Envoy. It ends when this is dropped, and when the test's process ends in any way.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    _folder: TempDir,
}

impl Envoy {
    /// Starts Envoy with our bootstrap for this controller, in the default cluster, and does not
    /// wait.
    pub fn start(controller: SocketAddr, node: &str, workers: u32) -> anyhow::Result<Self> {
        Self::start_in("default", controller, node, workers)
    }

    /// As [`Envoy::start`], in this node cluster.
    pub fn start_in(
        cluster: &str,
        controller: SocketAddr,
        node: &str,
        workers: u32,
    ) -> anyhow::Result<Self> {
        let (admin, health) = (free_address()?, free_address()?);
        let bootstrap = bootstrap(controller, admin, health)?;
        Self::run(YAML, bootstrap.as_bytes(), admin, (cluster, node), workers, &Launch::plain()?)
    }

    /// Starts Envoy with a bootstrap whose admin interface is at `admin`, and does not wait.
    pub fn start_with(
        bootstrap: &str,
        admin: SocketAddr,
        node: &str,
        workers: u32,
    ) -> anyhow::Result<Self> {
        let names = ("default", node);
        Self::run(YAML, bootstrap.as_bytes(), admin, names, workers, &Launch::plain()?)
    }

    /// As [`Envoy::start_with`], where the bootstrap is an encoded message.
    pub fn start_encoded(
        bootstrap: &[u8],
        admin: SocketAddr,
        node: &str,
        workers: u32,
    ) -> anyhow::Result<Self> {
        let names = ("default", node);
        Self::run("bootstrap.pb", bootstrap, admin, names, workers, &Launch::plain()?)
    }

    /// Envoy tells by the file's name how the bootstrap is written.
    fn run(
        file: &str,
        bootstrap: &[u8],
        admin: SocketAddr,
        (cluster, node): (&str, &str),
        workers: u32,
        launch: &Launch<'_>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join(file);
        std::fs::write(&config, bootstrap)?;
        let config = config.display().to_string();
        let workers = workers.to_string();
        let arguments = [
            ["--config-path", &config],
            ["--service-node", node],
            ["--service-cluster", cluster],
            ["--concurrency", &workers],
            ["--log-level", "warning"],
        ];
        let arguments = arguments.iter().flatten().chain(&["--disable-hot-restart"]);
        let arguments = launch.before.iter().copied().chain(arguments.map(OsStr::new));
        let log = folder.path().join("log");
        let process = Process::start(launch.program, arguments, launch.environment, &log)?;
        Ok(Self { process, admin, _folder: folder })
    }

    /// Waits until Envoy has its whole configuration.
    pub fn wait_ready(&mut self) -> anyhow::Result<()> {
        self.wait_until("Envoy is ready", |envoy| {
            Ok(envoy.get("/ready").is_ok_and(|answer| answer.trim() == "LIVE"))
        })
    }

    /// Waits until something holds.
    pub fn wait_until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while !holds(self)? {
            if !self.process.is_running() {
                bail!("Envoy has ended; its log ends\n{}", self.process.log_tail());
            }
            if Instant::now() > deadline {
                let log = self.process.log_tail();
                bail!("not within {DEADLINE:?}: {what}; Envoy's log ends\n{log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Where the admin interface is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Ends it by SIGKILL.
    pub fn end(&mut self) {
        self.process.end();
    }

    /// The process's ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// All counters and gauges.
    pub fn stats(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        Ok(numbers(&self.get("/stats")?))
    }

    /// One counter or gauge; 0 if Envoy has none of that name yet.
    pub fn stat(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.stats()?.get(name).copied().unwrap_or_default())
    }

    /// How often it has taken a new configuration of the filter.
    pub fn filter_updates(&self) -> anyhow::Result<u64> {
        let is_it = |name: &str| {
            name.starts_with("extension_config_discovery.") && name.ends_with(".config_reload")
        };
        let stats = self.stats()?;
        Ok(stats.iter().filter(|(name, _)| is_it(name)).map(|(_, count)| count).sum())
    }

    /// How often it has made a VM of the filter anew, or failed to: never, unless the filter panics.
    pub fn vm_reloads(&self) -> anyhow::Result<u64> {
        let is_it = |name: &str| {
            name.ends_with(".vm_reload_success") || name.ends_with(".vm_reload_failure")
        };
        let stats = self.stats()?;
        Ok(stats.iter().filter(|(name, _)| is_it(name)).map(|(_, count)| count).sum())
    }

    /// Everything that Envoy is configured with.
    pub fn config_dump(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.get("/config_dump?include_eds")?)?)
    }

    /// An admin page.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        page(self.admin, path)
    }

    /// What Envoy wrote to stdout (the access log) and stderr.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// What is started: Envoy itself, or what starts it.
struct Launch<'a> {
    program: &'a Path,
    /// Arguments before those of Envoy.
    before: &'a [&'a OsStr],
    environment: &'a [(&'a str, &'a str)],
}

impl Launch<'_> {
    fn plain() -> anyhow::Result<Self> {
        Ok(Self { program: binary()?, before: &[], environment: &[] })
    }
}

/// Our bootstrap for these addresses.
/// Our bootstrap for a controller, as `waggle bootstrap` prints it.
pub fn bootstrap(
    controller: SocketAddr,
    admin: SocketAddr,
    health: SocketAddr,
) -> anyhow::Result<String> {
    let printed = Command::new(built("waggle")?)
        .args(["bootstrap", "--controller", &controller.to_string()])
        .args(["--admin", &admin.to_string(), "--health", &health.to_string()])
        .output()?;
    Ok(String::from_utf8(printed.stdout)?)
}

/// The parts of a configuration dump for which this holds, but not what is within them.
pub fn parts(dump: &Value, is_part: &dyn Fn(&Value) -> bool) -> Vec<Value> {
    match dump {
        part if is_part(part) => vec![part.clone()],
        Value::Object(fields) => fields.values().flat_map(|it| parts(it, is_part)).collect(),
        Value::Array(items) => items.iter().flat_map(|it| parts(it, is_part)).collect(),
        _ => vec![],
    }
}

/// The counters and gauges of the page `/stats`.
pub fn numbers(stats: &str) -> BTreeMap<String, u64> {
    let number = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    stats.lines().filter_map(number).collect()
}

/// All endpoints of the page `/clusters`, as `pool address`, without those of the controller.
pub fn members(clusters: &str) -> BTreeSet<String> {
    let member = |line: &str| {
        let mut parts = line.split("::");
        let (pool, address) = (parts.next()?, parts.next()?);
        let is_member = parts.next() == Some("cx_active") && pool != "xds";
        is_member.then(|| format!("{pool} {address}"))
    };
    clusters.lines().filter_map(member).collect()
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

//! Our own programs, as processes of a test.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything that a rig waits for may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A process that ends when this is dropped, and when the test's own process ends in any way.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to the file `log`, after what is there.
    pub fn start(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: &[(&str, &str)],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            // Ctrl-C is for the one who started it, who ends it in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {} by setpriv", program.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let process = Pid::from_raw(i32::try_from(self.id())?);
        kill(process, signal).with_context(|| format!("{signal} to {process}"))
    }

    /// Ends it by SIGKILL.
    pub fn end(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Everything that it printed so far.
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The last lines that it printed.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where cargo puts a program of this workspace.
pub fn built(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    existing(found, name)
}

/// The filter's module.
pub fn filter_module() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let name = "wasm32-wasip1/release/waggle_filter.wasm";
    existing(own.ancestors().skip(2).take(3).map(|folder| folder.join(name)), name)
}

/// The filter's module, built to panic on the request header `x-waggle-panic`. It is built where it is
/// asked for, apart from the real one.
pub fn panicking_filter_module() -> anyhow::Result<PathBuf> {
    let module = filter_module()?;
    let folder = module.ancestors().nth(3).context("no folder of builds")?.join("panic-for-tests");
    let built = Command::new("cargo")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["wasm", "--quiet", "--features", "panic-for-tests", "--target-dir"])
        .arg(&folder)
        .output()
        .context("cargo is needed")?;
    if !built.status.success() {
        bail!("cargo wasm: {}", String::from_utf8_lossy(&built.stderr).trim());
    }
    Ok(folder.join("wasm32-wasip1/release/waggle_filter.wasm"))
}

fn existing(mut paths: impl Iterator<Item = PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
    paths.find(|path| path.is_file()).with_context(|| format!("{name} is not built: make programs"))
}

/// Ports that are handed out: below those that Linux gives to connections by itself.
const PORTS: Range<u32> = 10_000..32_000;

/// A loopback address whose port is free on all addresses of the machine. No port is handed out twice
/// by a process, and processes begin far apart: it is still free when a program of the test takes it.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    static HANDED_OUT: AtomicU32 = AtomicU32::new(0);
    /// A prime, so that the processes of neighbouring tests do not meet.
    const APART: u32 = 7_919;
    let number = PORTS.end - PORTS.start;
    for _ in PORTS {
        let turn = HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        let place = std::process::id().wrapping_mul(APART).wrapping_add(turn) % number;
        let port = u16::try_from(PORTS.start + place)?;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
    }
    bail!("no port of {PORTS:?} is free")
}

/// A page of a local status server: the body of a 200.
pub fn page(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let url = format!("http://{address}{path}");
    let answer = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--noproxy", "*"])
        .args(["--max-time", &DEADLINE.as_secs().to_string(), &url])
        .output()
        .context("curl is needed")?;
    if !answer.status.success() {
        bail!("{url}: {}", String::from_utf8_lossy(&answer.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// Waits until something is there; tries every 10 ms.
pub async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("not within {DEADLINE:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

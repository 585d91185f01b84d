//! A network and a file tree of a test's own, so that it may change both and leave no trace.
//!
//! The calling thread moves into fresh namespaces. Threads and processes that it starts afterwards
//! move with it, and the kernel takes everything back when the last of them ends, however it ends:
//!
//! ```text
//! network   lo with 127.0.0.1 and ADDRESS, nothing else: no way out, all ports free
//! /run      an empty tmpfs: no socket of the machine's own services is in reach
//! /etc      a copy on write: a resolver that refuses at once, no settings of Docker
//! ```

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Uid;

/// The sandbox's address beside 127.0.0.1: what a Swarm's node advertises.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);

/// Says whether a sandbox can be had: the caller decides what its absence means.
///
/// # Errors
///
/// Without root.
pub fn check_root() -> Result<()> {
    ensure!(
        Uid::effective().is_root(),
        "this needs root: it makes namespaces, mounts and cgroups of its own"
    );
    Ok(())
}

/// Moves the calling thread into a sandbox. Call it before a runtime starts its threads.
///
/// There is no way back for the thread: one sandbox a thread.
///
/// # Errors
///
/// Without root, and where the kernel or a missing `ip` refuses a step.
pub fn enter() -> Result<()> {
    check_root()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).context("unshare namespaces")?;
    // Nothing that is mounted from here on shows outside.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("make / private")?;
    mount_new("tmpfs", "/run", "mode=755")?;
    cover_etc()?;
    // An engine that sees AppArmor loads a profile of its own into the kernel, and it would stay.
    if Path::new("/sys/kernel/security").exists() {
        mount_new("tmpfs", "/sys/kernel/security", "size=0")?;
    }
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    run(Command::new("ip").args(["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"]))?;
    Ok(())
}

/// Runs a command to its end and returns what it printed, without the last line's end.
///
/// # Errors
///
/// If it cannot start or fails; the error carries the command and what it complained.
pub fn run(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&stdout).trim_end().to_owned())
}

fn mount_new(kind: &str, target: &str, options: &str) -> Result<()> {
    mount(Some("waggle"), target, Some(kind), MsFlags::empty(), Some(options))
        .with_context(|| format!("mount {kind} on {target}"))
}

fn cover_etc() -> Result<()> {
    fs::create_dir_all("/run/etc/upper")?;
    fs::create_dir_all("/run/etc/work")?;
    mount_new("overlay", "/etc", "lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work")?;
    absent(fs::remove_dir_all("/etc/docker"))?;
    // A link to a resolver's file under /run leads nowhere now.
    absent(fs::remove_file("/etc/resolv.conf"))?;
    // An engine that cannot ask a registry at once keeps each task in `Preparing` for half a minute.
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.1\n").context("write /etc/resolv.conf")
}

fn absent(removed: std::io::Result<()>) -> std::io::Result<()> {
    removed.or_else(|error| (error.kind() == ErrorKind::NotFound).then_some(()).ok_or(error))
}

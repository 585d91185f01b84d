//! A stand-in for IPVS, where the kernel has none: NAT rules that spread the connections of one
//! service's tasks to a VIP evenly over the tasks behind it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde_json::json;

use super::engine::Engine;
use super::task::{Task, without_prefix};
use crate::sandbox::run;

/// How long a change of tasks may go unnoticed.
const REFRESH: Duration = Duration::from_millis(100);

/// VIPs work for one service's tasks while this value lives.
///
/// The rules follow the tasks a tenth of a second behind; [`VipForwarding::refresh`] waits for them.
pub struct VipForwarding {
    rules: Option<Arc<Mutex<Rules>>>,
    follower: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

struct Rules {
    engine: Engine,
    client: String,
    /// What each container of the client has been given.
    written: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    endpoint: Endpoint,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default, rename = "VirtualIPs")]
    virtual_ips: Vec<VirtualIp>,
}

#[derive(Deserialize)]
struct VirtualIp {
    #[serde(rename = "NetworkID")]
    network: String,
    #[serde(default, rename = "Addr")]
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    id: String,
    name: String,
}

impl VipForwarding {
    pub(super) fn start(engine: Engine, client: &str) -> Result<Self> {
        if Path::new("/proc/thread-self/net/ip_vs").exists() {
            return Ok(Self { rules: None, follower: None });
        }
        eprintln!(
            "NOTE: this kernel has no IPVS. NAT rules in the network of {client}'s tasks stand in \
             for it: VIP traffic is real up to the VIP, and spread by iptables from there."
        );
        let rules = Rules { engine, client: client.to_owned(), written: BTreeMap::new() };
        let rules = Arc::new(Mutex::new(rules));
        let (stop, stopped) = mpsc::channel();
        refresh(&rules)?;
        let shared = Arc::clone(&rules);
        let follower = thread::spawn(move || {
            while stopped.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
                // Tasks come and go between two calls; the next round sees them as they are.
                let _ = refresh(&shared);
            }
        });
        Ok(Self { rules: Some(rules), follower: Some((stop, follower)) })
    }

    /// Brings the rules up to date with the tasks that run now.
    ///
    /// # Errors
    ///
    /// If the engine does not answer or the rules cannot be written.
    pub fn refresh(&self) -> Result<()> {
        self.rules.as_ref().map_or(Ok(()), |rules| refresh(rules))
    }
}

impl Drop for VipForwarding {
    fn drop(&mut self) {
        if let Some((stop, follower)) = self.follower.take() {
            drop(stop);
            // Its panic has been printed; there is nothing else to tell.
            let _ = follower.join();
        }
    }
}

fn refresh(rules: &Mutex<Rules>) -> Result<()> {
    rules.lock().map_err(|_| anyhow!("a refresh of the VIP rules panicked"))?.refresh()
}

impl Rules {
    fn refresh(&mut self) -> Result<()> {
        let services: Vec<Service> = self.engine.get("/services", &json!({}))?;
        let networks: Vec<Network> =
            self.engine.get("/networks", &json!({ "scope": ["swarm"] }))?;
        let running = self.engine.wanted_tasks(&json!({ "desired-state": ["running"] }))?;
        let rules = restore_input(&services, &networks, &running);
        let clients = self.engine.tasks(&self.client)?;
        let running = clients.into_iter().filter(|task| task.state == "running");
        for container in running.filter_map(|task| task.container) {
            if self.written.get(&container) != Some(&rules) {
                self.write(&container, &rules)?;
                self.written.insert(container, rules.clone());
            }
        }
        Ok(())
    }

    fn write(&self, container: &str, rules: &str) -> Result<()> {
        let jump = ["OUTPUT", "-p", "tcp", "-j", "WAGGLE"];
        if !self.written.contains_key(container) {
            restore(&self.engine, container, "*nat\n:WAGGLE -\nCOMMIT\n")?;
            let mut insert = self.engine.inside(container, "iptables")?;
            run(insert.args(["-t", "nat", "-I"]).args(jump))?;
        }
        restore(&self.engine, container, rules)
    }
}

/// Replaces the chain as a whole: no connection sees half of a change.
fn restore(engine: &Engine, container: &str, rules: &str) -> Result<()> {
    let mut restore = engine.inside(container, "iptables-restore")?;
    let mut child = restore.arg("--noflush").stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("iptables-restore reads nothing")?.write_all(rules.as_bytes())?;
    ensure!(child.wait()?.success(), "iptables-restore refuses in {container}:\n{rules}");
    Ok(())
}

/// One chain that holds a rule for each task behind each VIP.
fn restore_input(services: &[Service], networks: &[Network], tasks: &[Task]) -> String {
    let mut rules = "*nat\n:WAGGLE -\n".to_owned();
    for service in services {
        for vip in &service.endpoint.virtual_ips {
            let network = networks.iter().find(|network| network.id == vip.network);
            let (Some(network), Some(address)) = (network, without_prefix(&vip.address)) else {
                continue;
            };
            let mut behind: Vec<IpAddr> = tasks
                .iter()
                .filter(|task| task.service == service.id && task.state == "running")
                .filter_map(|task| task.addresses.get(&network.name).copied())
                .collect();
            behind.sort_unstable();
            write_rules(&mut rules, address, &behind);
        }
    }
    rules + "COMMIT\n"
}

/// The first of four tasks takes each fourth connection, the next each third of the rest, and so on.
fn write_rules(rules: &mut String, vip: IpAddr, tasks: &[IpAddr]) {
    for (before, task) in tasks.iter().enumerate() {
        let every = tasks.len() - before;
        // Writing into a string does not fail.
        let _ = writeln!(
            rules,
            "-A WAGGLE -d {vip} -p tcp -m statistic --mode nth --every {every} --packet 0 \
             -j DNAT --to-destination {task}"
        );
    }
}

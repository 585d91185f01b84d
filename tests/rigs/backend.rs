//! What stands behind endpoints: the real demo application, and a balancer for virtual IPs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::engine::Service;
use crate::program::{Process, built, eventually};

/// Demo applications, one at each address.
#[derive(Debug)]
pub struct Backends {
    folder: TempDir,
    running: BTreeMap<SocketAddr, Process>,
}

impl Backends {
    /// None yet.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, running: BTreeMap::new() })
    }

    /// Runs the application at the address of each task of a service, as far as it does not run
    /// yet, and waits until all take connections. `METADATA` is the service's name.
    pub async fn serve(&mut self, service: &Service, port: u16) -> anyhow::Result<()> {
        for task in service.tasks() {
            let address = SocketAddr::new(task.address(), port);
            self.run(address, &address.ip().to_string(), service.name()).await?;
        }
        Ok(())
    }

    /// Runs the application at one address, if it does not run yet.
    pub async fn run(
        &mut self,
        address: SocketAddr,
        instance: &str,
        metadata: &str,
    ) -> anyhow::Result<()> {
        if self.running.contains_key(&address) {
            return Ok(());
        }
        let listen = address.to_string();
        let environment =
            [("LISTEN", listen.as_str()), ("INSTANCE", instance), ("METADATA", metadata)];
        let log = self.folder.path().join("log");
        let process = Process::start(&built("waggle-demo")?, [""; 0], &environment, &log)?;
        self.running.insert(address, process);
        eventually("the application listens", async || {
            Ok(TcpStream::connect(address).await.ok().map(drop))
        })
        .await
    }

    /// Ends the application at an address.
    pub fn end(&mut self, address: SocketAddr) {
        self.running.remove(&address);
    }
}

/// A virtual IP: takes connections and gives each to the next address, as IPVS does.
#[derive(Debug)]
pub struct VirtualIp {
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    _task: AbortOnDropHandle<()>,
}

impl VirtualIp {
    /// Listens at `address`, with nobody behind it.
    pub async fn start(address: IpAddr, port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((address, port))
            .await
            .with_context(|| format!("the virtual IP {address}:{port}"))?;
        let targets: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let task = tokio::spawn(balance(listener, Arc::clone(&targets)));
        Ok(Self { targets, _task: AbortOnDropHandle::new(task) })
    }

    /// Whom new connections go to, in turn; with nobody, they are closed.
    pub fn set(&self, targets: impl IntoIterator<Item = SocketAddr>) {
        let mut place = self.targets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *place = targets.into_iter().collect();
    }
}

async fn balance(listener: TcpListener, targets: Arc<Mutex<Vec<SocketAddr>>>) {
    let turn = AtomicUsize::new(0);
    while let Ok((mut client, _)) = listener.accept().await {
        let target = {
            let targets = targets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            turn.checked_rem(targets.len()).and_then(|index| targets.get(index).copied())
        };
        let Some(target) = target else { continue };
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            let _either_end_left = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

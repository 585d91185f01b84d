//! A unix socket at another place, as long as somebody holds it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Relays connections; all are cut when it is dropped, and the socket's file goes.
pub struct Relay {
    path: PathBuf,
    _serving: AbortOnDropHandle<()>,
}

impl Relay {
    /// Listens at `path` for the one who listens at `target`. Call it within a runtime.
    pub fn start(path: &Path, target: &Path) -> Result<Self> {
        if path.exists() {
            fs::remove_file(path)?;
        }
        fs::create_dir_all(path.parent().context("a socket has a folder")?)?;
        let listener = UnixListener::bind(path)?;
        let target = target.to_owned();
        let serving = tokio::spawn(async move {
            // They end with the one who accepts them.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let target = target.clone();
                connections.spawn(async move {
                    let Ok(mut server) = UnixStream::connect(target).await else { return };
                    let _either_end_left = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Ok(Self { path: path.to_owned(), _serving: AbortOnDropHandle::new(serving) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Gone already: another one listens there.
        drop(fs::remove_file(&self.path));
    }
}

//! The state directory: the last picture of the Swarm, the ledger and the session key.
//!
//! With it, a controller that restarts gives no host away, and serves Envoys even while Docker does
//! not answer. It is a convenience: where it cannot be used, the controller warns and goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::Memory;
use crate::keys;
use crate::routing::Ledger;
use crate::swarm::Picture;

/// Grows when the kept form changes; another form is not read.
const FORMAT: u32 = 2;

const KEPT: &str = "kept.json";
const SESSION_KEY: &str = "session.key";

/// A directory for what outlives the process.
#[derive(Debug)]
pub struct StateDir(PathBuf);

/// What a controller knew when it last saw a change.
#[derive(Debug, Deserialize)]
pub struct Kept {
    format: u32,
    picture: Picture,
    ledger: Ledger,
}

impl Kept {
    /// The last picture, and the ledger that belongs to it.
    pub fn into_parts(self) -> (Picture, Ledger) {
        (self.picture, self.ledger)
    }
}

/// [`Kept`], as it is written.
#[derive(Serialize)]
struct Keeping<'a> {
    format: u32,
    picture: &'a Picture,
    ledger: &'a Ledger,
}

/// Why the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file or the directory could not be read or written.
    #[error("{}: {source}; give a writable directory by --state-dir", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kept state is not ours, or of another version.
    #[error("{}: {reason}; the file is left out and written anew", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The kept session key is broken.
    #[error("{}: {source}", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: keys::KeyError,
    },
    /// The system gave no randomness for a new key.
    #[error("no randomness for a session key: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl StateDir {
    /// Opens the directory, making it (mode 0700) where it is missing.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| StateError::Io { path: path.to_owned(), source })?;
        Ok(Self(path.to_owned()))
    }

    /// What was kept last, if anything.
    pub fn load(&self) -> Result<Option<Kept>, StateError> {
        let Some(text) = self.read(KEPT)? else { return Ok(None) };
        let unreadable =
            |reason: String| StateError::Unreadable { path: self.0.join(KEPT), reason };
        let kept: Kept =
            serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        if kept.format != FORMAT {
            return Err(unreadable(format!("format {} is not {FORMAT}", kept.format)));
        }
        Ok(Some(kept))
    }

    /// Keeps a state in place of the last one; a crash leaves one of the two whole.
    pub fn save(&self, memory: &Memory) -> Result<(), StateError> {
        let keeping = Keeping { format: FORMAT, picture: &memory.picture, ledger: &memory.ledger };
        self.replace(KEPT, |file| Ok(serde_json::to_writer(file, &keeping)?))
    }

    /// The session key of this directory, made on first use.
    pub fn session_key(&self) -> Result<Vec<String>, StateError> {
        if let Some(text) = self.read(SESSION_KEY)? {
            return keys::parse(&text)
                .map_err(|source| StateError::Key { path: self.0.join(SESSION_KEY), source });
        }
        let key = keys::generate()?;
        self.replace(SESSION_KEY, |file| writeln!(file, "{key}"))?;
        Ok(vec![key])
    }

    fn read(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.0.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Io { path, source }),
        }
    }

    /// Puts a file in place that is written meanwhile: its text, which may be long, is nowhere else.
    fn replace(
        &self,
        name: &str,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), StateError> {
        let path = self.0.join(name);
        let fresh = self.0.join(format!("{name}.new"));
        let write = || -> io::Result<()> {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            let mut file = BufWriter::new(file);
            content(&mut file)?;
            file.into_inner()?.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(|source| StateError::Io { path: path.clone(), source })
    }
}

/// Saving takes at most one part in so many of the time: a state of 100,000 tasks is 30 MB.
const SHARE: u32 = 20;

/// Saves each new state until `shutdown`, and the last one then. While one is written, and for some
/// time after a long one, newer ones replace each other.
pub async fn keep(
    state: StateDir,
    mut memories: watch::Receiver<Option<Memory>>,
    shutdown: CancellationToken,
) {
    let mut failing = false;
    while let Some(Ok(())) = shutdown.run_until_cancelled(memories.changed()).await {
        let began = Instant::now();
        failing = save_newest(&state, &mut memories, failing);
        let pause = began.elapsed().saturating_mul(SHARE - 1);
        let _paused_or_ended = shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
    if memories.has_changed().unwrap_or(true) {
        save_newest(&state, &mut memories, failing);
    }
}

/// Returns whether it failed; a failure that goes on is told once.
fn save_newest(
    state: &StateDir,
    memories: &mut watch::Receiver<Option<Memory>>,
    failing: bool,
) -> bool {
    let newest = memories.borrow_and_update().clone();
    let Some(memory) = newest else { return failing };
    match tokio::task::block_in_place(|| state.save(&memory)) {
        Ok(()) => false,
        Err(error) => {
            if !failing {
                tracing::warn!("the state is not kept: {error}");
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_saved_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(&folder.path().join("deep/er")).unwrap();
        assert!(state.load().unwrap().is_none());
        let memory = Memory { picture: Picture::default().into(), ledger: Ledger::default() };
        state.save(&memory).unwrap();
        let (picture, ledger) = state.load().unwrap().unwrap().into_parts();
        assert_eq!((&picture, &ledger), (&*memory.picture, &memory.ledger));
    }

    #[test]
    fn a_session_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        let first = state.session_key().unwrap();
        assert_eq!(state.session_key().unwrap(), first);
        let mode = std::fs::metadata(folder.path().join(SESSION_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_kept_state_that_is_not_ours_is_refused_and_can_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path()).unwrap();
        for bad in ["", "{", r#"{"format":99,"picture":{},"ledger":{}}"#] {
            std::fs::write(folder.path().join(KEPT), bad).unwrap();
            assert!(matches!(state.load(), Err(StateError::Unreadable { .. })), "accepted {bad:?}");
        }
        let memory = Memory { picture: Picture::default().into(), ledger: Ledger::default() };
        state.save(&memory).unwrap();
        assert!(state.load().unwrap().is_some());
    }
}

//! What the store and Envoy told, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::Direction;
use super::store::Write;
use crate::members::Look;

/// A change, from the store to Envoy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// What happened.
    pub(super) direction: Direction,
    /// From the store's stamp to Envoy's use.
    pub(super) took: Duration,
    /// From the store's stamp to the word of our own watch, which comes with the commit.
    pub(super) committed: Duration,
}

impl Sample {
    /// From the commit to Envoy's use: what is not the store's.
    pub(super) fn after_commit(&self) -> Duration {
        self.took.saturating_sub(self.committed)
    }
}

/// All that was told so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    writes: Vec<Write>,
    /// When Envoy first showed each change.
    shown: BTreeMap<(IpAddr, Direction), SystemTime>,
    members: BTreeSet<IpAddr>,
    last: Option<SystemTime>,
    /// Between two answers of Envoy's: how exact the times are.
    gaps: Vec<Duration>,
}

impl Record {
    /// Takes changes that are in the store.
    pub(super) fn write(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.writes.extend(writes);
    }

    /// Takes an answer of Envoy's.
    pub(super) fn look(&mut self, look: Look) {
        let Look { at, members } = look;
        for address in members.difference(&self.members) {
            self.shown.entry((*address, Direction::In)).or_insert(at);
        }
        for address in self.members.difference(&members) {
            self.shown.entry((*address, Direction::Out)).or_insert(at);
        }
        self.members = members;
        if let Some(last) = self.last.replace(at) {
            self.gaps.push(between(last, at));
        }
    }

    /// How many members Envoy has.
    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    /// Forgets what was before, but for the members.
    pub(super) fn begin(&mut self) {
        self.writes.clear();
        self.shown.clear();
        self.gaps.clear();
    }

    /// The changes that have come the whole way.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let sample = |write: &Write| {
            let shown = self.shown.get(&(write.address, write.direction))?;
            Some(Sample {
                direction: write.direction,
                took: between(write.stamped, *shown),
                committed: between(write.stamped, write.heard),
            })
        };
        self.writes.iter().filter_map(sample).collect()
    }

    /// Between two answers of Envoy's.
    pub(super) fn gaps(&self) -> &[Duration] {
        &self.gaps
    }
}

/// Both by the clock of one machine; nothing where it was set back.
fn between(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

//! What people are told of the source: in the log once, in its health always.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::Source;
use crate::swarm::call::CallError;
use crate::swarm::listing::Oddity;
use crate::swarm::reader::Reader;
use crate::swarm::watch::WatchError;
use crate::swarm::{Picture, Via};

impl Source {
    /// Weighs a complete read, and tells what came of it.
    pub(super) fn believe(&mut self, picture: &Arc<Picture>) {
        let doubted = self.belief.doubt();
        self.belief = std::mem::take(&mut self.belief).after(picture);
        let doubt = self.belief.doubt();
        if let Some(doubt) = doubt.filter(|doubt| doubted != Some(*doubt)) {
            tracing::warn!("{doubt}; it is believed only if it stays so");
        }
        if self.failures > 0 {
            tracing::info!(source = %self.settings.docker, "Docker answers again");
        }
        self.failures = 0;
        self.health.send_modify(|health| {
            health.complete_cycles += 1;
            health.last_complete = Some(Instant::now());
            health.failing = None;
            health.doubt = doubt.map(|doubt| doubt.to_string());
        });
    }

    /// Tells that a cycle failed.
    pub(super) fn fail(&mut self, error: &CallError) {
        self.failures = self.failures.saturating_add(1);
        let error = error.to_string();
        let stays = match self.via() {
            Via::Polled => "everything stays as it is",
            Via::Pushed => "only what the watch tells changes",
        };
        self.health.send_if_modified(|health| {
            health.failed_cycles += 1;
            if health.failing.as_ref() != Some(&error) {
                tracing::warn!(%error, "cannot read the Swarm; {stays}");
                health.failing = Some(error);
            }
            true
        });
    }

    /// Tells by which way changes come, and since when.
    pub(super) fn tell_via(&self) {
        let via = self.via();
        self.health.send_if_modified(|health| {
            let new = health.via != via;
            health.via = via;
            if via == Via::Pushed {
                health.watch_failing = None;
            }
            if new && via == Via::Pushed {
                tracing::info!("the watch is in force: changes of the Swarm are pushed");
            }
            new
        });
    }

    /// Tells that there is no watch; one that goes on being away, once.
    pub(super) fn tell_watch_ended(&self, error: &WatchError) {
        let error = error.to_string();
        self.health.send_modify(|health| {
            health.watch_failures += 1;
            if health.watch_failing.as_ref() != Some(&error) {
                tracing::warn!(%error, "changes of the Swarm are polled until the watch is back");
                health.watch_failing = Some(error);
            }
        });
    }

    /// Tells once that the secrets may not be read, and what to allow.
    pub(super) fn tell_unread(&self, error: Option<&CallError>) {
        let unread = error.map(|error| {
            format!("{error}; no service's certificate can be mounted into a proxy until then")
        });
        self.health.send_if_modified(|health| {
            let new = health.unread != unread;
            match unread.as_ref().filter(|_| new) {
                Some(unread) => tracing::warn!("{unread}"),
                None if new => tracing::info!("the names of secrets can be read now"),
                None => {}
            }
            health.unread = unread;
            new
        });
    }

    /// Tells each oddity once, and again if it went away and came back.
    pub(super) fn tell_oddities(&mut self, reader: &Reader<'_>) {
        if reader.oddities().eq(&self.odd) {
            return;
        }
        let odd: BTreeSet<Oddity> = reader.oddities().cloned().collect();
        for oddity in odd.difference(&self.odd) {
            tracing::warn!("Docker's answer is odd: {oddity}");
        }
        self.odd = odd;
    }
}

//! When to look at a proxy service, and whether to act: pure.
//!
//! Each update replaces the proxy's tasks. So changes are gathered, an update that is under way is
//! let finish, a failure is tried again later and later, and what Swarm (or a person) rolled back
//! is not tried again as it was.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::plan::{Item, Plan, Unneeded, Update, Wanted, plan};
use super::refusals::Refusals;
use super::revision::{Revision, Rollout};

/// After the last change of a series, and after its first, the service is looked at.
const GATHER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// An update that is under way is let finish for so long.
const ROLLOUT: Duration = Duration::from_mins(1);
/// The first and the longest pause after a failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// What is remembered of one proxy service.
pub(super) struct Keeper {
    grace: Duration,
    /// What was seen last: the service's version, and what it should have.
    seen: Option<(u64, Wanted)>,
    /// When the changes that are being gathered began.
    gathering: Option<Instant>,
    /// When to look at the service.
    due: Option<Instant>,
    /// Failures in a row, and until when the last one holds things up.
    failures: u32,
    held_up: Option<Instant>,
    unneeded: Unneeded,
    rolling_since: Option<Instant>,
    refusals: Refusals,
}

/// What to do after a look at a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The update to make; none if there is none, or not now.
    pub(super) update: Option<Update>,
    /// What its owner should know, and do.
    pub(super) trouble: Option<String>,
}

impl Keeper {
    /// A keeper that takes what was attached away after so long without need.
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            seen: None,
            gathering: None,
            due: None,
            failures: 0,
            held_up: None,
            unneeded: Unneeded::new(),
            rolling_since: None,
            refusals: Refusals::default(),
        }
    }

    /// Takes the service's version in the last picture, and what it should have.
    pub(super) fn see(&mut self, version: u64, wanted: Wanted, now: Instant) {
        let seen = Some((version, wanted));
        if self.seen == seen {
            return;
        }
        let other_need = |(_, wanted): &(u64, Wanted)| {
            self.seen.as_ref().is_none_or(|(_, before)| before != wanted)
        };
        if self.failures > 0 && seen.as_ref().is_some_and(other_need) {
            // What failed may be gone.
            (self.failures, self.held_up, self.gathering) = (0, None, None);
        }
        self.seen = seen;
        let first = *self.gathering.get_or_insert(now);
        self.due = Some((now + GATHER.0).min(first + GATHER.1));
    }

    /// The service is not there: there is nothing to look at.
    pub(super) fn miss(&mut self) {
        (self.seen, self.gathering, self.due) = (None, None, None);
    }

    /// When to look at the service next; none if only something new is a reason.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.map(|due| self.held_up.map_or(due, |until| due.max(until)))
    }

    /// Looks at the service.
    pub(super) fn look(
        &mut self,
        revision: &Revision,
        now: Instant,
    ) -> Result<Verdict, serde_json::Error> {
        (self.gathering, self.due) = (None, None);
        let wanted = self.seen.as_ref().map(|(_, wanted)| wanted.clone()).unwrap_or_default();
        let planned = |unneeded: &Unneeded, refused: &BTreeSet<Item>| {
            plan(revision, &wanted, unneeded, refused, self.grace, now)
        };
        let (open, unneeded, blocked) = planned(&self.unneeded, &BTreeSet::new())?;
        let open = if let Plan::Update(update) = open { update.items() } else { BTreeSet::new() };
        self.refusals.notice(revision, &open);
        let (plan, _, _) = planned(&unneeded, self.refusals.refused())?;
        self.unneeded = unneeded;
        let rolling = revision.rollout == Rollout::Rolling;
        self.rolling_since = rolling.then(|| self.rolling_since.unwrap_or(now));
        let mut troubles: Vec<String> = blocked
            .iter()
            .map(|name| {
                format!(
                    "the secret {name} cannot be mounted: another secret has its file \
                     /run/secrets/{name}; mount that one elsewhere (`--secret-rm`, \
                     `--secret-add source=…,target=…`)"
                )
            })
            .chain(self.refusals.trouble(revision, &open))
            .collect();
        let update = match plan {
            Plan::Nothing => None,
            Plan::Until(later) => {
                self.due = Some(later);
                None
            }
            Plan::Update(update) => self.in_time(update, revision, now),
        };
        if let (None, Rollout::Paused(message)) = (&update, &revision.rollout) {
            troubles.push(format!(
                "Swarm paused its update: {message}; see `docker service ps {0}`, mend the cause, \
                 then `docker service update --force {0}`",
                revision.name
            ));
        }
        let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
        Ok(Verdict { update, trouble })
    }

    /// The update, unless another one is under way.
    fn in_time(&mut self, update: Update, revision: &Revision, now: Instant) -> Option<Update> {
        let patience = self.rolling_since.unwrap_or(now) + ROLLOUT;
        if revision.rollout == Rollout::Rolling && now < patience {
            self.due = Some(patience);
            return None;
        }
        Some(update)
    }

    /// An update was made that attaches or detaches these.
    pub(super) fn made(&mut self, items: BTreeSet<Item>) {
        (self.failures, self.held_up) = (0, None);
        self.refusals.made(items);
    }

    /// Looking at the service, or updating it, failed.
    pub(super) fn failed(&mut self, now: Instant) {
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        let until = now + RETRY.0.saturating_mul(1 << doublings).min(RETRY.1);
        (self.gathering, self.due, self.held_up) = (None, Some(until), Some(until));
    }
}

#[cfg(test)]
mod tests;

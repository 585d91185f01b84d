//! What was rolled back, and is not tried again: pure.
//!
//! Swarm rolls an update back because new tasks fail, a person because they want it so. Either way
//! nobody's proxy is to be replaced again and again for the same. What other services come to need
//! meanwhile is not held up by it.

use std::collections::BTreeSet;

use super::plan::Item;
use super::revision::{Revision, Rollout};

/// What is remembered of rollbacks of one proxy service.
#[derive(Default)]
pub(super) struct Refusals {
    refused: BTreeSet<Item>,
    /// Swarm's words on the last rollback.
    message: String,
    /// What the last update of ours attached or detached.
    given: BTreeSet<Item>,
    /// The part of the specification that is its owner's, as it was seen last.
    last: Option<u64>,
}

impl Refusals {
    /// Takes a state of the service, for which all of these would be attached or detached.
    pub(super) fn notice(&mut self, revision: &Revision, open: &BTreeSet<Item>) {
        let owners = revision.owners_part();
        let last = self.last.replace(owners);
        match (&revision.rollout, last) {
            // Another controller gave it, or this one before it was started again: all that lacks
            // may be the reason.
            (Rollout::RolledBack(message), None) => {
                self.refused.extend(open.iter().cloned());
                self.message.clone_from(message);
            }
            (Rollout::RolledBack(message), Some(_)) if !self.given.is_empty() => {
                self.refused.append(&mut self.given);
                self.message.clone_from(message);
            }
            // Its owner has changed the service: the reason may be gone.
            (Rollout::Settled | Rollout::Rolling | Rollout::Paused(_), Some(last))
                if last != owners =>
            {
                self.refused.clear();
            }
            _ => {}
        }
    }

    /// An update was made that attaches or detaches these.
    pub(super) fn made(&mut self, items: BTreeSet<Item>) {
        self.given = items;
    }

    /// What is not to be attached or detached.
    pub(super) fn refused(&self) -> &BTreeSet<Item> {
        &self.refused
    }

    /// What its owner should know, and do, where some of what is open is refused.
    pub(super) fn trouble(&self, revision: &Revision, open: &BTreeSet<Item>) -> Option<String> {
        let held: Vec<_> = self.refused.intersection(open).map(ToString::to_string).collect();
        (!held.is_empty()).then(|| {
            format!(
                "its update was rolled back: {}; {} is not tried again; mend the cause, then \
                 `docker service update --label-add waggle.retry=1 {}`, which replaces no task",
                self.message,
                held.join(", "),
                revision.name
            )
        })
    }
}

//! Which of several suspects are at fault: found by trying them in halves.
//!
//! A trial serves everybody but the suspects of the groups that wait. Suspects that are accepted stay;
//! a group that is refused is halved. So each trial adds to what is known to be good, and several
//! culprits are found one after another.

use std::collections::BTreeSet;

use crate::swarm::ServiceId;

/// A search among services that are refused together.
#[derive(Debug)]
pub(super) struct Search {
    /// What is still to be tried; the last is on trial, the others are left out meanwhile.
    groups: Vec<Group>,
    footing: Footing,
}

#[derive(Debug)]
struct Group {
    members: Vec<ServiceId>,
    fate: Fate,
}

/// What is known of a group that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nothing.
    Open,
    /// It was refused together with the group that is tried before it.
    Shared,
}

/// Whether what is served beside the suspects is known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Footing {
    Unknown,
    Good,
}

/// It is refused without any suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blameless;

/// Whose fault a trial has shown, if anybody's.
pub(super) type Found = Result<Option<ServiceId>, Blameless>;

impl Search {
    /// A search among these, which were refused together, and what that shows.
    pub(super) fn begin(members: Vec<ServiceId>) -> (Self, Found) {
        let groups = vec![Group { members, fate: Fate::Open }];
        let mut search = Self { groups, footing: Footing::Unknown };
        let found = search.refused();
        (search, found)
    }

    /// Who is left out of the trial.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &ServiceId> {
        let waiting = self.groups.split_last().map(|(_, waiting)| waiting);
        waiting.into_iter().flatten().flat_map(|group| &group.members)
    }

    /// Whether there is nothing left to try.
    pub(super) fn is_over(&self) -> bool {
        self.groups.is_empty()
    }

    /// The trial was accepted.
    pub(super) fn accepted(&mut self) -> Found {
        self.footing = Footing::Good;
        self.groups.pop();
        match self.groups.last() {
            Some(Group { fate: Fate::Shared, .. }) => self.refused(),
            _ => Ok(None),
        }
    }

    /// The trial was refused.
    pub(super) fn refused(&mut self) -> Found {
        let Some(Group { mut members, .. }) = self.groups.pop() else { return Ok(None) };
        if let Some(below) = self.groups.last_mut() {
            below.fate = Fate::Open;
        }
        if members.is_empty() {
            return Err(Blameless);
        }
        if members.len() == 1 && self.footing == Footing::Good {
            return Ok(members.pop());
        }
        // Of a single one the first half is nobody: the trial of the footing.
        let second = members.split_off(members.len() / 2);
        self.groups.push(Group { members: second, fate: Fate::Shared });
        self.groups.push(Group { members, fate: Fate::Open });
        Ok(None)
    }

    /// These services have changed, come or gone meanwhile. Who is `there` and was not under suspicion
    /// is now.
    pub(super) fn disturb(
        &mut self,
        changed: &BTreeSet<ServiceId>,
        is_there: impl Fn(&ServiceId) -> bool,
    ) {
        let suspects: BTreeSet<_> =
            self.groups.iter().flat_map(|group| group.members.iter().cloned()).collect();
        let fresh = changed.iter().filter(|id| is_there(id) && !suspects.contains(*id));
        let members = fresh.cloned().collect();
        self.groups.insert(0, Group { members, fate: Fate::Open });
        for group in &mut self.groups {
            group.members.retain(&is_there);
            group.fate = Fate::Open;
        }
        self.groups.retain(|group| !group.members.is_empty());
    }
}

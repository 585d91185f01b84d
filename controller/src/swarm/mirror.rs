//! The Swarm as a list showed it and the watch changed it since.
//!
//! A list takes time, and the watch goes on meanwhile: what the watch told since the list was begun
//! is newer than the list. Versions decide the rest: a manager that lags behind the leader tells
//! changes that a list has shown already, and those are nothing new.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::convert::{self, Draft, Versioned};
use super::reader::Lists;
use super::{
    Network, NetworkId, Node, NodeId, Picture, SecretId, ServiceId, Task, TaskId, TaskState,
};

/// A change of one object of the Swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Of a service.
    Service(ServiceId, Now<Draft>),
    /// Of a task.
    Task(TaskId, Now<Task>),
    /// Of a network.
    Network(NetworkId, Now<Network>),
    /// Of a node.
    Node(NodeId, Now<Node>),
}

/// What an object is after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Now<T> {
    /// This.
    Is(Versioned<T>),
    /// In this version it is nothing that a list would show, such as a task that shall not run.
    Unlisted(u64),
    /// Gone for good: Swarm never gives an ID twice.
    Removed,
}

/// What a change is to those who look at the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// It shows nothing new.
    None,
    /// Something is new, or another. It may wait for more of its kind.
    More,
    /// A task that ran shall run no more, or a service is gone: everyone has to know at once.
    Less,
}

/// A moment in the life of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which mirror.
    mirror: u64,
    /// How many changes it had taken.
    changes: u64,
}

/// What a list was to a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    /// It showed what the watch had told.
    Same,
    /// It showed a service or a task that the watch had not told so.
    Corrected,
}

/// The Swarm, object by object.
#[derive(Debug, Clone)]
pub(super) struct Mirror {
    mark: Mark,
    services: Table<ServiceId, Draft>,
    tasks: Table<TaskId, Task>,
    networks: Table<NetworkId, Network>,
    nodes: Table<NodeId, Node>,
    secrets: Option<BTreeMap<String, SecretId>>,
}

impl Mirror {
    /// A mirror that has seen nothing; `number` tells it from those before.
    pub(super) fn new(number: u64) -> Self {
        Self {
            mark: Mark { mirror: number, changes: 0 },
            services: Table::new(),
            tasks: Table::new(),
            networks: Table::new(),
            nodes: Table::new(),
            secrets: None,
        }
    }

    /// Now: a list that begins after this shows at least what was told before it.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Takes a change that the watch told.
    pub(super) fn apply(&mut self, change: Change) -> Effect {
        self.mark.changes += 1;
        let at = self.mark.changes;
        match change {
            Change::Service(id, now) => match self.services.apply(id, now, at) {
                Turn { before: Some(_), after: None } => Effect::Less,
                Turn { before, after } if before.as_ref() == after => Effect::None,
                _ => Effect::More,
            },
            Change::Task(id, now) => {
                let Turn { before, after } = self.tasks.apply(id, now, at);
                let runs = |task: &Task| task.state == TaskState::Running;
                if before.as_ref().is_some_and(runs) && !after.is_some_and(runs) {
                    Effect::Less
                } else if before.as_ref() == after {
                    Effect::None
                } else {
                    Effect::More
                }
            }
            Change::Network(id, now) => self.networks.apply(id, now, at).effect(),
            Change::Node(id, now) => self.nodes.apply(id, now, at).effect(),
        }
    }

    /// This mirror after a list that was begun at a mark of it; none if the mark is of another one,
    /// whose changes may be newer than the list.
    pub(super) fn after(&self, lists: &Lists<'_>, begun: Mark) -> Option<(Self, Agreement)> {
        if begun.mirror != self.mark.mirror {
            return None;
        }
        let since = begun.changes;
        let services = lists.services.iter().map(|draft| {
            let service = &draft.service;
            (service.id.clone(), Versioned { version: service.version, object: draft.clone() })
        });
        let services = self.services.after(services, since);
        let tasks = lists.tasks.iter().map(|task| (task.object.id.clone(), task.clone()));
        let tasks = self.tasks.after(tasks, since);
        let agreement = if services.shows(&self.services) && tasks.shows(&self.tasks) {
            Agreement::Same
        } else {
            Agreement::Corrected
        };
        // Docker lists these two without versions. Nothing of theirs that we know ever changes.
        let networks = self.networks.after(unversioned(lists.networks), since);
        let nodes = self.nodes.after(unversioned(lists.nodes), since);
        let secrets = lists.secrets.cloned();
        let mark = self.mark;
        Some((Self { mark, services, tasks, networks, nodes, secrets }, agreement))
    }

    /// The picture that it shows.
    pub(super) fn picture(&self) -> Picture {
        let networks = self.networks.objects();
        let drafts = self.services.rows.values().filter_map(|row| row.object.as_ref());
        let (services, _unknown) = convert::resolve(drafts, &networks);
        let (tasks, nodes) = (self.tasks.objects(), self.nodes.objects());
        Picture { services, tasks, networks, nodes, secrets: self.secrets.clone() }
    }
}

fn unversioned<K: Clone, T: Clone>(
    objects: &BTreeMap<K, T>,
) -> impl Iterator<Item = (K, Versioned<T>)> {
    objects.iter().map(|(id, it)| (id.clone(), Versioned { version: 0, object: it.clone() }))
}

/// All objects of a kind.
#[derive(Debug, Clone)]
struct Table<K, T> {
    rows: BTreeMap<K, Row<T>>,
    /// The newest version in the last list. The list showed all that was written up to it.
    listed: u64,
}

#[derive(Debug, Clone)]
struct Row<T> {
    version: u64,
    /// The change that told it; 0 if a list did.
    told_by: u64,
    /// None if no list would show it.
    object: Option<T>,
}

/// What an object was before a change and is after it.
struct Turn<'a, T> {
    before: Option<T>,
    after: Option<&'a T>,
}

impl<T: PartialEq> Turn<'_, T> {
    fn effect(&self) -> Effect {
        if self.before.as_ref() == self.after { Effect::None } else { Effect::More }
    }
}

impl<K: Ord + Clone, T: Clone + PartialEq> Table<K, T> {
    fn new() -> Self {
        Self { rows: BTreeMap::new(), listed: 0 }
    }

    fn apply(&mut self, id: K, now: Now<T>, at: u64) -> Turn<'_, T> {
        let (version, object) = match now {
            Now::Is(Versioned { version, object }) => (version, Some(object)),
            Now::Unlisted(version) => (version, None),
            Now::Removed => (u64::MAX, None),
        };
        match self.rows.entry(id) {
            // Nothing new. What the list did not show although it was written by then is gone.
            Entry::Vacant(_) if version <= self.listed => Turn { before: None, after: None },
            Entry::Occupied(row) if version <= row.get().version => {
                let row = row.into_mut();
                Turn { before: row.object.clone(), after: row.object.as_ref() }
            }
            Entry::Vacant(place) => {
                let row = place.insert(Row { version, told_by: at, object });
                Turn { before: None, after: row.object.as_ref() }
            }
            Entry::Occupied(row) => {
                let row = row.into_mut();
                let before = std::mem::replace(row, Row { version, told_by: at, object }).object;
                Turn { before, after: row.object.as_ref() }
            }
        }
    }

    /// The table after a list; what was told after the change `since` is newer than that, unless
    /// the list shows a later version.
    fn after(&self, list: impl Iterator<Item = (K, Versioned<T>)>, since: u64) -> Self {
        let row = |(id, Versioned { version, object })| {
            (id, Row { version, told_by: 0, object: Some(object) })
        };
        let mut rows: BTreeMap<K, Row<T>> = list.map(row).collect();
        let listed = rows.values().map(|row| row.version).max().unwrap_or(0);
        for (id, told) in self.rows.iter().filter(|(_, row)| row.told_by > since) {
            if rows.get(id).is_none_or(|read| read.version <= told.version) {
                rows.insert(id.clone(), told.clone());
            }
        }
        Self { rows, listed }
    }

    /// Whether both show the same objects.
    fn shows(&self, other: &Self) -> bool {
        self.shown().eq(other.shown())
    }

    fn shown(&self) -> impl Iterator<Item = (&K, &T)> {
        self.rows.iter().filter_map(|(id, row)| Some((id, row.object.as_ref()?)))
    }

    fn objects(&self) -> BTreeMap<K, T> {
        self.shown().map(|(id, object)| (id.clone(), object.clone())).collect()
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

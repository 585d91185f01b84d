//! The Swarm as a list showed it and the watch changed it since.
//!
//! A list takes time, and the watch goes on meanwhile: what the watch told since the list was begun
//! is newer than the list. Versions decide the rest: a manager that lags behind the leader tells
//! changes that a list has shown already, and those are nothing new.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::convert::{self, Draft, Versioned};
use super::reader::Lists;
use super::{
    Network, NetworkId, Node, NodeId, Picture, SecretId, Service, ServiceId, Task, TaskId,
    TaskState,
};
use crate::persistent::Map;

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
    secrets: Option<Map<String, SecretId>>,
    resolved: Resolved,
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
            resolved: Resolved::default(),
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
            Change::Service(id, now) => {
                let turn = self.services.apply(id, now, at);
                let effect = match (&turn.before, &turn.after) {
                    (Some(_), None) => Effect::Less,
                    _ => turn.effect(),
                };
                self.resolved.take(&self.services.shown, &self.networks.shown);
                effect
            }
            Change::Task(id, now) => {
                let turn = self.tasks.apply(id, now, at);
                let runs = |task: &Arc<Task>| task.state == TaskState::Running;
                match (&turn.before, &turn.after) {
                    (Some(before), after) if runs(before) && !after.as_ref().is_some_and(runs) => {
                        Effect::Less
                    }
                    _ => turn.effect(),
                }
            }
            Change::Network(id, now) => {
                let effect = self.networks.apply(id, now, at).effect();
                self.resolved.take(&self.services.shown, &self.networks.shown);
                effect
            }
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
            let (id, version) = (draft.service.id.clone(), draft.service.version);
            (id, Versioned { version, object: Arc::clone(draft) })
        });
        let services = self.services.after(services, since);
        let tasks = lists.tasks.iter().map(|task| (task.object.id.clone(), (**task).clone()));
        let tasks = self.tasks.after(tasks, since);
        let agreement = if services.shown == self.services.shown && tasks.shown == self.tasks.shown
        {
            Agreement::Same
        } else {
            Agreement::Corrected
        };
        // Docker lists these two without versions. Nothing of theirs that we know ever changes.
        let networks = self.networks.after(unversioned(lists.networks), since);
        let nodes = self.nodes.after(unversioned(lists.nodes), since);
        let secrets = lists.secrets.cloned();
        let mark = self.mark;
        let mut resolved = self.resolved.clone();
        resolved.take(&services.shown, &networks.shown);
        Some((Self { mark, services, tasks, networks, nodes, secrets, resolved }, agreement))
    }

    /// The picture that it shows. What two pictures of one mirror, or of one that came of it, have in
    /// common is shared.
    pub(super) fn picture(&self) -> Picture {
        Picture {
            services: self.resolved.services.clone(),
            tasks: self.tasks.shown.clone(),
            networks: self.networks.shown.clone(),
            nodes: self.nodes.shown.clone(),
            secrets: self.secrets.clone(),
        }
    }
}

fn unversioned<K: Clone, T>(objects: &Map<K, T>) -> impl Iterator<Item = (K, Versioned<T>)> {
    let objects = objects.iter_shared();
    objects.map(|(id, it)| (id.clone(), Versioned { version: 0, object: Arc::clone(it) }))
}

/// The services with their networks, and what they follow from.
#[derive(Debug, Clone, Default)]
struct Resolved {
    drafts: Map<ServiceId, Draft>,
    networks: Map<NetworkId, Network>,
    services: Map<ServiceId, Service>,
}

impl Resolved {
    /// Makes anew what other drafts and networks change.
    fn take(&mut self, drafts: &Map<ServiceId, Draft>, networks: &Map<NetworkId, Network>) {
        if self.networks == *networks {
            let changed: Vec<_> = self.drafts.changes(drafts).collect();
            for id in changed.iter().filter(|it| it.after.is_none()).map(|it| it.key) {
                self.services.remove(id);
            }
            let written = changed.iter().filter_map(|change| change.after.map(Arc::as_ref));
            let (services, _unknown) = convert::resolve(written, networks);
            for (id, service) in services {
                self.services.put(id, service);
            }
        } else {
            let (services, _unknown) = convert::resolve(drafts.values(), networks);
            let services = services.into_iter().map(|(id, service)| (id, Arc::new(service)));
            self.services = self.services.following(services.collect());
        }
        (self.drafts, self.networks) = (drafts.clone(), networks.clone());
    }
}

/// All objects of a kind.
#[derive(Debug, Clone)]
struct Table<K, T> {
    rows: BTreeMap<K, Row>,
    /// Those that a list would show. Each has a row.
    shown: Map<K, T>,
    /// The newest version in the last list. The list showed all that was written up to it.
    listed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    version: u64,
    /// The change that told it; 0 if a list did.
    told_by: u64,
}

/// What an object was before a change and is after it.
struct Turn<T> {
    before: Option<Arc<T>>,
    after: Option<Arc<T>>,
}

impl<T: PartialEq> Turn<T> {
    fn effect(&self) -> Effect {
        if self.before == self.after { Effect::None } else { Effect::More }
    }
}

impl<K: Ord + Clone, T: PartialEq> Table<K, T> {
    fn new() -> Self {
        Self { rows: BTreeMap::new(), shown: Map::default(), listed: 0 }
    }

    fn apply(&mut self, id: K, now: Now<T>, at: u64) -> Turn<T> {
        let (version, object) = match now {
            Now::Is(Versioned { version, object }) => (version, Some(object)),
            Now::Unlisted(version) => (version, None),
            Now::Removed => (u64::MAX, None),
        };
        let before = self.shown.get_shared(&id).cloned();
        let row = Row { version, told_by: at };
        match self.rows.entry(id.clone()) {
            // Nothing new. What the list did not show although it was written by then is gone.
            Entry::Vacant(_) if version <= self.listed => {
                return Turn { before: None, after: None };
            }
            Entry::Occupied(row) if version <= row.get().version => {
                return Turn { after: before.clone(), before };
            }
            Entry::Vacant(place) => drop(place.insert(row)),
            Entry::Occupied(mut place) => drop(place.insert(row)),
        }
        let after = object;
        match &after {
            // An equal one stays shared.
            Some(object) if before.as_ref() == Some(object) => {}
            Some(object) => drop(self.shown.insert_shared(id, Arc::clone(object))),
            None => drop(self.shown.remove(&id)),
        }
        Turn { before, after }
    }

    /// The table after a list; what was told after the change `since` is newer than that, unless
    /// the list shows a later version.
    fn after(&self, list: impl Iterator<Item = (K, Versioned<T>)>, since: u64) -> Self {
        let (mut rows, mut shown) = (BTreeMap::new(), BTreeMap::new());
        for (id, Versioned { version, object }) in list {
            rows.insert(id.clone(), Row { version, told_by: 0 });
            shown.insert(id, object);
        }
        let listed = rows.values().map(|row| row.version).max().unwrap_or(0);
        for (id, told) in self.rows.iter().filter(|(_, row)| row.told_by > since) {
            if rows.get(id).is_some_and(|read| read.version > told.version) {
                continue;
            }
            rows.insert(id.clone(), *told);
            match self.shown.get_shared(id) {
                Some(object) => drop(shown.insert(id.clone(), Arc::clone(object))),
                None => drop(shown.remove(id)),
            }
        }
        Self { rows, shown: self.shown.following(shown), listed }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

//! A sorted map whose copies share what they have in common.
//!
//! A Swarm changes a little at a time, and each step of the flow keeps its last result to change that
//! alone. So its maps are made to be copied, changed and compared at the price of the change:
//!
//! ```text
//! Map ─▶ [ leaf │ leaf │ leaf │ … ]    a copy shares all leaves; a change copies one of them
//!            │
//!            └▶ [ (key, value) … ]     at most 64 entries, sorted; values are shared too
//! ```
//!
//! [`Map::changes`] passes over every leaf and every value that two maps share by their address.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

mod changes;
mod walk;

pub use changes::{Change, Changes};
pub use walk::Walk;

/// The most entries of a leaf.
const FULL: usize = 64;

type Entry<K, V> = (K, Arc<V>);
type Leaf<K, V> = Arc<Vec<Entry<K, V>>>;

/// A sorted map whose copies share what they have in common.
pub struct Map<K, V> {
    /// In order; none is empty.
    leaves: Arc<Vec<Leaf<K, V>>>,
    len: usize,
}

impl<K, V> Map<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether two maps are one and the same: a cheap way to find that nothing has changed. Equal
    /// maps may be different ones.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.leaves, &other.leaves)
    }

    /// All entries, by key.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { leaves: self.leaves.iter(), leaf: [].iter() }
    }

    /// All entries, by key, their values to be shared.
    pub fn iter_shared(&self) -> impl Iterator<Item = (&K, &Arc<V>)> {
        self.leaves.iter().flat_map(|leaf| leaf.iter().map(|(key, value)| (key, value)))
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, by key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> Map<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_shared(key).map(|value| &**value)
    }

    /// The value of a key, to be shared.
    pub fn get_shared<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        let leaf = self.leaves.get(self.leaf_of(key))?;
        leaf.get(place_in(leaf, key).ok()?).map(|(_, value)| value)
    }

    /// Whether there is a value of a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get_shared(key).is_some()
    }

    /// The entries from a key on, by key.
    pub fn starting_at<Q: Ord + ?Sized>(&self, key: &Q) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let at = self.leaf_of(key);
        let leaf = self.leaves.get(at).map_or(&[][..], |leaf| leaf.as_slice());
        let within = leaf.partition_point(|(own, _)| own.borrow() < key);
        let rest = self.leaves.get(at.saturating_add(1)..).unwrap_or_default();
        Iter { leaves: rest.iter(), leaf: leaf.get(within..).unwrap_or_default().iter() }
    }

    /// Looks values up by keys that come in order.
    pub fn walk(&self) -> Walk<'_, K, V> {
        Walk::new(&self.leaves)
    }

    /// The leaf that has a key, or would have it: the last that does not begin behind it.
    fn leaf_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let begins_before =
            |leaf: &Leaf<K, V>| leaf.first().is_some_and(|(own, _)| own.borrow() <= key);
        if self.leaves.last().is_some_and(begins_before) {
            return self.leaves.len() - 1;
        }
        self.leaves.partition_point(begins_before).saturating_sub(1)
    }
}

/// Where a leaf has a key, or would have it. Many come in order, and belong behind its last.
fn place_in<K: Borrow<Q>, V, Q: Ord + ?Sized>(
    leaf: &[Entry<K, V>],
    key: &Q,
) -> Result<usize, usize> {
    match leaf.last() {
        Some((last, _)) if last.borrow() < key => Err(leaf.len()),
        _ => leaf.binary_search_by(|(own, _)| own.borrow().cmp(key)),
    }
}

impl<K: Ord + Clone, V> Map<K, V> {
    /// Sets the value of a key; returns the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<Arc<V>> {
        self.insert_shared(key, Arc::new(value))
    }

    /// Sets the value of a key to one that is shared; returns the one that it had.
    pub fn insert_shared(&mut self, key: K, value: Arc<V>) -> Option<Arc<V>> {
        let at = self.leaf_of(&key);
        let leaves = Arc::make_mut(&mut self.leaves);
        let Some(leaf) = leaves.get_mut(at) else {
            leaves.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let leaf = Arc::make_mut(leaf);
        match place_in(leaf, &key) {
            Ok(within) => leaf.get_mut(within).map(|(_, own)| std::mem::replace(own, value)),
            Err(within) => {
                leaf.insert(within, (key, value));
                self.len += 1;
                if leaf.len() > FULL {
                    // What is added at the end is likely to be followed by more.
                    let keep = if within + 1 == leaf.len() { FULL } else { FULL / 2 };
                    let second = leaf.split_off(keep);
                    leaves.insert(at + 1, Arc::new(second));
                }
                None
            }
        }
    }

    /// Takes the value of a key away.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        if !self.contains_key(key) {
            return None;
        }
        let at = self.leaf_of(key);
        let leaves = Arc::make_mut(&mut self.leaves);
        let leaf = Arc::make_mut(leaves.get_mut(at)?);
        let within = place_in(leaf, key).ok()?;
        let (_, value) = leaf.remove(within);
        self.len -= 1;
        let left = leaf.len();
        if left == 0 {
            leaves.remove(at);
        } else if left < FULL / 4 {
            Self::join_with_next(leaves, at);
        }
        Some(value)
    }

    /// Joins a small leaf with the one behind it, where both fit into one.
    fn join_with_next(leaves: &mut Vec<Leaf<K, V>>, at: usize) {
        let fits =
            |pair: &[Leaf<K, V>]| pair.iter().map(|leaf| leaf.len()).sum::<usize>() <= FULL / 2;
        if leaves.get(at..at + 2).is_some_and(fits) {
            let next = leaves.remove(at + 1);
            if let Some(leaf) = leaves.get_mut(at) {
                Arc::make_mut(leaf).extend(next.iter().cloned());
            }
        }
    }

    /// Keeps the entries for which this holds. What it leaves alone stays shared.
    pub fn retain(&mut self, holds: impl Fn(&K, &V) -> bool) {
        let gone: Vec<K> = self
            .iter()
            .filter(|(key, value)| !holds(key, value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.remove(&key);
        }
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if !self.contains_key(key) {
            return None;
        }
        let at = self.leaf_of(key);
        let leaf = Arc::make_mut(Arc::make_mut(&mut self.leaves).get_mut(at)?);
        let within = place_in(leaf, key).ok()?;
        leaf.get_mut(within).map(|(_, value)| Arc::make_mut(value))
    }
}

impl<K: Ord + Clone, V: PartialEq> Map<K, V> {
    /// Sets the value of a key, unless it has an equal one, which stays shared. Returns whether it
    /// differed.
    pub fn put(&mut self, key: K, value: V) -> bool {
        if self.get(&key) == Some(&value) {
            return false;
        }
        self.insert(key, value);
        true
    }
}

impl<K: Ord + Clone, V: PartialEq> Map<K, V> {
    /// The map of these entries. What is equal in this one is shared with it.
    #[must_use]
    pub fn following(&self, entries: BTreeMap<K, Arc<V>>) -> Self {
        let mut next = self.clone();
        let mut there = entries.keys().peekable();
        for key in self.keys() {
            while there.next_if(|it| *it < key).is_some() {}
            if there.peek() != Some(&key) {
                next.remove(key);
            }
        }
        for (key, value) in entries {
            if next.get(&key) != Some(&*value) {
                next.insert_shared(key, value);
            }
        }
        next
    }
}

/// The entries of a map, by key.
pub struct Iter<'a, K, V> {
    leaves: std::slice::Iter<'a, Leaf<K, V>>,
    leaf: std::slice::Iter<'a, Entry<K, V>>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            self.leaf = self.leaves.next()?.iter();
        }
    }
}

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<K: Ord + Clone, V> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        map.extend(entries);
        map
    }
}

impl<K: Ord + Clone, V, const N: usize> From<[(K, V); N]> for Map<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for Map<K, V> {
    type Output = V;

    /// # Panics
    /// If there is no value of this key.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

impl<K, V> Clone for Map<K, V> {
    fn clone(&self) -> Self {
        Self { leaves: Arc::clone(&self.leaves), len: self.len }
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { leaves: Arc::default(), len: 0 }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.changes(other).next().is_none()
    }
}

impl<K: Ord, V: Eq> Eq for Map<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Map<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de, K: Deserialize<'de> + Ord + Clone, V: Deserialize<'de>> Deserialize<'de> for Map<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reading(std::marker::PhantomData))
    }
}

/// Reads a map entry by entry.
struct Reading<K, V>(std::marker::PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord + Clone, V: Deserialize<'de>> Visitor<'de> for Reading<K, V> {
    type Value = Map<K, V>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::default();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests;

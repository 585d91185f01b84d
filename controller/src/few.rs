//! A sorted map of a few entries that is made once.
//!
//! Nearly all maps of a service or a task have one entry or two. A `BTreeMap` has room for eleven
//! from the first one on: of 100,000 tasks that would be half of what they take.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

/// A sorted map of a few entries; copies share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Few<K, V>(Arc<[(K, V)]>);

impl<K, V> Few<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
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

impl<K: Ord, V> Few<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let at = self.0.binary_search_by(|(own, _)| own.borrow().cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Whether there is a value of a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }
}

impl<K: Ord + Clone, V: Clone> Few<K, V> {
    /// Sets the value of a key. It makes all entries anew.
    pub fn insert(&mut self, key: K, value: V) {
        *self = self.0.iter().cloned().chain([(key, value)]).collect();
    }
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> From<BTreeMap<K, V>> for Few<K, V> {
    fn from(entries: BTreeMap<K, V>) -> Self {
        if entries.is_empty() { Self::default() } else { Self(entries.into_iter().collect()) }
    }
}

/// Of two values of one key, the last stays.
impl<K: Ord, V> FromIterator<(K, V)> for Few<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        BTreeMap::from_iter(entries).into()
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for Few<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Few<K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Few<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Deserialize<'de> for Few<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_and_the_last_of_a_key_stays() {
        let few = Few::from([("b", 1), ("a", 2), ("b", 3)]);
        assert_eq!(few.iter().collect::<Vec<_>>(), [(&"a", &2), (&"b", &3)]);
        for (key, value) in [("a", Some(&2)), ("b", Some(&3)), ("", None), ("c", None)] {
            assert_eq!(few.get(key), value, "{key:?}");
        }
    }

    #[test]
    fn a_change_leaves_copies_as_they_were() {
        let before = Few::from([("a", 1)]);
        let mut after = before.clone();
        after.insert("a", 2);
        assert_eq!((before.get("a"), after.get("a")), (Some(&1), Some(&2)));
    }

    #[test]
    fn it_is_written_and_read_as_any_map() {
        let few = Few::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        let written = serde_json::to_string(&few).unwrap();
        assert_eq!(written, r#"{"a":1,"b":2}"#);
        assert_eq!(serde_json::from_str::<Few<String, i32>>(&written).unwrap(), few);
    }
}

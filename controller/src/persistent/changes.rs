//! How two maps differ.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Entry, Leaf, Map};

/// What becomes of one key from one map to another.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// Its value in the one map; none if it is new.
    pub before: Option<&'a Arc<V>>,
    /// Its value in the other; none if it is gone. It differs from `before`.
    pub after: Option<&'a Arc<V>>,
}

impl<K: Ord, V: PartialEq> Map<K, V> {
    /// What becomes of each key from this map to another, by key, where it does not stay the same.
    /// What the two share is passed over.
    pub fn changes<'a>(&'a self, to: &'a Self) -> Changes<'a, K, V> {
        let (before, after) =
            if self.is_same(to) { (&[][..], &[][..]) } else { (&**self.leaves, &**to.leaves) };
        Changes { before: Side::new(before), after: Side::new(after) }
    }
}

/// What becomes of each key; see [`Map::changes`].
pub struct Changes<'a, K, V> {
    before: Side<'a, K, V>,
    after: Side<'a, K, V>,
}

/// A walk through one of the maps.
struct Side<'a, K, V> {
    /// What is left of a leaf, and the leaves behind it.
    leaf: &'a [Entry<K, V>],
    rest: &'a [Leaf<K, V>],
}

impl<'a, K, V> Side<'a, K, V> {
    fn new(rest: &'a [Leaf<K, V>]) -> Self {
        Self { leaf: &[], rest }
    }

    /// Goes on to the next leaf, where one is at its end.
    fn settle(&mut self) {
        if let ([], [next, rest @ ..]) = (self.leaf, self.rest) {
            (self.leaf, self.rest) = (next, rest);
        }
    }

    fn is_between_leaves(&self) -> bool {
        self.leaf.is_empty()
    }

    fn step(&mut self) -> Option<(&'a K, &'a Arc<V>)> {
        let [(key, value), rest @ ..] = self.leaf else { return None };
        self.leaf = rest;
        Some((key, value))
    }
}

impl<K, V> Changes<'_, K, V> {
    /// Passes over the leaves that both have next.
    fn skip(&mut self) {
        while self.before.is_between_leaves() && self.after.is_between_leaves() {
            match (self.before.rest, self.after.rest) {
                ([one, before @ ..], [other, after @ ..]) if Arc::ptr_eq(one, other) => {
                    (self.before.rest, self.after.rest) = (before, after);
                }
                _ => return,
            }
        }
    }
}

impl<'a, K: Ord, V: PartialEq> Iterator for Changes<'a, K, V> {
    type Item = Change<'a, K, V>;

    fn next(&mut self) -> Option<Change<'a, K, V>> {
        loop {
            self.skip();
            self.before.settle();
            self.after.settle();
            let order = match (self.before.leaf.first(), self.after.leaf.first()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((one, _)), Some((other, _))) => one.cmp(other),
            };
            let before = if order.is_le() { self.before.step() } else { None };
            let after = if order.is_ge() { self.after.step() } else { None };
            match (before, after) {
                (Some((_, one)), Some((_, other))) if Arc::ptr_eq(one, other) || one == other => {}
                _ => {
                    let key = before.or(after).map(|(key, _)| key)?;
                    let value = |side: Option<(&'a K, &'a Arc<V>)>| side.map(|(_, value)| value);
                    return Some(Change { key, before: value(before), after: value(after) });
                }
            }
        }
    }
}

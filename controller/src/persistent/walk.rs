//! Many values looked up in order.

use std::borrow::Borrow;
use std::sync::Arc;

use super::{Entry, Leaf};

/// Looks values up by keys that come in order: what lies between two of them is passed over once, so
/// that looking at most of a map costs about a comparison or two each.
pub struct Walk<'a, K, V> {
    /// What is left of a leaf, and the leaves behind it.
    pub(super) leaf: &'a [Entry<K, V>],
    pub(super) rest: &'a [Leaf<K, V>],
}

impl<'a, K, V> Walk<'a, K, V> {
    /// The value of a key, which does not come before the one that was asked for last.
    pub fn get<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&'a Arc<V>>
    where
        K: Borrow<Q>,
    {
        let begins_before =
            |leaf: &Leaf<K, V>| leaf.first().is_some_and(|(own, _)| own.borrow() <= key);
        if self.rest.first().is_some_and(begins_before) {
            let passed = self.rest.partition_point(begins_before);
            let (passed, rest) = self.rest.split_at_checked(passed)?;
            self.leaf = passed.last()?.as_slice();
            self.rest = rest;
        }
        let is_before = |(own, _): &Entry<K, V>| own.borrow() < key;
        // Most often it is the next.
        if let [passed, rest @ ..] = self.leaf
            && is_before(passed)
        {
            self.leaf = rest;
        }
        if self.leaf.first().is_some_and(is_before) {
            let passed = self.leaf.partition_point(is_before);
            self.leaf = self.leaf.get(passed..)?;
        }
        self.leaf.first().filter(|(own, _)| own.borrow() == key).map(|(_, value)| value)
    }
}

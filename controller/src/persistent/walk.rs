//! Many values looked up in order.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ptr;
use std::sync::Arc;

use super::{Entry, Leaf};

/// Looks values up by keys that come in order: what lies between two of them is passed over once, so
/// that looking most of a map's values up costs about a comparison each.
pub struct Walk<'a, K, V> {
    /// What is left of a leaf, and the leaves behind it.
    leaf: &'a [Entry<K, V>],
    rest: &'a [Leaf<K, V>],
}

impl<'a, K, V> Walk<'a, K, V> {
    pub(super) fn new(rest: &'a [Leaf<K, V>]) -> Self {
        Self { leaf: &[], rest }
    }

    /// The value of a key, which comes behind the last that was asked for. A key at the same place in
    /// memory is the same key: where `Q` is what is shared, this costs no look at it.
    pub fn get<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&'a Arc<V>>
    where
        K: Borrow<Q>,
    {
        let compared = |own: &Q| if ptr::eq(own, key) { Ordering::Equal } else { own.cmp(key) };
        match self.leaf.first().map(|(own, _)| compared(own.borrow())) {
            Some(Ordering::Equal) => {}
            Some(Ordering::Greater) => return None,
            Some(Ordering::Less) | None => self.pass_over(key),
        }
        let [(own, value), rest @ ..] = self.leaf else { return None };
        if compared(own.borrow()).is_ne() {
            return None;
        }
        self.leaf = rest;
        Some(value)
    }

    /// Goes on to the first entry that does not come before a key, or to the end of its leaf.
    fn pass_over<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let begins_before =
            |leaf: &Leaf<K, V>| leaf.first().is_some_and(|(own, _)| own.borrow() <= key);
        let passed = self.rest.partition_point(begins_before);
        if let Some((passed, rest)) = self.rest.split_at_checked(passed)
            && let Some(last) = passed.last()
        {
            (self.leaf, self.rest) = (last, rest);
        }
        let passed = self.leaf.partition_point(|(own, _)| own.borrow() < key);
        self.leaf = self.leaf.get(passed..).unwrap_or_default();
    }
}

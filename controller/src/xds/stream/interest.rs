//! What a client asks for of one type.

use std::collections::HashSet;
use std::sync::Arc;

/// The name by which a client asks for everything.
const EVERYTHING: &str = "*";

/// What a client asks for of one type.
#[derive(Debug, Default)]
pub(super) struct Interest {
    wildcard: Wildcard,
    names: HashSet<Arc<str>>,
}

/// Whether a client asks for everything there is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    /// It does not.
    #[default]
    No,
    /// It does, as it has never named anything.
    Implied,
    /// It does, by name.
    Asked,
}

/// What an empty first request of a type asks for: everything, of the types that Envoy asks for so
/// (listeners and clusters); of the others nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// Everything there is.
    Everything,
    /// Nothing.
    Nothing,
}

impl Interest {
    /// Whether the client asks for this name, by it or with everything.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.is_wildcard() || self.names.contains(name)
    }

    /// Whether the client asks for everything.
    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard != Wildcard::No
    }

    /// Whether the client asks for this very name.
    pub(super) fn names(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The names that the client asks for by them, in no order.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.iter()
    }

    /// Replaces all that was asked for, as a state-of-the-world request does. `silence` is what an
    /// empty list means as long as nothing was named; returns the names that are new.
    pub(super) fn replace(&mut self, asked: Vec<String>, silence: Silence) -> Vec<Arc<str>> {
        let implied = asked.is_empty() && silence == Silence::Everything;
        let mut asked: HashSet<Arc<str>> = asked.into_iter().map(Arc::from).collect();
        self.wildcard = match (asked.remove(EVERYTHING), implied) {
            (true, _) => Wildcard::Asked,
            (false, true) => Wildcard::Implied,
            (false, false) => Wildcard::No,
        };
        let before = std::mem::replace(&mut self.names, asked);
        self.names.difference(&before).cloned().collect()
    }

    /// Whether an empty list goes on asking for everything.
    pub(super) fn silence(&self) -> Silence {
        match self.wildcard {
            Wildcard::Implied => Silence::Everything,
            Wildcard::No | Wildcard::Asked => Silence::Nothing,
        }
    }

    /// Asks for everything without a name.
    pub(super) fn imply(&mut self) {
        self.wildcard = Wildcard::Implied;
    }

    /// Makes room for so many more names.
    pub(super) fn reserve(&mut self, names: usize) {
        self.names.reserve(names);
    }

    /// Asks for one more name. Returns whether it was asked for before, by it or with everything.
    pub(super) fn add(&mut self, name: &Arc<str>) -> bool {
        let was_wildcard = self.is_wildcard();
        if is_everything(name) {
            self.wildcard = Wildcard::Asked;
            return was_wildcard;
        }
        !self.names.insert(Arc::clone(name)) || was_wildcard
    }

    /// Asks no longer for a name. Returns whether it was asked for by it.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        if name == EVERYTHING {
            std::mem::take(&mut self.wildcard) != Wildcard::No
        } else {
            self.names.remove(name)
        }
    }
}

/// Whether this name stands for everything.
pub(super) fn is_everything(name: &str) -> bool {
    name == EVERYTHING
}

//! What one client wants of one type, and what it holds of that.
//!
//! Most of it is what is newest: that is kept as the map of the newest resources itself, which all
//! clients share. Only where a client may hold something else is there a note of it:
//!
//! ```text
//! what it wants ─┬─ not apart ─▶ it holds what the base has, or nothing if that has none
//!                └─ apart ─────▶ it holds what is noted, and may be owed what is offered
//! ```
//!
//! So a change of one resource costs a look at that one, however many there are, and a client that
//! follows costs no memory but the names that it asked for. Nor does one that begins with all there is
//! ([`Beginner`]) need a note of each.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::interest::{self, Interest, Silence};
use super::offer::{Change, Offer};
use crate::envoy::Resource;
use crate::persistent::Map;
use crate::xds::snapshot::Set;

/// What a client wants of a type, and what it holds of that.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    interest: Interest,
    /// What was newest at the last look. `None`: all that is held is noted apart.
    base: Option<Set>,
    /// The names under which what is held may not be what is newest.
    apart: BTreeMap<Arc<str>, Held>,
    /// While this is so, nothing is held, and nothing apart.
    beginner: Option<Beginner>,
}

/// A client that asks for everything, or by name for each resource that there is, and holds nothing:
/// all that it may be told is in the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginner {
    /// All of it is to be told.
    Waits,
    /// All of it is told, and not answered.
    Told,
}

/// What the client holds under one name.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The version that it acknowledged. `None`: none, or that it is gone.
    pub(super) version: Option<Arc<str>>,
    /// It may hold another one, or it asked again since it was last told: it is to be sent whatever
    /// its version is.
    pub(super) doubtful: bool,
    /// What the response that waits for its answer tells of it.
    pub(super) told: Option<Told>,
    /// It was told, and is not wanted any more.
    unwanted: bool,
}

/// Where nothing is held.
static NOTHING: Held = Held { version: None, doubtful: false, told: None, unwanted: false };

/// What a response tells of a name: its version, or that it is gone.
pub(super) type Told = Option<Arc<str>>;

/// What a request changed in what the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Widened {
    /// It asks for everything from now on.
    ToEverything,
    /// It does not, or did before.
    No,
}

impl Held {
    fn of(version: Option<Arc<str>>) -> Self {
        Self { version, ..Self::default() }
    }

    /// Whether a response that waits for its answer tells of it.
    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Whether it may be another one than this.
    pub(super) fn differs(&self, from: Option<&Arc<Resource>>) -> bool {
        self.doubtful || self.version.as_ref() != from.map(|resource| &resource.version)
    }
}

impl Holdings {
    /// What the client asks for.
    pub(super) fn interest(&self) -> &Interest {
        &self.interest
    }

    /// Without a name, the client asks for everything.
    pub(super) fn imply(&mut self) {
        self.interest.imply();
    }

    /// The client asks for these names and no others, as state of the world tells it.
    pub(super) fn replace(&mut self, names: Vec<String>, silence: Silence) -> Widened {
        self.spell_out();
        let was_wildcard = self.interest.is_wildcard();
        for name in self.interest.replace(names, silence) {
            let held = self.note(&name, was_wildcard);
            held.doubtful |= held.is_told();
        }
        let widened = self.widen(was_wildcard);
        self.forget_unwanted();
        widened
    }

    /// The client asks for these names too, again or for the first time, and for those no longer.
    /// Names of resources that there are share their text.
    pub(super) fn adjust(
        &mut self,
        subscribe: Vec<String>,
        unsubscribe: &[String],
        there_are: &Set,
    ) -> Widened {
        if subscribe.is_empty() && unsubscribe.is_empty() {
            return Widened::No;
        }
        self.spell_out();
        let was_wildcard = self.interest.is_wildcard();
        let names = sharing(subscribe, there_are);
        self.interest.reserve(names.len());
        let holds_nothing = self.base.is_none() && self.apart.is_empty() && !was_wildcard;
        // As Envoy asks for endpoints, when it has been told all clusters.
        if holds_nothing && unsubscribe.is_empty() && names.iter().eq(there_are.keys()) {
            for name in &names {
                self.interest.add(name);
            }
            (self.base, self.beginner) = (Some(there_are.clone()), Some(Beginner::Waits));
        } else {
            let asked: Vec<_> = names.into_iter().filter_map(|name| self.ask(name)).collect();
            // Where all of them are new, a map is made of them at once.
            if self.apart.is_empty() {
                self.apart = asked.into_iter().collect();
            } else {
                self.apart.extend(asked);
            }
        }
        for name in unsubscribe {
            let asked = self.interest.remove(name);
            if asked && !interest::is_everything(name) && self.interest.is_wildcard() {
                // Under a wildcard the client wants to know what becomes of it.
                self.note(&Arc::from(&**name), true).doubtful = true;
            }
        }
        // Nothing that was wanted is unwanted by more that is.
        if !unsubscribe.is_empty() {
            self.forget_unwanted();
        }
        self.widen(was_wildcard)
    }

    /// The client asks for one more name, or again: what it holds is in doubt.
    fn ask(&mut self, name: Arc<str>) -> Option<(Arc<str>, Held)> {
        let was_wanted = self.interest.add(&name);
        if interest::is_everything(&name) {
            return None;
        }
        let noted = self.apart.remove(&name);
        let held = noted.unwrap_or_else(|| Held::of(self.of_base(&name, was_wanted)));
        Some((name, Held { doubtful: true, unwanted: false, ..held }))
    }

    /// Believes what the client says that it holds from an earlier stream.
    pub(super) fn inherit(&mut self, initial: HashMap<String, String>) {
        if !initial.is_empty() {
            self.spell_out();
        }
        for (name, version) in initial {
            if self.interest.wants(&name) {
                self.apart.insert(name.into(), Held::of(Some(version.into())));
            }
        }
    }

    /// What a client that begins to ask for everything reads meanwhile, it may keep or have dropped.
    fn widen(&mut self, was_wildcard: bool) -> Widened {
        if was_wildcard || !self.interest.is_wildcard() {
            return Widened::No;
        }
        let asked: Vec<_> = self.interest.asked().cloned().collect();
        for name in &asked {
            self.note(name, true);
        }
        self.base = None;
        for held in self.apart.values_mut() {
            held.doubtful |= held.is_told();
            held.unwanted = false;
        }
        Widened::ToEverything
    }

    /// Notes what all that is told to a beginner is one by one.
    fn spell_out(&mut self) {
        let (Some(beginner), Some(base)) = (self.beginner.take(), &self.base) else { return };
        let held = |name, resource: &Arc<Resource>| match beginner {
            // Who asks by name is to hear of it even if it is gone by then.
            Beginner::Waits => Held { doubtful: self.interest.names(name), ..Held::default() },
            Beginner::Told => {
                Held { told: Some(Some(Arc::clone(&resource.version))), ..Held::default() }
            }
        };
        let each = base.iter_shared().map(|(name, it)| (Arc::clone(name), held(name, it)));
        self.apart = each.collect();
    }

    /// Tells a beginner all there is, if these changes are all of it. Returns whether it is told.
    pub(super) fn tell_all(&mut self, changes: &[Change]) -> bool {
        let all = self.base.as_ref().map(Map::len);
        let is_all = self.beginner == Some(Beginner::Waits) && Some(changes.len()) == all;
        if is_all {
            self.beginner = Some(Beginner::Told);
        }
        is_all
    }

    /// Takes the acknowledgement of all that was told to a beginner. Returns whether it was one.
    pub(super) fn accept_all(&mut self) -> bool {
        self.beginner.take_if(|it| *it == Beginner::Told).is_some()
    }

    /// What the client holds under a name that it wants is noted from now on.
    fn note(&mut self, name: &Arc<str>, was_wanted: bool) -> &mut Held {
        let version = self.of_base(name, was_wanted);
        let held = self.apart.entry(Arc::clone(name)).or_insert_with(|| Held::of(version));
        held.unwanted = false;
        held
    }

    /// What the client holds under a name that is not apart. If it wanted the name until now, it is
    /// what the base has.
    fn of_base(&self, name: &str, was_wanted: bool) -> Option<Arc<str>> {
        let base = self.base.as_ref().filter(|_| was_wanted);
        base.and_then(|base| base.get(name)).map(|resource| Arc::clone(&resource.version))
    }

    /// What is not wanted is not held. What was told of it may still arrive.
    fn forget_unwanted(&mut self) {
        let interest = &self.interest;
        self.apart.retain(|name, held| {
            held.unwanted = !interest.wants(name);
            held.version.take_if(|_| held.unwanted);
            !held.unwanted || held.is_told()
        });
    }

    /// Doubts what the client holds, if it can hold anything: it is to be sent again.
    pub(super) fn doubt(&mut self, name: &Arc<str>) {
        self.spell_out();
        let is_known = self.interest.names(name)
            || self.apart.contains_key(name)
            || self.base.as_ref().is_some_and(|base| base.contains_key(name));
        if is_known && self.interest.wants(name) {
            self.note(name, true).doubtful = true;
        }
    }

    /// Looks at what has changed since the last look.
    pub(super) fn look(&mut self, offer: Offer) {
        let newest = offer.newest();
        let begins = self.base.is_none()
            && self.interest.is_wildcard()
            && self.apart.is_empty()
            && offer.is_newest();
        // Who asks by name does not ask for what comes.
        let waits = self.beginner == Some(Beginner::Waits) && self.interest.is_wildcard();
        if begins || waits {
            (self.base, self.beginner) = (Some(newest.clone()), Some(Beginner::Waits));
            return;
        }
        if self.base.as_ref().is_some_and(|base| !base.is_same(newest)) {
            self.spell_out();
        }
        match self.base.replace(newest.clone()) {
            Some(base) if base.is_same(newest) => return,
            Some(base) => {
                let interest = &self.interest;
                for change in base.changes(newest).filter(|change| interest.wants(change.key)) {
                    let before = || change.before.map(|resource| Arc::clone(&resource.version));
                    self.apart.entry(Arc::clone(change.key)).or_insert_with(|| Held::of(before()));
                }
            }
            None => {
                if self.interest.is_wildcard() {
                    let offered =
                        offer.iter().map(|resource| (resource.name.clone(), Held::default()));
                    let mut all: BTreeMap<_, _> = offered.collect();
                    all.append(&mut self.apart);
                    self.apart = all;
                }
                // Who holds nothing yet agrees in nothing.
                if self.apart.values().all(|held| held.version.is_none()) {
                    return;
                }
            }
        }
        self.tidy();
    }

    /// Notes no more what is as the base has it, or unwanted. A name that was asked for stays until
    /// the base has it: what lingers may.
    fn tidy(&mut self) {
        let (mut base, interest) = (self.base.as_ref().map(Map::walk), &self.interest);
        self.apart.retain(|name, held| {
            let is_open = base.as_mut().is_none_or(|base| {
                let newest = base.get(&**name);
                held.differs(newest) || newest.is_none() && interest.names(name)
            });
            is_open && !held.unwanted || held.is_told()
        });
    }

    /// Takes the answer to all that was told: `hear` notes what the client holds now, from what it
    /// held and what it was told.
    pub(super) fn conclude(&mut self, mut hear: impl FnMut(&Arc<str>, &mut Held, Told)) {
        self.spell_out();
        for (name, held) in &mut self.apart {
            if let Some(told) = held.told.take() {
                hear(name, held, told);
            }
        }
        self.tidy();
    }

    /// Whether the client holds some version of this resource.
    pub(super) fn holds(&self, name: &str) -> bool {
        let noted = self.apart.get(name).map(|held| held.version.is_some());
        let of_base = || self.beginner.is_none() && self.has_base(name);
        self.interest.wants(name) && noted.unwrap_or_else(of_base)
    }

    fn has_base(&self, name: &str) -> bool {
        self.base.as_ref().is_some_and(|base| base.contains_key(name))
    }

    /// Whether the client holds this resource, or will once it has read what was told.
    pub(super) fn may_hold(&self, name: &str) -> bool {
        let told = self.apart.get(name).and_then(|held| held.told.as_ref());
        let with_all = || self.beginner == Some(Beginner::Told) && self.has_base(name);
        self.holds(name) || told.is_some_and(Option::is_some) || with_all()
    }

    /// Whether the client holds anything, or will once it has read what was told.
    pub(super) fn may_hold_any(&self) -> bool {
        let of_base = || self.base.as_ref().is_some_and(|base| base.len() > self.apart.len());
        self.beginner.map_or_else(of_base, |it| it == Beginner::Told)
            || self.apart.values().any(|held| held.version.is_some() || held.is_told())
    }

    /// Whether the client holds nothing of this name, or asked for it again.
    pub(super) fn is_in_doubt(&self, name: &str) -> bool {
        !self.holds(name) || self.apart.get(name).is_some_and(|held| held.doubtful)
    }

    /// What is told and not answered, by name.
    pub(super) fn told(&self) -> impl Iterator<Item = (&Arc<str>, Option<&Arc<str>>)> {
        let all = self.base.as_ref().filter(|_| self.beginner == Some(Beginner::Told));
        let all = all.into_iter().flatten().map(|(name, it)| (name, Some(&it.version)));
        let noted = self.apart.iter();
        noted.filter_map(|(name, held)| Some((name, held.told.as_ref()?.as_ref()))).chain(all)
    }

    /// All that is noted apart and wanted, by name.
    pub(super) fn apart_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut Held)> {
        self.spell_out();
        self.apart.iter_mut().filter(|(_, held)| !held.unwanted)
    }

    /// Where what the client wants may not be what it holds, by name, with what is offered.
    pub(super) fn differing<'a, 'o: 'a>(
        &'a self,
        offer: Offer<'o>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Held, Option<&'o Arc<Resource>>)> {
        let all = (self.beginner == Some(Beginner::Waits)).then(|| offer.newest().iter_shared());
        let all = all.into_iter().flatten().map(|(name, it)| (name, &NOTHING, Some(it)));
        let mut offered = offer.walk();
        let looked_up = self.apart.iter().map(move |(name, held)| (name, held, offered.get(name)));
        all.chain(looked_up.filter(|(_, held, target)| held.differs(*target) && !held.unwanted))
    }

    /// The versions that the client holds, by name.
    pub(super) fn versions(&self) -> BTreeMap<String, String> {
        let of_base = self.base.iter().filter(|_| self.beginner.is_none());
        let of_base = of_base.flat_map(|base| base.iter());
        let of_base = of_base.map(|(name, resource)| (name, Some(&resource.version)));
        let noted = self.apart.iter().map(|(name, held)| (name, held.version.as_ref()));
        let held: BTreeMap<_, _> = of_base.chain(noted).collect();
        let wanted = held.into_iter().filter(|(name, _)| self.interest.wants(name));
        wanted
            .filter_map(|(name, version)| Some((name.to_string(), version?.to_string())))
            .collect()
    }
}

/// Names in order, each once; those of resources that there are share their text.
fn sharing(mut names: Vec<String>, there_are: &Set) -> Vec<Arc<str>> {
    names.sort_unstable();
    names.dedup();
    let mut known = there_are.walk();
    let shared = names.into_iter().map(|name| match known.get(&*name) {
        Some(resource) => Arc::clone(&resource.name),
        None => name.into(),
    });
    shared.collect()
}

#[cfg(test)]
mod tests;

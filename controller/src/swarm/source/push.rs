//! What comes of what the watch tells, and of a read beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Source;
use crate::swarm::mirror::{Agreement, Effect, Mark, Mirror};
use crate::swarm::pace::Activity;
use crate::swarm::reader::Reader;
use crate::swarm::watch::{Leader, Told, WatchCause, WatchError, Written};
use crate::swarm::{Picture, Via};

/// Additions are passed on at most this often: the first one after a rest at once, what follows it
/// together. Removals are always passed on at once.
const GATHER: Duration = Duration::from_millis(50);

/// How long a watch may take to tell anything after a read showed what it had not told.
const PROOF: Duration = Duration::from_secs(1);

/// How far the watch has come.
#[derive(Debug)]
pub(super) enum Push {
    /// There is none.
    Away,
    /// It has begun, and what it tells is kept for the list that has to be read now.
    Begun(Mirror),
    /// What it tells is passed on.
    Listed(Mirror),
}

/// Whether a watch is relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It is the source.
    Full,
    /// The last one fell silent: reads go on as often as without a watch, until it tells anything.
    AfterSilence,
}

impl Push {
    /// Now, in the life of its mirror.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.mirror().map(Mirror::mark)
    }

    fn mirror(&self) -> Option<&Mirror> {
        match self {
            Self::Away => None,
            Self::Begun(mirror) | Self::Listed(mirror) => Some(mirror),
        }
    }
}

impl Source {
    /// How changes come.
    pub(super) fn via(&self) -> Via {
        match (&self.push, self.trust) {
            (Push::Listed(_), Trust::Full) => Via::Pushed,
            _ => Via::Polled,
        }
    }

    /// How often to read, given how often it would be without a watch.
    pub(super) fn activity(&self, polled: Activity) -> Activity {
        match self.via() {
            Via::Pushed if self.belief.doubt().is_none() => Activity::Pushed,
            _ => polled,
        }
    }

    /// Takes a complete read; `begun` is the mark of the mirror at its beginning, if there was one.
    pub(super) fn take_read(
        &mut self,
        reader: &Reader<'_>,
        picture: &Arc<Picture>,
        begun: Option<Mark>,
    ) {
        let Some(begun) = begun else {
            self.believe(picture);
            self.publish();
            return;
        };
        let mirror = self.push.mirror();
        let Some((mirror, agreement)) = mirror.and_then(|it| it.after(&reader.lists(), begun))
        else {
            // The watch ended meanwhile. What it told last may be newer than this read.
            self.wake.notify_one();
            return;
        };
        self.believe(&Arc::new(mirror.picture()));
        // What is not believed is read again before it means anything.
        if self.belief.doubt().is_none() {
            self.additions_due = None;
            if agreement == Agreement::Corrected && matches!(self.push, Push::Listed(_)) {
                self.suspicion.get_or_insert(Instant::now() + PROOF);
            }
            self.push = Push::Listed(mirror);
            self.tell_via();
            self.publish();
        }
    }

    /// Hears the watch.
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Begun => {
                self.watches += 1;
                self.push = Push::Begun(Mirror::new(self.watches));
                self.wake.notify_one();
            }
            Told::Written(written) => self.take_written(written),
            Told::Ended(error) => self.lose_watch(&error),
        }
    }

    /// Does what is due.
    pub(super) fn act(&mut self, now: Instant) {
        if self.additions_due.is_some_and(|due| due <= now) {
            self.pass_on();
        }
        if self.suspicion.is_some_and(|due| due <= now) {
            self.trust = Trust::AfterSilence;
            let error = self.link.end(WatchCause::Silent);
            self.lose_watch(&error);
        }
    }

    fn take_written(&mut self, written: Written) {
        self.suspicion = None;
        self.trust = Trust::Full;
        if written.leader == Leader::Another {
            self.wake.notify_one();
        }
        let (Push::Begun(mirror) | Push::Listed(mirror)) = &mut self.push else { return };
        let effects = written.changes.into_iter().map(|change| mirror.apply(change));
        let effect = effects.max().unwrap_or(Effect::None);
        if matches!(self.push, Push::Begun(_)) {
            return;
        }
        self.tell_via();
        match effect {
            Effect::None => {}
            Effect::More => {
                let due = additions_due(self.passed_on, Instant::now());
                self.additions_due.get_or_insert(due);
            }
            Effect::Less => self.pass_on(),
        }
    }

    /// Passes on what the watch has told.
    fn pass_on(&mut self) {
        self.additions_due = None;
        self.passed_on = Some(Instant::now());
        if let Push::Listed(mirror) = &self.push {
            self.belief.told(mirror.picture());
            self.publish();
        }
    }

    fn lose_watch(&mut self, error: &WatchError) {
        self.tell_watch_ended(error);
        self.push = Push::Away;
        (self.additions_due, self.suspicion) = (None, None);
        self.tell_via();
        self.publish();
        self.wake.notify_one();
    }
}

/// When an addition is passed on that comes now, given when anything last was.
fn additions_due(passed_on: Option<Instant>, now: Instant) -> Instant {
    passed_on.map_or(now, |last| now.max(last + GATHER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_waits_only_where_something_was_passed_on_a_moment_ago() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        for (passed_on, wait) in [
            (None, ms(0)),
            (Some(ms(0)), ms(50)),
            (Some(ms(20)), ms(30)),
            (Some(ms(50)), ms(0)),
            (Some(ms(60_000)), ms(0)),
        ] {
            let last = passed_on.and_then(|ago| now.checked_sub(ago));
            assert_eq!(additions_due(last, now), now + wait, "{passed_on:?} ago");
        }
    }
}

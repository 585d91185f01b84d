//! What we hold to be true of the Swarm, given what we read.
//!
//! A read is evidence, not truth: a manager that lags or was just restored can show an empty or an
//! older Swarm in a perfectly good answer, and acting on it would take every site down. Such reads
//! are believed when three in a row agree. A failed cycle is no read, and changes nothing.

use std::sync::Arc;

use super::{Freshness, Picture, Service};
use crate::persistent::Change;

/// So many reads in a row make a doubtful picture credible.
const CREDIBLE: u8 = 3;

/// What we hold to be true.
#[derive(Debug, Clone, Default)]
pub(super) struct Belief {
    held: Option<(Arc<Picture>, Freshness)>,
    doubt: Option<(Doubt, u8)>,
}

/// Why a complete read is not believed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    /// No service, where there were some.
    #[error("the last read shows no service, where there were some")]
    Empty,
    /// A service in an older version than one already seen.
    #[error("the last read shows a service in an older version than one already seen")]
    Older,
}

impl Belief {
    /// Before the first read: what an earlier run kept, or nothing.
    pub(super) fn kept(picture: Option<Picture>) -> Self {
        let held = picture.map(|picture| (Arc::new(picture), Freshness::Kept));
        Self { held, doubt: None }
    }

    /// The belief after one complete read.
    pub(super) fn after(self, read: &Arc<Picture>) -> Self {
        let reads = match (self.held.as_ref().and_then(|(held, _)| doubt(held, read)), self.doubt) {
            (None, _) => None,
            (Some(doubt), Some((same, reads))) if doubt == same => Some((doubt, reads + 1)),
            (Some(doubt), _) => Some((doubt, 1)),
        };
        match reads {
            Some((doubt, reads)) if reads < CREDIBLE => {
                Self { held: self.held, doubt: Some((doubt, reads)) }
            }
            _ => Self { held: Some((Arc::clone(read), Freshness::Live)), doubt: None },
        }
    }

    /// Takes a picture that follows from one that is held, by changes that were told one by one.
    /// There is nothing to doubt in it, and no read to agree with another.
    pub(super) fn told(&mut self, picture: Picture) {
        self.held = Some((Arc::new(picture), Freshness::Live));
    }

    /// What the rest of Waggle may act on.
    pub(super) fn held(&self) -> Option<(&Arc<Picture>, Freshness)> {
        self.held.as_ref().map(|(picture, freshness)| (picture, *freshness))
    }

    /// Why the last complete read is not believed, if it is not.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.doubt.map(|(doubt, _)| doubt)
    }
}

fn doubt(held: &Picture, read: &Picture) -> Option<Doubt> {
    if read.services.is_empty() && !held.services.is_empty() {
        return Some(Doubt::Empty);
    }
    let is_older = |change: Change<'_, _, Service>| match (change.before, change.after) {
        (Some(held), Some(read)) => read.version < held.version,
        _ => false,
    };
    held.services.changes(&read.services).any(is_older).then_some(Doubt::Older)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Service;
    use crate::swarm::testing::a_service;

    /// A picture of services by name and version.
    fn picture(services: &[(&str, u64)]) -> Picture {
        let services = services.iter().map(|(name, version)| {
            let service = Service { version: *version, ..a_service(name, name) };
            (service.id.clone(), service)
        });
        Picture { services: services.collect(), ..Picture::default() }
    }

    type Services = &'static [(&'static str, u64)];
    /// What a read shows, what is held after it, and what is doubted.
    type Step = (Services, Services, Option<Doubt>);
    const NONE: Services = &[];

    #[test]
    fn doubtful_reads_are_believed_when_three_in_a_row_agree() {
        let histories: &[(&str, &[Step])] = &[
            (
                "a first read is believed, also an empty one",
                &[(NONE, NONE, None), (&[("a", 1)], &[("a", 1)], None)],
            ),
            (
                "removals, additions and newer versions are believed at once",
                &[
                    (&[("a", 1), ("b", 2)], &[("a", 1), ("b", 2)], None),
                    (&[("b", 3), ("c", 4)], &[("b", 3), ("c", 4)], None),
                    (&[("c", 4)], &[("c", 4)], None),
                ],
            ),
            (
                "an empty read is believed the third time",
                &[
                    (&[("a", 1)], &[("a", 1)], None),
                    (NONE, &[("a", 1)], Some(Doubt::Empty)),
                    (NONE, &[("a", 1)], Some(Doubt::Empty)),
                    (NONE, NONE, None),
                ],
            ),
            (
                "a good read between them begins the count again",
                &[
                    (&[("a", 1)], &[("a", 1)], None),
                    (NONE, &[("a", 1)], Some(Doubt::Empty)),
                    (NONE, &[("a", 1)], Some(Doubt::Empty)),
                    (&[("a", 2)], &[("a", 2)], None),
                    (NONE, &[("a", 2)], Some(Doubt::Empty)),
                    (NONE, &[("a", 2)], Some(Doubt::Empty)),
                    (NONE, NONE, None),
                ],
            ),
            (
                "an older version puts the whole read in doubt",
                &[
                    (&[("a", 5), ("b", 6)], &[("a", 5), ("b", 6)], None),
                    (&[("a", 4)], &[("a", 5), ("b", 6)], Some(Doubt::Older)),
                    (&[("a", 5), ("b", 7)], &[("a", 5), ("b", 7)], None),
                ],
            ),
            (
                "a Swarm restored from a backup is believed the third time",
                &[
                    (&[("a", 5)], &[("a", 5)], None),
                    (&[("a", 2)], &[("a", 5)], Some(Doubt::Older)),
                    (&[("a", 2)], &[("a", 5)], Some(Doubt::Older)),
                    (&[("a", 3)], &[("a", 3)], None),
                ],
            ),
            (
                "reads that are doubtful for different reasons do not agree",
                &[
                    (&[("a", 5)], &[("a", 5)], None),
                    (&[("a", 2)], &[("a", 5)], Some(Doubt::Older)),
                    (NONE, &[("a", 5)], Some(Doubt::Empty)),
                    (&[("a", 2)], &[("a", 5)], Some(Doubt::Older)),
                    (&[("a", 2)], &[("a", 5)], Some(Doubt::Older)),
                    (&[("a", 2)], &[("a", 2)], None),
                ],
            ),
        ];
        for (name, history) in histories {
            let mut belief = Belief::default();
            for (step, (read, held, doubt)) in history.iter().enumerate() {
                belief = belief.after(&Arc::new(picture(read)));
                let believed = belief.held().map(|(picture, _)| picture.as_ref().clone());
                assert_eq!(believed, Some(picture(held)), "{name}, step {step}");
                assert_eq!(belief.doubt(), *doubt, "{name}, step {step}");
            }
        }
    }

    #[test]
    fn before_the_first_read_nothing_is_held_or_what_was_kept() {
        assert_eq!(Belief::kept(None).held(), None);
        let belief = Belief::kept(Some(picture(&[("a", 1)])));
        assert_eq!(belief.held().map(|(_, freshness)| freshness), Some(Freshness::Kept));
    }

    #[test]
    fn a_kept_picture_is_replaced_by_the_first_read_unless_that_is_doubtful() {
        let reads: [(Services, Freshness); 5] = [
            (&[("a", 5)], Freshness::Live),
            (&[("a", 6)], Freshness::Live),
            (&[("b", 1)], Freshness::Live),
            (&[("a", 4)], Freshness::Kept),
            (NONE, Freshness::Kept),
        ];
        for (read, freshness) in reads {
            let belief = Belief::kept(Some(picture(&[("a", 5)]))).after(&Arc::new(picture(read)));
            assert_eq!(belief.held().map(|(_, freshness)| freshness), Some(freshness), "{read:?}");
        }
    }

    #[test]
    fn what_is_told_is_believed_and_leaves_the_doubt_of_reads_as_it_is() {
        let mut belief = Belief::default().after(&Arc::new(picture(&[("a", 1), ("b", 2)])));
        belief = belief.after(&Arc::new(picture(NONE))).after(&Arc::new(picture(NONE)));
        belief.told(picture(&[("b", 2)]));
        assert_eq!(belief.held().map(|(picture, _)| picture.services.len()), Some(1));
        assert_eq!(belief.doubt(), Some(Doubt::Empty));
        assert_eq!(belief.after(&Arc::new(picture(NONE))).doubt(), None, "the third read");
    }

    #[test]
    fn a_last_service_that_was_told_to_be_gone_is_gone_at_once() {
        let mut belief = Belief::default().after(&Arc::new(picture(&[("a", 1)])));
        belief.told(picture(NONE));
        let belief = belief.after(&Arc::new(picture(NONE)));
        assert_eq!(belief.doubt(), None);
    }
}

//! The table, case by case and as a whole.

use std::collections::BTreeSet;

use super::table::{Case, Fate, cases};
use super::{assert_accepted, assert_unharmed, good, outcome};
use crate::world::Swarm;

/// The longest message or command that a label of any length leads to, in bytes.
const LONGEST_TEXT: usize = 16 * 1024;

#[test]
fn each_is_told_and_changes_nothing_for_others() {
    let before = good().turn();
    let mut otherwise = Vec::new();
    for Case { name, labels, fate } in cases() {
        let shown: String = format!("{labels:?}").chars().take(300).collect();
        let turn = good().service(&name, &labels).turn();
        let (codes, is_routed) = match fate {
            Fate::Routed(codes) => (codes, true),
            Fate::Rejected(codes) => (codes, false),
        };
        let expected = (codes.iter().copied().collect::<BTreeSet<_>>(), is_routed);
        let found = outcome(&turn, &name);
        if found != expected {
            otherwise.push(format!("{shown}: {found:?} in place of {expected:?}"));
        }
        assert_unharmed(&before, &turn, &shown);
        for problem in turn.routing.services.values().flat_map(|outcome| &outcome.problems) {
            let length = problem.message.len() + problem.fix.len();
            assert!(length < LONGEST_TEXT, "{shown}: {length} bytes are told");
        }
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
}

#[test]
fn all_together_are_accepted() {
    let add = |swarm: Swarm, case: Case| swarm.service(&case.name, &case.labels);
    assert_accepted(&cases().fold(good(), add).turn());
}

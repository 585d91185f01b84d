//! Searches, played against Envoys that refuse what they cannot bear.

use proptest::prelude::*;

use super::*;
use crate::xds::Rejection;

const ENOUGH: usize = 200;

/// What an Envoy refuses: the routes with these services (by name) among them.
type Bears = Box<dyn Fn(&Services) -> bool>;

/// A node cluster with its Envoys.
struct Rig {
    quarantine: Quarantine,
    services: Services,
    envoys: Vec<Envoy>,
    now: SystemTime,
    /// What was published last, and how often that changed.
    published: Option<Services>,
    publications: usize,
}

struct Envoy {
    bears: Bears,
    accepted: Option<String>,
    refused: Option<String>,
}

fn envoy(bears: impl Fn(&Services) -> bool + 'static) -> Envoy {
    Envoy { bears: Box::new(bears), accepted: None, refused: None }
}

/// An Envoy that refuses any of these.
fn picky(bad: &[&str]) -> Envoy {
    let bad: Vec<_> = bad.iter().map(|&name| ServiceId::new(name)).collect();
    envoy(move |services| !bad.iter().any(|id| services.contains_key(id)))
}

fn id(number: usize) -> String {
    format!("s{number:03}")
}

impl Rig {
    fn new(count: usize, envoys: Vec<Envoy>) -> Self {
        let services = (0..count).map(|number| (ServiceId::new(id(number)), 1)).collect();
        let (quarantine, now) = (Quarantine::default(), SystemTime::UNIX_EPOCH);
        Self { quarantine, services, envoys, now, published: None, publications: 0 }
    }

    fn set(&mut self, name: &str, version: u64) {
        self.services.insert(ServiceId::new(name), version);
    }

    fn opinions(&self) -> Opinions {
        let opinion = |envoy: &Envoy| Opinion {
            node_cluster: NodeCluster::default(),
            kind: Kind::Routes,
            name: "http".into(),
            accepted: envoy.accepted.clone(),
            refused: envoy.refused.clone().map(|version| {
                let message = "no".into();
                Rejection { version, message }
            }),
        };
        self.envoys.iter().map(opinion).collect()
    }

    /// Plans until a plan may go, and publishes it.
    fn turn(&mut self) {
        for _ in 0..ENOUGH {
            let left_out = self.quarantine.left_out();
            let mut served = self.services.clone();
            served.retain(|id, _| !left_out.contains_key(id));
            let shared = [((Kind::Routes, "http".into()), format!("{served:?}"))].into();
            let plan = Plan { services: self.services.clone(), shared };
            let plans = [(NodeCluster::default(), plan)].into();
            let opinions = self.opinions();
            if self.quarantine.weigh(plans, &opinions, self.now) == Weighed::Send {
                self.publications += usize::from(self.published.as_ref() != Some(&served));
                self.published = Some(served);
                return;
            }
        }
        panic!("it plans for ever");
    }

    /// The Envoys answer what is published. Returns whether any of them says something new.
    fn answer(&mut self) -> bool {
        let Some(published) = &self.published else { return false };
        let version = format!("{published:?}");
        let answer = |envoy: &mut Envoy| {
            let before = (envoy.accepted.clone(), envoy.refused.clone());
            if (envoy.bears)(published) {
                (envoy.accepted, envoy.refused) = (Some(version.clone()), None);
            } else {
                envoy.refused = Some(version.clone());
            }
            before != (envoy.accepted.clone(), envoy.refused.clone())
        };
        self.envoys.iter_mut().map(answer).fold(false, |any, new| any | new)
    }

    /// Turns and answers until nothing changes.
    fn settle(&mut self) {
        self.turn();
        for _ in 0..ENOUGH {
            if !self.answer() {
                return;
            }
            self.turn();
        }
        panic!("it does not come to rest");
    }

    fn culprits(&self) -> Vec<String> {
        let left_out = self.quarantine.left_out().into_iter();
        left_out
            .map(|(id, reason)| match reason {
                Reason::Culprit(words) if words == "no" => id.to_string(),
                other => panic!("{id}: {other:?}"),
            })
            .collect()
    }
}

#[test]
fn a_culprit_among_changed_services_is_found_and_the_rest_is_served() {
    for bad in ["s100", "s104", "s107"] {
        let mut rig = Rig::new(100, vec![picky(&[bad])]);
        rig.settle();
        assert_eq!(rig.publications, 1);
        (100..108).for_each(|number| rig.set(&id(number), 1));
        rig.settle();
        assert_eq!(rig.culprits(), [bad]);
        assert!(rig.publications <= 1 + 2 * 3 + 2, "{bad}: {}", rig.publications);
        assert_eq!(rig.published.as_ref().unwrap().len(), 107);
    }
}

#[test]
fn a_lone_newcomer_at_fault_disturbs_nobody() {
    let mut rig = Rig::new(10, vec![picky(&["new"])]);
    rig.settle();
    rig.set("new", 1);
    rig.turn();
    rig.answer();
    rig.turn();
    assert_eq!(rig.culprits(), ["new"], "what the Envoys hold is known to be good without it");
}

#[test]
fn without_any_accepted_before_all_are_suspects() {
    let mut rig = Rig::new(64, vec![picky(&["s000", "s033", "s063"])]);
    rig.settle();
    assert_eq!(rig.culprits(), ["s000", "s033", "s063"]);
    assert!(rig.publications <= 3 * (2 * 6 + 2), "{}", rig.publications);
}

#[test]
fn of_two_that_are_bad_together_the_one_that_changed_is_left_out() {
    let mut rig = Rig::new(8, vec![]);
    let at_fault = ServiceId::new("s003");
    let trigger = ServiceId::new("trigger");
    // Harmless alone; refused when the other is there, whatever the other does.
    let bears = move |it: &Services| {
        !it.contains_key(&at_fault) || it.get(&trigger).is_none_or(|version| *version < 2)
    };
    rig.set("trigger", 1);
    rig.envoys.push(envoy(bears));
    rig.settle();
    rig.set("trigger", 2);
    rig.settle();
    assert_eq!(rig.culprits(), ["trigger"], "it changed; leaving it out is enough");
}

#[test]
fn a_culprit_comes_back_when_it_changes_and_goes_again_if_it_is_still_bad() {
    let bad = ServiceId::new("s001");
    let bears = move |it: &Services| it.get(&bad).is_none_or(|version| *version >= 3);
    let mut rig = Rig::new(4, vec![envoy(bears)]);
    rig.settle();
    assert_eq!(rig.culprits(), ["s001"]);
    rig.set("s002", 2);
    rig.settle();
    assert_eq!(rig.culprits(), ["s001"], "a change of another changes nothing");
    rig.set("s001", 2);
    rig.settle();
    assert_eq!(rig.culprits(), ["s001"]);
    rig.set("s001", 3);
    rig.settle();
    assert!(rig.culprits().is_empty());
    assert_eq!(rig.published.as_ref().unwrap().len(), 4);
}

#[test]
fn what_is_refused_without_any_service_is_left_as_it_is_and_nothing_tried_again() {
    let mut rig = Rig::new(8, vec![envoy(|_| false)]);
    rig.settle();
    assert!(rig.culprits().is_empty());
    assert_eq!(rig.published.as_ref().unwrap().len(), 8);
    let before = rig.publications;
    rig.set("s001", 2);
    rig.settle();
    assert_eq!(rig.publications, before + 1, "the change alone");

    // It is looked at again once it has been accepted.
    rig.envoys = vec![picky(&[])];
    rig.settle();
    rig.envoys = vec![picky(&["s002"])];
    rig.settle();
    assert_eq!(rig.culprits(), ["s002"]);
}

#[test]
fn no_answer_in_time_ends_the_round_with_everybody_and_begins_another_later() {
    let mut rig = Rig::new(8, vec![picky(&["s007"])]);
    rig.turn();
    rig.answer();
    rig.turn();
    assert!(!rig.quarantine.left_out().is_empty(), "a trial");
    // The Envoy falls silent.
    rig.envoys[0].bears = Box::new(|_| true);
    let due = rig.quarantine.wake_at().unwrap();
    assert_eq!(due, rig.now + PATIENCE);
    rig.now = due;
    rig.turn();
    assert!(rig.quarantine.left_out().is_empty());

    rig.envoys = vec![picky(&["s007"])];
    rig.settle();
    assert!(rig.quarantine.left_out().is_empty(), "not before it has rested");
    rig.now = rig.quarantine.wake_at().unwrap();
    rig.settle();
    assert_eq!(rig.culprits(), ["s007"]);
    assert_eq!(rig.quarantine.wake_at(), None);
}

#[test]
fn an_envoy_that_comes_back_in_time_goes_on_with_the_search() {
    let mut rig = Rig::new(8, vec![picky(&["s005"])]);
    rig.turn();
    rig.answer();
    rig.turn();
    rig.envoys.clear();
    rig.turn();
    rig.envoys.push(picky(&["s005"]));
    rig.settle();
    assert_eq!(rig.culprits(), ["s005"]);
}

#[test]
fn where_envoys_disagree_the_one_that_refuses_decides() {
    let mut rig = Rig::new(16, vec![picky(&[]), picky(&["s003"]), picky(&["s010"])]);
    rig.settle();
    assert_eq!(rig.culprits(), ["s003", "s010"]);
}

#[test]
fn an_envoy_that_does_not_answer_is_outvoted_in_the_end() {
    let mut rig = Rig::new(4, vec![picky(&["s002"])]);
    rig.turn();
    rig.answer();
    rig.turn();
    // Another one, stuck on something older.
    let stuck = Envoy { accepted: Some("older".into()), ..picky(&[]) };
    rig.envoys.push(stuck);
    for _ in 0..20 {
        let stuck = rig.envoys.pop().unwrap();
        rig.answer();
        rig.envoys.push(stuck);
        rig.turn();
        rig.now += PATIENCE;
        rig.turn();
    }
    assert_eq!(rig.culprits(), ["s002"]);
}

#[test]
fn node_clusters_do_not_touch_each_other() {
    let (one, other) = (NodeCluster::default(), NodeCluster::parse("edge").unwrap());
    let mut quarantine = Quarantine::default();
    let plan = |name: &str| {
        let shared = [((Kind::Routes, "http".into()), name.into())].into();
        Plan { services: [(ServiceId::new(name), 1)].into(), shared }
    };
    let refused = Some(Rejection { version: "a".into(), message: "no".into() });
    let opinion = Opinion {
        node_cluster: one.clone(),
        kind: Kind::Routes,
        name: "http".into(),
        accepted: None,
        refused,
    };
    let plans = || BTreeMap::from([(one.clone(), plan("a")), (other.clone(), plan("b"))]);
    let weighed = quarantine.weigh(plans(), &[opinion].into(), SystemTime::UNIX_EPOCH);
    assert_eq!(weighed, Weighed::PlanAgain);
    let left_out = quarantine.left_out();
    assert_eq!(left_out.into_keys().collect::<Vec<_>>(), [ServiceId::new("a")]);
}

/// What happens in the middle of a search.
#[derive(Debug, Clone)]
enum Event {
    Turn,
    Answer(usize),
    Change(usize),
    Remove(usize),
    Leave(usize),
    Join,
    Wait,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Turn),
        6 => (0..3_usize).prop_map(Event::Answer),
        2 => (0..24_usize).prop_map(Event::Change),
        1 => (0..24_usize).prop_map(Event::Remove),
        1 => (0..3_usize).prop_map(Event::Leave),
        1 => Just(Event::Join),
        1 => Just(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_culprit_is_found_in_few_trials(
        count in 1..200_usize,
        bad in prop::collection::btree_set(0..200_usize, 0..5),
        old in 0..200_usize,
    ) {
        let bad: Vec<_> = bad.into_iter().filter(|number| *number < count).map(id).collect();
        let names: Vec<_> = bad.iter().map(String::as_str).collect();
        let mut rig = Rig::new(0, vec![picky(&names)]);
        // Those that were there before are found among themselves.
        (0..old.min(count)).for_each(|number| rig.set(&id(number), 1));
        rig.settle();
        (0..count).for_each(|number| rig.set(&id(number), 1));
        rig.settle();
        prop_assert_eq!(rig.culprits(), names);
        let tries = bad.len() * (2 * count.next_power_of_two().ilog2() as usize + 2);
        prop_assert!(rig.publications <= 2 + tries, "{} of {}", rig.publications, tries);
    }

    #[test]
    fn whatever_happens_meanwhile_it_ends_with_the_culprits_alone(
        bad in prop::collection::btree_set(0..24_usize, 0..3),
        events in prop::collection::vec(events(), 0..60),
    ) {
        let names: Vec<_> = bad.iter().copied().map(id).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut rig = Rig::new(20, vec![picky(&names)]);
        for event in events {
            match event {
                Event::Turn => rig.turn(),
                Event::Answer(number) => {
                    let silent = rig.envoys.split_off((number + 1).min(rig.envoys.len()));
                    rig.answer();
                    rig.envoys.extend(silent);
                }
                Event::Change(number) => {
                    let service = ServiceId::new(id(number));
                    let version = rig.services.get(&service).map_or(0, |version| *version);
                    rig.services.insert(service, version + 1);
                }
                Event::Remove(number) => drop(rig.services.remove(&ServiceId::new(id(number)))),
                Event::Leave(number) => rig.envoys.truncate(number),
                Event::Join => rig.envoys.push(picky(&names)),
                Event::Wait => rig.now += PATIENCE,
            }
        }
        rig.envoys.push(picky(&names));
        rig.settle();
        rig.now += REST;
        rig.settle();
        let there = |name: &&&str| rig.services.contains_key(&ServiceId::new(**name));
        let expected: Vec<_> = names.iter().filter(there).map(ToString::to_string).collect();
        prop_assert_eq!(rig.culprits(), expected);
    }
}

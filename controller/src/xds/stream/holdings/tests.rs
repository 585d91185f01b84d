use super::*;
use crate::envoy::Kind;
use crate::xds::fixtures::world;
use crate::xds::snapshot::Snapshot;
use crate::xds::stream::offer::Lingering;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn ask(holdings: &mut Holdings, subscribe: &[&str], unsubscribe: &[&str]) -> Widened {
    holdings.adjust(names(subscribe), &names(unsubscribe), &Set::default())
}

/// One that asks for each of these by name.
fn naming_all(newest: &Snapshot) -> Holdings {
    let there_are = newest.of(Kind::Cluster);
    let mut holdings = Holdings::default();
    holdings.adjust(there_are.keys().map(ToString::to_string).collect(), &[], there_are);
    holdings
}

fn wanting(wanted: &[&str]) -> Holdings {
    let mut holdings = Holdings::default();
    ask(&mut holdings, wanted, &[]);
    holdings
}

fn look(holdings: &mut Holdings, newest: &Snapshot) {
    holdings.look(Lingering::default().offer(Kind::Cluster, newest));
}

/// What is to be told.
fn differing(holdings: &Holdings, newest: &Snapshot) -> Vec<String> {
    let lingering = Lingering::default();
    let offer = lingering.offer(Kind::Cluster, newest);
    holdings.differing(offer).map(|(name, ..)| name.to_string()).collect()
}

/// Tells all that is to be told.
fn tell(holdings: &mut Holdings, newest: &Snapshot) {
    let newest = newest.of(Kind::Cluster);
    for (name, held) in holdings.apart_mut() {
        let told = newest.get(name).map(|resource| Arc::clone(&resource.version));
        (held.told, held.doubtful) = (Some(told), false);
    }
}

fn accept(holdings: &mut Holdings) {
    holdings.conclude(|_, held, told| held.version = told);
}

fn follow(holdings: &mut Holdings, newest: &Snapshot) {
    look(holdings, newest);
    tell(holdings, newest);
    accept(holdings);
}

#[test]
fn who_follows_costs_no_note() {
    let (first, second) = (world("a/1/1 b/1/1 c/1/1"), world("a/2/1 c/1/1 d/1/1"));
    for wanted in [&["*"][..], &["a", "b"]] {
        let mut holdings = wanting(wanted);
        follow(&mut holdings, &first);
        assert!(holdings.apart.is_empty(), "{wanted:?}: {holdings:?}");
        assert!(holdings.holds("b") && !holdings.holds("d"), "{wanted:?}");
        look(&mut holdings, &second);
        let expected: &[&str] = if wanted == ["*"] { &["a", "b", "d"] } else { &["a", "b"] };
        assert_eq!(differing(&holdings, &second), expected, "{wanted:?}");
        tell(&mut holdings, &second);
        accept(&mut holdings);
        assert_eq!(differing(&holdings, &second), names(&[]), "{wanted:?}");
        assert!(holdings.holds("a") && !holdings.holds("b"), "{wanted:?}");
        assert_eq!(holdings.holds("d"), wanted == ["*"]);
    }
}

/// Tells one all of this at once.
fn told_all(mut holdings: Holdings, newest: &Snapshot) -> Holdings {
    look(&mut holdings, newest);
    let lingering = Lingering::default();
    let all = holdings.differing(lingering.offer(Kind::Cluster, newest));
    let all: Vec<_> = all.map(|(name, _, to)| Change::new(name, to)).collect();
    assert!(holdings.tell_all(&all), "{holdings:?}");
    holdings
}

/// Those that ask for everything, and for each by name, and were told all of this.
fn beginners(newest: &Snapshot) -> [Holdings; 2] {
    [wanting(&["*"]), naming_all(newest)].map(|holdings| told_all(holdings, newest))
}

fn told(holdings: &Holdings) -> Vec<(&str, Option<&str>)> {
    holdings.told().map(|(name, version)| (&**name, version.map(|it| &**it))).collect()
}

#[test]
fn who_begins_with_everything_costs_no_note() {
    let (first, second) = (world("a/1/1 b/1/1"), world("a/2/1 c/1/1"));
    for (mut holdings, news) in
        beginners(&first).into_iter().zip([&["a", "b", "c"][..], &["a", "b"]])
    {
        assert!(holdings.apart.is_empty(), "{holdings:?}");
        assert_eq!(told(&holdings), [("a", Some("1")), ("b", Some("1"))]);
        assert!(!holdings.holds("a") && holdings.may_hold("a") && !holdings.may_hold("c"));
        assert!(holdings.may_hold_any() && holdings.versions().is_empty());
        assert!(holdings.accept_all() && !holdings.accept_all());
        assert!(holdings.apart.is_empty() && holdings.holds("a") && holdings.holds("b"));
        look(&mut holdings, &second);
        assert_eq!(differing(&holdings, &second), news);
    }
}

#[test]
fn who_names_all_that_there_is_and_no_more_begins_with_everything() {
    let newest = world("a/1/1 b/1/1");
    let there_are = newest.of(Kind::Cluster);
    for (subscribe, unsubscribe, begins, told) in [
        (&["b", "a"][..], &[][..], true, &["a", "b"][..]),
        (&["a", "b", "a"], &[], true, &["a", "b"]),
        (&["a"], &[], false, &["a"]),
        (&["a", "b", "c"], &[], false, &["a", "b", "c"]),
        (&["a", "b", "*"], &[], false, &["a", "b"]),
        (&["a", "b"], &["b"], false, &["a"]),
    ] {
        let mut holdings = Holdings::default();
        holdings.adjust(names(subscribe), &names(unsubscribe), there_are);
        assert_eq!(holdings.beginner.is_some(), begins, "{subscribe:?} {unsubscribe:?}");
        look(&mut holdings, &newest);
        assert_eq!(differing(&holdings, &newest), told, "{subscribe:?} {unsubscribe:?}");
    }
    let mut resumes = naming_all(&newest);
    resumes.inherit([("a".to_owned(), "1".to_owned())].into());
    look(&mut resumes, &newest);
    assert_eq!(differing(&resumes, &newest), ["b"]);
}

#[test]
fn what_changes_while_a_beginner_waits_is_told_at_once_and_while_it_reads_when_it_answered() {
    let (first, second) = (world("a/1/1 b/1/1"), world("a/2/1 c/1/1"));
    let mut waits = wanting(&["*"]);
    look(&mut waits, &first);
    look(&mut waits, &second);
    assert_eq!(differing(&waits, &second), ["a", "c"]);

    // Who asked for it by name hears of what is gone, and of nothing else that came.
    let mut waits = naming_all(&first);
    look(&mut waits, &first);
    look(&mut waits, &second);
    assert_eq!(differing(&waits, &second), ["a", "b"]);

    for (mut reads, news) in beginners(&first).into_iter().zip([&["a", "b", "c"][..], &["a", "b"]])
    {
        look(&mut reads, &second);
        assert!(!reads.accept_all());
        assert_eq!(told(&reads), [("a", Some("1")), ("b", Some("1"))]);
        accept(&mut reads);
        assert!(reads.holds("a") && reads.holds("b") && !reads.holds("c"));
        assert_eq!(differing(&reads, &second), news);
    }
}

#[test]
fn a_beginner_that_refuses_or_is_told_of_a_part_is_noted() {
    let newest = world("a/1/1 b/1/1");
    for mut refuses in beginners(&newest) {
        refuses.conclude(|_, held, _| held.doubtful = true);
        assert_eq!(differing(&refuses, &newest), ["a", "b"]);
        assert!(!refuses.holds("a") && !refuses.may_hold_any());
    }
    for mut partly in [wanting(&["*"]), naming_all(&newest)] {
        look(&mut partly, &newest);
        let first = newest.of(Kind::Cluster).iter_shared().take(1);
        let first: Vec<_> = first.map(|(_, resource)| Change::There(resource)).collect();
        assert!(!partly.tell_all(&first));
        for (_, held) in partly.apart_mut().take(1) {
            (held.told, held.doubtful) = (Some(Some("1".into())), false);
        }
        accept(&mut partly);
        assert!(partly.holds("a") && !partly.holds("b"));
        assert_eq!(differing(&partly, &newest), ["b"]);
    }
}

#[test]
fn what_changes_back_before_it_was_told_is_as_it_was() {
    let (first, second) = (world("a/1/1 b/1/1"), world("a/2/1"));
    let mut holdings = wanting(&["*"]);
    follow(&mut holdings, &first);
    look(&mut holdings, &second);
    look(&mut holdings, &first);
    assert!(holdings.apart.is_empty(), "{holdings:?}");
}

#[test]
fn what_was_told_and_is_not_wanted_is_not_held_but_may_be() {
    let (first, second) = (world("a/1/1"), world("a/2/1"));
    let mut holdings = wanting(&["a"]);
    follow(&mut holdings, &first);
    look(&mut holdings, &second);
    tell(&mut holdings, &second);
    ask(&mut holdings, &[], &["a"]);
    ask(&mut holdings, &["a"], &[]);
    assert!(!holdings.holds("a") && holdings.may_hold("a"));
    accept(&mut holdings);
    assert_eq!(differing(&holdings, &second), ["a"], "it may have been dropped when it arrived");
}

#[test]
fn who_asks_for_everything_once_more_is_told_it_once_more() {
    let newest = world("a/1/1 b/1/1");
    for answers_between in [false, true] {
        let mut holdings = wanting(&["*", "b"]);
        look(&mut holdings, &newest);
        tell(&mut holdings, &newest);
        assert_eq!(ask(&mut holdings, &[], &["*"]), Widened::No);
        if answers_between {
            accept(&mut holdings);
        }
        assert_eq!(ask(&mut holdings, &["*"], &[]), Widened::ToEverything);
        accept(&mut holdings);
        look(&mut holdings, &newest);
        let expected: &[&str] = if answers_between { &["a"] } else { &["a", "b"] };
        assert_eq!(differing(&holdings, &newest), expected);
    }
}

#[test]
fn what_is_gone_stays_noted_where_it_was_asked_for() {
    let mut holdings = wanting(&["a"]);
    follow(&mut holdings, &world("b/1/1"));
    assert_eq!(differing(&holdings, &world("b/1/1")), names(&[]));
    assert_eq!(differing(&holdings, &world("a/1/1")), ["a"], "as what lingers may be offered");
}

#[test]
fn versions_from_an_earlier_stream_are_believed() {
    let newest = world("a/1/1 b/2/1");
    let mut holdings = wanting(&["*"]);
    let initial = [("a", "1"), ("b", "1"), ("c", "1")];
    holdings.inherit(initial.map(|(name, version)| (name.into(), version.into())).into());
    look(&mut holdings, &newest);
    assert_eq!(differing(&holdings, &newest), ["b", "c"]);
    assert_eq!(holdings.versions(), initial.map(|(n, v)| (n.into(), v.into())).into());
}

#[test]
fn names_share_their_text_with_the_resources() {
    let newest = world("a/1/1 b/1/1");
    let mut holdings = Holdings::default();
    let set = newest.of(Kind::Cluster);
    holdings.adjust(names(&["c", "b", "a", "b"]), &[], set);
    for name in holdings.interest.asked() {
        let own = set.get(name);
        assert!(own.is_none_or(|own| Arc::ptr_eq(&own.name, name)), "{name}");
    }
    assert_eq!(holdings.interest.asked().count(), 3);
}

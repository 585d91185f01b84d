use proptest::prelude::{Strategy, prop_assert_eq, proptest};
use proptest::sample::subsequence;

use super::*;
use crate::xds::fixtures::{cluster, endpoints, resources, world};

const WHOLE: &str = "a/1/1 b/1/1 r/1=a,b r/h/1=b x/1! http/1>r,x!";

#[test]
fn a_consistent_world_is_taken_in_any_order_with_equal_versions() {
    let mut shuffled = resources(WHOLE);
    shuffled.reverse();
    let shuffled = Snapshot::new(shuffled).unwrap();
    for kind in Kind::ALL {
        assert_eq!(world(WHOLE).version(kind), shuffled.version(kind), "{kind:?}");
    }
}

#[test]
fn a_change_moves_the_version_of_its_own_type_alone() {
    for (changed, moves) in [
        ("a/2/1 b/1/1 r/1=a,b r/h/1=b x/1! http/1>r,x!", Kind::Cluster),
        ("a/1/2 b/1/1 r/1=a,b r/h/1=b x/1! http/1>r,x!", Kind::Endpoints),
        ("a/1/1 b/1/1 r/1=a,b r/h/2=b x/1! http/1>r,x!", Kind::VirtualHost),
        ("a/1/1 b/1/1 r/1=a,b r/h/1=b x/2! http/1>r,x!", Kind::Extension),
        ("a/1/1 b/1/1 r/1=a,b r/h/1=b x/1! http/2>r,x!", Kind::Listener),
    ] {
        for kind in Kind::ALL {
            let same = world(WHOLE).version(kind) == world(changed).version(kind);
            assert_eq!(same, kind != moves, "{changed}: {kind:?}");
        }
    }
}

#[test]
fn what_is_inconsistent_is_refused_with_the_names_at_fault() {
    let missing = |by_kind, by: &str, kind, name: &str| Inconsistent::Missing {
        by_kind,
        by: by.into(),
        kind,
        name: name.into(),
    };
    for (line, fault) in [
        ("a/1/1 a/2/1", Inconsistent::Duplicate { kind: Kind::Cluster, name: "a".into() }),
        ("a/1/1 r/1=a,b", missing(Kind::Routes, "r", Kind::Cluster, "b")),
        ("a/1/1 r/1= r/h/1=b", missing(Kind::VirtualHost, "r/h", Kind::Cluster, "b")),
        ("http/1>r", missing(Kind::Listener, "http", Kind::Routes, "r")),
        ("r/1= http/1>r,x!", missing(Kind::Listener, "http", Kind::Extension, "x")),
        ("r/1= https/1>r,q", missing(Kind::Listener, "https", Kind::Routes, "q")),
        ("tls/1>a~", missing(Kind::Listener, "tls", Kind::Cluster, "a")),
        ("r/1= https/1>r,s#", missing(Kind::Listener, "https", Kind::Secret, "s")),
        ("a/1/1#s", missing(Kind::Cluster, "a", Kind::Secret, "s")),
    ] {
        assert_eq!(Snapshot::new(resources(line)).unwrap_err(), fault, "{line}");
    }
}

#[test]
fn clusters_and_endpoints_come_in_pairs() {
    assert_eq!(
        Snapshot::new(vec![cluster("a", "1")]).unwrap_err(),
        Inconsistent::Missing {
            by_kind: Kind::Cluster,
            by: "a".into(),
            kind: Kind::Endpoints,
            name: "a".into()
        }
    );
    assert_eq!(
        Snapshot::new(vec![endpoints("a", "1")]).unwrap_err(),
        Inconsistent::Orphan { name: "a".into() }
    );
}

#[test]
fn what_did_not_change_is_shared_with_the_last_snapshot() {
    let last = world(WHOLE);
    let mut changed = last.resources.clone();
    resources("a/2/1 b/1/1 r/1=a,b r/h/1=b x/1! http/1>r,x!").into_iter().for_each(|it| {
        changed.put(it);
    });
    let next = last.next(changed).unwrap();
    assert_eq!(next, *world("a/2/1 b/1/1 r/1=a,b r/h/1=b x/1! http/1>r,x!"));
    let is_shared = |kind, name| {
        let shared = |snapshot: &Snapshot| snapshot.of(kind).get_shared(name).unwrap().clone();
        Arc::ptr_eq(&shared(&last), &shared(&next))
    };
    assert!(is_shared(Kind::Cluster, "b") && is_shared(Kind::Routes, "r"));
    assert!(!is_shared(Kind::Cluster, "a"));
}

/// What may be in a world, apart from what it needs.
const WORDS: [&str; 12] = [
    "a/1/1",
    "a/2/1#s",
    "b/1/1",
    "s/1#",
    "r/1=a",
    "r/2=b",
    "r/h/1=a",
    "r/h/2=b",
    "x/1!",
    "http/1>r,x!",
    "http/2>r",
    "tls/1>b~,s#",
];

fn some_resources() -> impl Strategy<Value = Resources> {
    let parts = (subsequence(&WORDS[..], 0..=WORDS.len()), subsequence(&["a", "b"][..], 0..=2));
    parts.prop_map(|(words, without_cluster)| {
        // Of two of one name, the last counts.
        let mut all: Resources = resources(&words.join(" ")).into_iter().collect();
        for name in without_cluster {
            all.remove(Kind::Cluster, name);
        }
        all
    })
}

proptest! {
    #[test]
    fn what_follows_another_snapshot_is_refused_exactly_where_it_would_be_alone(
        first in some_resources(), second in some_resources()
    ) {
        let alone = Snapshot::default().next(second.clone());
        if let Ok(first) = Snapshot::default().next(first) {
            let following = first.next(second);
            prop_assert_eq!(following.is_ok(), alone.is_ok());
            prop_assert_eq!(following.ok(), alone.ok());
        }
    }
}

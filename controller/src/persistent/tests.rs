use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Insert(u16, u8),
    Remove(u16),
    /// Looks back from here on at the map as it is now.
    Copy,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..400_u16, 0..4_u8).prop_map(|(key, value)| Step::Insert(key, value)),
        4 => (0..400_u16).prop_map(Step::Remove),
        1 => Just(Step::Copy),
    ];
    proptest::collection::vec(step, 0..1500)
}

fn play(steps: &[Step]) -> [(Map<u16, u8>, BTreeMap<u16, u8>); 2] {
    let (mut map, mut model) = (Map::default(), BTreeMap::new());
    let mut copy = (map.clone(), model.clone());
    for step in steps {
        match step {
            Step::Insert(key, value) => {
                let was = map.insert(*key, *value).map(|it| *it);
                assert_eq!(was, model.insert(*key, *value));
            }
            Step::Remove(key) => {
                assert_eq!(map.remove(key).map(|it| *it), model.remove(key));
            }
            Step::Copy => copy = (map.clone(), model.clone()),
        }
    }
    [copy, (map, model)]
}

proptest! {
    #[test]
    fn it_is_as_the_standard_librarys_sorted_map(steps in steps()) {
        for (map, model) in play(&steps) {
            prop_assert_eq!(map.len(), model.len());
            prop_assert!(map.iter().eq(model.iter()));
            for key in 0..400 {
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert!(map.starting_at(&key).eq(model.range(key..)), "from {}", key);
            }
            prop_assert!(map.leaves.iter().all(|leaf| !leaf.is_empty() && leaf.len() <= FULL));
        }
    }

    #[test]
    fn a_walk_finds_what_get_finds(
        steps in steps(),
        keys in proptest::collection::btree_set(0..420_u16, 0..300),
    ) {
        for (map, _) in play(&steps) {
            let mut walk = map.walk();
            for key in &keys {
                prop_assert_eq!(walk.get(key), map.get_shared(key), "{}", key);
            }
        }
    }

    #[test]
    fn changes_are_all_that_differs_and_nothing_else(steps in steps()) {
        let [(copy, before), (map, after)] = play(&steps);
        let keys = before.keys().chain(after.keys()).copied();
        let keys: std::collections::BTreeSet<_> = keys.collect();
        let differs = |key: &u16| before.get(key) != after.get(key);
        let expected: Vec<_> = keys.into_iter().filter(differs).collect();
        let told: Vec<_> = copy.changes(&map).collect();
        let told_keys: Vec<_> = told.iter().map(|change| *change.key).collect();
        prop_assert_eq!(told_keys, expected);
        for Change { key, before: one, after: other } in told {
            let values = [one, other].map(|value| value.map(|value| &**value));
            prop_assert_eq!(values, [before.get(key), after.get(key)]);
        }
        prop_assert_eq!(copy == map, before == after);
    }
}

#[test]
fn a_copy_shares_all_but_the_leaf_that_changed() {
    let map: Map<u32, u32> = (0..10_000).map(|key| (key, key)).collect();
    let mut copy = map.clone();
    assert!(copy.is_same(&map));
    copy.insert(5_000, 0);
    let shared = map.leaves.iter().zip(copy.leaves.iter()).filter(|(a, b)| Arc::ptr_eq(a, b));
    assert_eq!(shared.count(), map.leaves.len() - 1);
    let told: Vec<_> = map.changes(&copy).map(|change| *change.key).collect();
    assert_eq!(told, [5_000]);
}

#[test]
fn an_equal_value_stays_shared() {
    let mut map: Map<&str, i32> = Map::from([("a", 1)]);
    let before = map.clone();
    assert!(!map.put("a", 1) && map.is_same(&before));
    assert!(map.put("a", 2) && !map.is_same(&before));
}

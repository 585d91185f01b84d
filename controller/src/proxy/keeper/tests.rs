//! Histories of one proxy service, without an engine.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::proxy::Needs;
use crate::swarm::NetworkId;

const GRACE: Duration = Duration::from_mins(10);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wanted(networks: &[&str]) -> Wanted {
    let ids: Vec<NetworkId> = networks.iter().map(|id| NetworkId::new(*id)).collect();
    Wanted {
        needs: Needs { networks: ids.iter().cloned().collect(), ..Needs::default() },
        networks: ids.into_iter().map(|id| (id.clone(), id.to_string())).collect(),
        secrets: BTreeMap::new(),
    }
}

/// A proxy on these networks, whose last update went so.
fn revision(networks: &[&str], state: &str) -> Revision {
    of_image("proxy:1", networks, state)
}

fn of_image(image: &str, networks: &[&str], state: &str) -> Revision {
    let targets: Vec<_> = networks.iter().map(|id| json!({"Target": id})).collect();
    let body = json!({
        "Version": {"Index": 7},
        "Spec": {"Name": "proxy", "TaskTemplate": {"ContainerSpec": {"Image": image}, "Networks": targets}},
        "UpdateStatus": {"State": state, "Message": "task t1 failed"},
    });
    Revision::read(body.to_string().as_bytes()).expect("a service")
}

#[test]
fn changes_are_gathered_for_a_second_after_the_last_and_five_after_the_first() {
    let start = Instant::now();
    let mut keeper = Keeper::new(GRACE);
    assert_eq!(keeper.due(), None);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    for (step, due) in [(0, 1000), (1, 1800), (2, 2600), (3, 3400), (4, 4200), (5, 5000), (6, 5000)]
    {
        let now = start + Duration::from_millis(step * 800);
        keeper.see(1, wanted(&names[..=usize::try_from(step).expect("small")]), now);
        assert_eq!(keeper.due(), Some(start + Duration::from_millis(due)), "step {step}");
    }
    let verdict = keeper.look(&revision(&[], ""), start + seconds(5)).expect("a verdict");
    let attached = verdict.update.expect("an update").attached;
    assert_eq!(attached.networks.len(), 7, "all of them at once");
    assert_eq!(keeper.due(), None);
}

#[test]
fn the_same_again_is_no_reason_to_look() {
    let start = Instant::now();
    let mut keeper = Keeper::new(GRACE);
    keeper.see(1, wanted(&["a"]), start);
    keeper.look(&revision(&["a"], ""), start + seconds(1)).expect("a verdict");
    for second in 2..100 {
        keeper.see(1, wanted(&["a"]), start + seconds(second));
        assert_eq!(keeper.due(), None, "after {second} s");
    }
    keeper.see(2, wanted(&["a"]), start + seconds(100));
    assert_eq!(keeper.due(), Some(start + seconds(101)), "the service was changed");
}

#[test]
fn failures_are_tried_again_later_and_later_up_to_five_minutes() {
    let mut now = Instant::now();
    let mut keeper = Keeper::new(GRACE);
    keeper.see(1, wanted(&["a"]), now);
    let pauses = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
    for (version, pause) in (2..).zip(pauses) {
        keeper.failed(now);
        assert_eq!(keeper.due(), Some(now + seconds(pause)));
        // The service's own changes do not shorten it.
        keeper.see(version, wanted(&["a"]), now);
        assert_eq!(keeper.due(), Some(now + seconds(pause)));
        now += seconds(pause);
    }
    keeper.see(1, wanted(&["a", "b"]), now);
    assert_eq!(keeper.due(), Some(now + seconds(1)), "another need is tried at once");
}

#[test]
fn an_update_that_is_under_way_is_let_finish_but_not_for_ever() {
    let start = Instant::now();
    let mut keeper = Keeper::new(GRACE);
    keeper.see(1, wanted(&["a"]), start);
    let rolling = revision(&[], "updating");
    for (after, update) in [(1, false), (30, false), (60, false), (61, true)] {
        let verdict = keeper.look(&rolling, start + seconds(after)).expect("a verdict");
        assert_eq!(verdict.update.is_some(), update, "after {after} s");
        assert_eq!(keeper.due(), (!update).then(|| start + seconds(61)), "after {after} s");
    }
}

/// What a look at the proxy leads to: the networks that are attached, or what is told.
fn look(keeper: &mut Keeper, networks: &[&str], state: &str) -> (Vec<String>, Option<String>) {
    let verdict = keeper.look(&revision(networks, state), Instant::now()).expect("a verdict");
    let attached = verdict.update.map(|update| update.attached.networks).unwrap_or_default();
    (attached.iter().map(ToString::to_string).collect(), verdict.trouble)
}

fn made(keeper: &mut Keeper, networks: &[&str]) {
    keeper.made(networks.iter().map(|id| Item::Network(NetworkId::new(*id))).collect());
}

#[test]
fn what_was_rolled_back_is_told_and_held_up_alone_until_the_service_is_another() {
    let now = Instant::now();
    for state in ["rollback_started", "rollback_paused", "rollback_completed"] {
        let mut keeper = Keeper::new(GRACE);
        keeper.see(1, wanted(&["a"]), now);
        assert_eq!(look(&mut keeper, &[], ""), (vec!["a".into()], None));
        made(&mut keeper, &["a"]);
        assert_eq!(look(&mut keeper, &["a"], "updating"), (vec![], None));
        for _ in 0..3 {
            let (attached, trouble) = look(&mut keeper, &[], state);
            let trouble = trouble.unwrap_or_default();
            assert_eq!(attached, [""; 0], "{state}");
            assert!(trouble.contains("rolled back: task t1 failed; network a is"), "{trouble}");
        }
        // Another need goes alone, again if it fails on its way, and the first stays where it is.
        keeper.see(2, wanted(&["a", "b"]), now);
        for _ in 0..2 {
            assert_eq!(look(&mut keeper, &[], state).0, ["b"], "{state}");
            keeper.failed(now);
        }
        made(&mut keeper, &["b"]);
        for state in ["updating", "completed"] {
            let (attached, trouble) = look(&mut keeper, &["b"], state);
            assert_eq!(attached, [""; 0], "{state}");
            assert!(trouble.unwrap_or_default().contains("network a is"), "{state}");
        }
        let mended = keeper.look(&of_image("proxy:2", &["b"], ""), now).expect("a verdict");
        assert_eq!(mended.update.map(|it| it.attached), Some(wanted(&["a"]).needs), "{state}");
        assert_eq!(mended.trouble, None, "{state}");
    }
}

#[test]
fn who_finds_a_rollback_at_the_start_takes_all_that_lacks_for_its_reason() {
    let mut keeper = Keeper::new(GRACE);
    keeper.see(1, wanted(&["a"]), Instant::now());
    for _ in 0..2 {
        let (attached, trouble) = look(&mut keeper, &[], "rollback_completed");
        assert!(attached.is_empty() && trouble.is_some(), "{attached:?}, {trouble:?}");
    }
    let (attached, trouble) = look(&mut keeper, &["c"], "");
    assert!(attached.is_empty() && trouble.is_some(), "by a controller: {attached:?}, {trouble:?}");
    let mended = keeper.look(&of_image("proxy:2", &[], ""), Instant::now()).expect("a verdict");
    assert!(mended.update.is_some(), "by its owner");
}

#[test]
fn a_paused_update_is_told_with_what_to_do() {
    let now = Instant::now();
    let mut keeper = Keeper::new(GRACE);
    keeper.see(1, wanted(&["a"]), now);
    let verdict = keeper.look(&revision(&["a"], "paused"), now).expect("a verdict");
    assert_eq!(verdict.update, None);
    let trouble = verdict.trouble.expect("a trouble");
    assert!(trouble.contains("task t1 failed") && trouble.contains("--force proxy"), "{trouble}");
}

#[test]
fn a_service_that_is_gone_is_not_looked_at() {
    let now = Instant::now();
    let mut keeper = Keeper::new(GRACE);
    keeper.see(1, wanted(&["a"]), now);
    keeper.miss();
    assert_eq!(keeper.due(), None);
    keeper.see(1, wanted(&["a"]), now);
    assert_eq!(keeper.due(), Some(now + seconds(1)), "it is back");
}

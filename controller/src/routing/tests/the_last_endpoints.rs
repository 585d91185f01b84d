//! The last endpoints of a pool, told as claims about them.

use super::*;

fn two_tasks() -> Swarm {
    let web = a_service("web").serving("a.example,b.example");
    a_swarm().service(web).task("web", "10.0.0.2").task("web", "10.0.0.3")
}

fn then(last: &Turn, swarm: &Swarm, milliseconds: u64) -> Turn {
    route(&swarm.picture, &settings(), last, at(milliseconds))
}

fn endpoints(turn: &Turn) -> String {
    let lines = shown(turn);
    lines[0].split_once(':').unwrap().1.trim().to_owned()
}

#[test]
fn leave_at_once_while_another_is_there() {
    let turn = then(&routed(&two_tasks()), &two_tasks().no_task("10.0.0.2"), 0);
    assert_eq!(endpoints(&turn), "10.0.0.3:80");
    assert_eq!(turn.wake_at, None);
}

#[test]
fn stay_together_for_a_moment_and_then_go() {
    let empty = two_tasks().no_task("10.0.0.2").no_task("10.0.0.3");
    let both = "10.0.0.2:80 leaving 10.0.0.3:80 leaving";
    let turn = then(&routed(&two_tasks()), &empty, 1000);
    assert_eq!((endpoints(&turn).as_str(), turn.wake_at), (both, Some(at(2400))));
    let turn = then(&turn, &empty, 2399);
    assert_eq!((endpoints(&turn).as_str(), turn.wake_at), (both, Some(at(2400))));
    let turn = then(&turn, &empty, 2400);
    assert_eq!((endpoints(&turn).as_str(), turn.wake_at), ("", None));
    assert_eq!(then(&turn, &empty, 2401), turn, "they do not come back");
}

#[test]
fn are_only_those_that_left_last() {
    let one = two_tasks().no_task("10.0.0.2");
    let turn = then(&routed(&two_tasks()), &one, 0);
    let turn = then(&turn, &one.no_task("10.0.0.3"), 100);
    assert_eq!(endpoints(&turn), "10.0.0.3:80 leaving");
    assert_eq!(turn.wake_at, Some(at(1500)));
}

#[test]
fn go_as_soon_as_another_comes() {
    let empty = two_tasks().no_task("10.0.0.2").no_task("10.0.0.3");
    let turn = then(&routed(&two_tasks()), &empty, 0);
    let turn = then(&turn, &empty.clone().task("web", "10.0.0.4"), 100);
    assert_eq!((endpoints(&turn).as_str(), turn.wake_at), ("10.0.0.4:80", None));
    let turn = then(&turn, &empty, 200);
    assert_eq!(endpoints(&turn), "10.0.0.4:80 leaving");
}

#[test]
fn that_died_do_not_stay() {
    let dead = two_tasks().task_in_state("web", "10.0.0.2", TaskState::Ended).task_in_state(
        "web",
        "10.0.0.3",
        TaskState::Waiting,
    );
    assert_eq!(endpoints(&then(&routed(&two_tasks()), &dead, 0)), "");
}

#[test]
fn go_with_their_service_and_its_route() {
    let turn = then(&routed(&two_tasks()), &two_tasks().no_service("web"), 0);
    assert_eq!((shown(&turn), turn.wake_at), (vec![], None));
}

#[test]
fn of_a_removed_service_stay_where_others_hold_the_route() {
    let both = two_tasks().service(a_service("idle").serving("a.example").created_at(9));
    let gone = both.clone().no_service("web").no_task("10.0.0.2").no_task("10.0.0.3");
    let turn = then(&routed(&both), &gone, 0);
    assert_eq!(shown(&turn), ["a.example -> idle: 10.0.0.2:80 leaving 10.0.0.3:80 leaving"]);
    assert_eq!(shown(&then(&turn, &gone, 1400)), ["a.example -> idle:"]);
}

#[test]
fn of_a_service_that_gave_up_the_host_do_not_stay() {
    let both = two_tasks().service(a_service("idle").serving("a.example").created_at(9));
    let moved = a_swarm()
        .service(a_service("web").serving("c.example"))
        .service(a_service("idle").serving("a.example").created_at(9));
    let turn = then(&routed(&both), &moved, 0);
    assert_eq!(shown(&turn), ["a.example -> idle:", "c.example -> web:"]);
}

#[test]
fn do_not_outlive_a_clock_that_is_set_back() {
    let empty = two_tasks().no_task("10.0.0.2").no_task("10.0.0.3");
    let turn = then(&routed(&two_tasks()), &empty, 1000);
    assert_eq!(endpoints(&then(&turn, &empty, 0)), "");
}

#[test]
fn are_no_virtual_ips() {
    let web = vip(a_service("web").serving("a.example"), "10.0.0.2");
    let none = a_swarm().service(web.clone().scale(Scale::Replicated(0)));
    let turn = then(&routed(&a_swarm().service(web)), &none, 0);
    assert_eq!((endpoints(&turn).as_str(), turn.wake_at), ("", None));
}

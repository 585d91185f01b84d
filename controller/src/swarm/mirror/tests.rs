use super::*;
use crate::swarm::Service;
use crate::swarm::testing::a_service;

fn task(id: &str, version: u64, state: TaskState) -> Versioned<Task> {
    let object = Task {
        id: TaskId::new(id),
        service: ServiceId::new("s"),
        slot: None,
        node: None,
        state,
        addresses: [].into(),
        secrets: std::collections::BTreeSet::new(),
    };
    Versioned::new(version, object)
}

fn running(id: &str, version: u64) -> Versioned<Task> {
    task(id, version, TaskState::Running)
}

fn told(mirror: &mut Mirror, id: &str, now: Now<Task>) -> Effect {
    mirror.apply(Change::Task(TaskId::new(id), now))
}

/// The mirror after a list of these tasks that was begun at a mark.
fn listed(mirror: &Mirror, tasks: &[Versioned<Task>], begun: Mark) -> (Mirror, Agreement) {
    let (networks, nodes) = (Map::default(), Map::default());
    let tasks: Vec<_> = tasks.iter().cloned().map(Arc::new).collect();
    let lists =
        Lists { services: &[], tasks: &tasks, networks: &networks, nodes: &nodes, secrets: None };
    mirror.after(&lists, begun).expect("its own mark")
}

/// A mirror whose first list shows these tasks.
fn of(tasks: &[Versioned<Task>]) -> Mirror {
    let mirror = Mirror::new(1);
    listed(&mirror, tasks, mirror.mark()).0
}

/// The tasks that it shows, as `id` or `id?` for one that does not run yet.
fn shown(mirror: &Mirror) -> String {
    let tasks = mirror.picture().tasks;
    let shown = tasks.values().map(|task| match task.state {
        TaskState::Running => task.id.to_string(),
        _ => format!("{}?", task.id),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_task_that_shall_run_no_more_is_less_and_a_new_one_is_more() {
    let mut mirror = of(&[running("a", 1), running("b", 1), running("c", 1)]);
    let waiting = |version| Now::Is(task("d", version, TaskState::Waiting));
    let ended = Now::Is(task("c", 4, TaskState::Ended));
    for (id, now, effect, after) in [
        ("a", Now::Unlisted(2), Effect::Less, "b c"),
        ("b", Now::Removed, Effect::Less, "c"),
        ("c", Now::Is(running("c", 3)), Effect::None, "c"),
        ("c", ended, Effect::Less, "c?"),
        ("c", Now::Unlisted(5), Effect::More, ""),
        ("d", waiting(6), Effect::More, "d?"),
        ("d", waiting(7), Effect::None, "d?"),
        ("d", Now::Is(running("d", 8)), Effect::More, "d"),
        ("e", Now::Unlisted(9), Effect::None, "d"),
        ("a", Now::Removed, Effect::None, "d"),
    ] {
        let claim = format!("{id} {now:?}");
        assert_eq!(told(&mut mirror, id, now), effect, "{claim}");
        assert_eq!(shown(&mirror), after, "{claim}");
    }
}

#[test]
fn what_a_list_has_shown_already_is_not_told_again() {
    let mut mirror = of(&[running("a", 5), running("b", 9)]);
    for (id, now) in [
        ("a", Now::Unlisted(4)),
        ("a", Now::Unlisted(5)),
        // Written before the list, which does not show it: gone since.
        ("c", Now::Is(running("c", 8))),
    ] {
        assert_eq!(told(&mut mirror, id, now), Effect::None);
        assert_eq!(shown(&mirror), "a b");
    }
    assert_eq!(told(&mut mirror, "c", Now::Is(running("c", 10))), Effect::More);
    assert_eq!(shown(&mirror), "a b c");
}

#[test]
fn what_was_told_while_a_list_was_read_is_newer_than_the_list() {
    let mut mirror = of(&[running("stops", 1), running("goes", 1), running("stays", 1)]);
    let begun = mirror.mark();
    told(&mut mirror, "stops", Now::Unlisted(4));
    told(&mut mirror, "goes", Now::Removed);
    told(&mut mirror, "comes", Now::Is(running("comes", 5)));
    let list = [running("stops", 1), running("goes", 1), running("stays", 1)];
    let (mirror, agreement) = listed(&mirror, &list, begun);
    assert_eq!((shown(&mirror).as_str(), agreement), ("comes stays", Agreement::Same));
}

#[test]
fn a_list_that_shows_a_later_version_is_newer_than_what_was_told() {
    let mut mirror = of(&[task("a", 1, TaskState::Waiting)]);
    let begun = mirror.mark();
    told(&mut mirror, "a", Now::Is(task("a", 2, TaskState::Waiting)));
    let (mut mirror, _) = listed(&mirror, &[running("a", 3)], begun);
    assert_eq!(shown(&mirror), "a");
    // What the list has shown comes by the watch, later.
    assert_eq!(told(&mut mirror, "a", Now::Is(running("a", 3))), Effect::None);
}

#[test]
fn a_list_corrects_what_the_watch_has_not_told() {
    let mut mirror = of(&[running("a", 1), running("b", 1)]);
    told(&mut mirror, "c", Now::Is(running("c", 2)));
    let (mirror, agreement) = listed(&mirror, &[running("b", 1), running("d", 3)], mirror.mark());
    assert_eq!((shown(&mirror).as_str(), agreement), ("b d", Agreement::Corrected));
    let list = [running("b", 1), running("d", 3)];
    let (mirror, agreement) = listed(&mirror, &list, mirror.mark());
    assert_eq!((shown(&mirror).as_str(), agreement), ("b d", Agreement::Same));
}

#[test]
fn a_list_that_was_begun_before_this_watch_is_none_for_it() {
    let before = Mirror::new(1);
    let (networks, nodes) = (Map::default(), Map::default());
    let lists =
        Lists { services: &[], tasks: &[], networks: &networks, nodes: &nodes, secrets: None };
    assert!(Mirror::new(2).after(&lists, before.mark()).is_none());
}

#[test]
fn pictures_share_what_neither_the_watch_nor_a_list_changed() {
    let list = [running("a", 1), running("b", 1)];
    let mut mirror = of(&list);
    let before = mirror.picture();
    told(&mut mirror, "b", Now::Is(task("b", 2, TaskState::Ended)));
    let after = mirror.picture();
    let shared = |id: &str, one: &Picture, other: &Picture| {
        let task = |it: &Picture| it.tasks.get_shared(&TaskId::new(id)).cloned().expect("the task");
        Arc::ptr_eq(&task(one), &task(other))
    };
    assert!(shared("a", &before, &after));
    assert!(!shared("b", &before, &after));
    assert!(before.services.is_same(&after.services));
    let (again, _) =
        listed(&mirror, &[list[0].clone(), task("b", 2, TaskState::Ended)], mirror.mark());
    assert!(again.picture().tasks.is_same(&after.tasks));
}

#[test]
fn a_service_that_is_gone_is_less_and_any_other_change_of_one_is_more() {
    let draft = |version, label: &str| {
        let labels = [("label".to_owned(), label.to_owned())].into();
        let service = Service { version, labels, ..a_service("s", "demo") };
        Now::Is(Versioned::new(version, Draft::of(service, &["n"])))
    };
    let network = Network {
        id: NetworkId::new("n"),
        name: "front".into(),
        purpose: crate::swarm::Purpose::Tasks,
    };
    let mut mirror = of(&[]);
    let service = |now| Change::Service(ServiceId::new("s"), now);
    assert_eq!(mirror.apply(service(draft(1, "a"))), Effect::More);
    assert_eq!(mirror.apply(service(draft(2, "b"))), Effect::More);
    let of_service = |mirror: &Mirror| {
        let services = mirror.picture().services;
        let service = services.values().next();
        service.map(|service| (service.labels.get("label").cloned(), service.networks.clone()))
    };
    assert_eq!(of_service(&mirror), Some((Some("b".to_owned()), vec![])));
    let id = network.id.clone();
    let now = Now::Is(Versioned::new(3, network));
    assert_eq!(mirror.apply(Change::Network(id.clone(), now)), Effect::More);
    assert_eq!(
        of_service(&mirror),
        Some((Some("b".to_owned()), vec![id])),
        "its network is known now"
    );
    assert_eq!(mirror.apply(service(Now::Removed)), Effect::Less);
    assert_eq!(mirror.apply(service(draft(2, "b"))), Effect::None, "it does not come back");
    assert_eq!(of_service(&mirror), None);
}

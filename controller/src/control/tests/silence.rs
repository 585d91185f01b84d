//! What Envoys hear of a thousand things that happen in a Swarm: nothing, where they reach virtual
//! IPs; where they reach tasks, one endpoint resource a change.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::*;
use crate::swarm::{Scale, Service, TaskId, TaskState, Update};

const SERVICES: u8 = 20;
const EVENTS: usize = 1000;

/// What may happen to a service without a word to an Envoy that reaches its virtual IP.
#[derive(Debug, Clone)]
enum Event {
    /// Another task at this address, or the same in another state.
    Task(u8, TaskState),
    TaskGone(u8),
    Scaled(u64),
    /// Labels of others, an image, an environment: another version of the service.
    Written(u8),
    Updating(bool),
}

fn some_event() -> impl Strategy<Value = (u8, Event)> {
    let state = select(&[TaskState::Running, TaskState::Waiting, TaskState::Ended][..]);
    let event = prop_oneof![
        4 => (0..6_u8, state).prop_map(|(slot, state)| Event::Task(slot, state)),
        3 => (0..6_u8).prop_map(Event::TaskGone),
        1 => (1..9_u64).prop_map(Event::Scaled),
        1 => any::<u8>().prop_map(Event::Written),
        1 => any::<bool>().prop_map(Event::Updating),
    ];
    (0..SERVICES, event)
}

fn name(service: u8) -> String {
    format!("s{service}")
}

fn address(service: u8, slot: u8) -> String {
    format!("10.0.{service}.{}", slot + 10)
}

/// Applies an event, which writes the service anew where Swarm would.
fn happen(swarm: Swarm, service: u8, event: &Event) -> Swarm {
    let write = |mut swarm: Swarm, change: &dyn Fn(&mut Service)| {
        let id = ServiceId::new(format!("id-{}", name(service)));
        let service = swarm.picture.services.get_mut(&id).unwrap();
        service.version += 1;
        change(service);
        swarm
    };
    match event {
        Event::Task(slot, state) => {
            swarm.task_in_state(&name(service), &address(service, *slot), *state)
        }
        Event::TaskGone(slot) => swarm.no_task(&address(service, *slot)),
        Event::Scaled(count) => write(swarm, &|it| it.scale = Scale::Replicated(*count)),
        Event::Written(value) => write(swarm, &|it| {
            it.labels.insert("team".into(), value.to_string());
        }),
        Event::Updating(is) => {
            write(swarm, &|it| it.update = if *is { Update::Rolling } else { Update::Idle })
        }
    }
}

/// Twenty services with a task each that no event touches.
fn swarm(mode: &str) -> Swarm {
    (0..SERVICES).fold(a_swarm(), |swarm, number| {
        let service = a_service(&name(number))
            .serving(&format!("{}.local", name(number)))
            .label("backend_mode", mode)
            .vip(&format!("10.1.{number}.2"));
        swarm.service(service).task(&name(number), &address(number, 100))
    })
}

fn events() -> Vec<(u8, Event)> {
    let config = Config { rng_seed: RngSeed::Fixed(1), ..Config::default() };
    let mut runner = TestRunner::new(config);
    let event = some_event();
    (0..EVENTS).map(|_| event.new_tree(&mut runner).unwrap().current()).collect()
}

/// The addresses that answer for a service.
fn answering(swarm: &Swarm, service: u8) -> BTreeSet<TaskId> {
    let owner = ServiceId::new(format!("id-{}", name(service)));
    let tasks = swarm.picture.tasks.values().filter(|task| task.service == owner);
    let running = tasks.filter(|task| task.state == TaskState::Running);
    running.map(|task| task.id.clone()).collect()
}

/// How many responses were sent, by kind.
fn told(controller: &Controller) -> BTreeMap<Kind, u64> {
    let responses = controller.observer.report().responses;
    responses.into_iter().map(|(kind, it)| (kind, it.delta)).collect()
}

/// Shows a Swarm, and waits until the loop has taken it.
async fn show(controller: &mut Controller, swarm: &Swarm) {
    controller.snapshots.mark_unchanged();
    controller.show(swarm);
    let is_taken = |memory: &Option<Memory>| {
        memory.as_ref().is_some_and(|memory| *memory.picture == swarm.picture)
    };
    let taken = timeout(DEADLINE, controller.memory.wait_for(is_taken)).await;
    assert!(taken.is_ok_and(|taken| taken.is_ok()), "the loop does not take it");
}

#[tokio::test]
async fn a_thousand_events_behind_virtual_ips_are_no_response() {
    let mut swarm = swarm("vip");
    let mut controller = Controller::start(&swarm).await;
    let (running, _envoy) = controller.connect(|_, _| false);
    let hosts: BTreeSet<String> = (0..SERVICES).map(|it| format!("{}.local", name(it))).collect();
    until_routed(&running, &hosts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let before = told(&controller);
    for (service, event) in events() {
        swarm = happen(swarm, service, &event);
        show(&mut controller, &swarm).await;
        assert!(!controller.snapshots.has_changed().unwrap(), "{event:?} of {}", name(service));
    }
    assert_eq!(told(&controller), before);
}

#[tokio::test]
async fn each_change_of_tasks_among_a_thousand_events_is_one_endpoint_resource() {
    let mut swarm = swarm("task");
    let mut controller = Controller::start(&swarm).await;
    let (running, _envoy) = controller.connect(|_, _| false);
    let hosts: BTreeSet<String> = (0..SERVICES).map(|it| format!("{}.local", name(it))).collect();
    until_routed(&running, &hosts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut expected = told(&controller);
    let mut told_of = 0;
    for (service, event) in events() {
        let (answered, runs) = (answering(&swarm, service), running.lock().unwrap().clone());
        swarm = happen(swarm, service, &event);
        show(&mut controller, &swarm).await;
        let changed = answering(&swarm, service) != answered;
        let is_told = controller.snapshots.has_changed().unwrap();
        assert_eq!(is_told, changed, "{event:?} of {}", name(service));
        if changed {
            told_of += 1;
            let pool = (Kind::Endpoints, name(service));
            let arrived = timeout(DEADLINE, async {
                while running.lock().unwrap().get(&pool) == runs.get(&pool) {
                    tokio::task::yield_now().await;
                }
            });
            assert!(arrived.await.is_ok(), "{event:?} of {} does not arrive", name(service));
            let now = running.lock().unwrap().clone();
            let differs = now.iter().filter(|(key, told)| runs.get(*key) != Some(*told)).count();
            assert_eq!((differs, now.len()), (1, runs.len()), "{event:?}");
            *expected.entry(Kind::Endpoints).or_default() += 1;
        }
        assert_eq!(told(&controller), expected, "{event:?} of {}", name(service));
    }
    assert!(told_of > 100, "only {told_of} of the events changed anything");
}

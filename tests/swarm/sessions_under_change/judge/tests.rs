use super::*;

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// An answer that came at this time, 5 ms after its request, by Envoy 0.
fn answer(came: u64, instance: &str, pins: &[&str]) -> Event {
    let pins = pins.iter().map(ToString::to_string).collect();
    let outcome = Outcome::Answered { envoy: 0, instance: instance.to_owned(), pins };
    Event { sent: at(came - 5), came: at(came), closed: Vec::new(), outcome }
}

fn closed_before(event: Event, envoy: usize) -> Event {
    Event { closed: vec![(envoy, "reset".to_owned())], ..event }
}

fn failed(came: u64) -> Event {
    Event { outcome: Outcome::Failed("503".to_owned()), ..answer(came, "", &[]) }
}

/// Task `a` leaves after 1 s, `b` stays to the end, `k` is killed after 2 s and seen for half a second
/// more. Envoy 0 restarts from 3 s to 4 s.
fn around() -> Circumstances {
    let stay = |last, killed| Stay { first: at(0), last: at(last), killed };
    let pool =
        [("a", stay(1000, None)), ("b", stay(9000, None)), ("k", stay(2500, Some(at(2000))))];
    Circumstances {
        pool: pool.into_iter().map(|(name, stay)| (name.to_owned(), stay)).collect(),
        restarts: vec![(0, at(3000), at(4000))],
    }
}

fn moved(from: &str, to: &str) -> Violation {
    Violation::Moved { from: from.to_owned(), to: to.to_owned() }
}

fn pins(expected: usize, found: usize) -> Violation {
    Violation::Pins { expected, found }
}

/// What happens, and which events violate what.
type Row = (&'static str, Vec<Event>, Vec<(usize, Violation)>);

#[test]
fn a_history_is_judged_by_the_pool_at_its_time() {
    let first = answer(100, "a", &["1"]);
    let table: [Row; 13] = [
        ("stays", vec![first.clone(), answer(200, "a", &[]), answer(300, "a", &[])], vec![]),
        ("moves when its task has left", vec![first.clone(), answer(1100, "b", &["2"])], vec![]),
        (
            "is moved while its task is there",
            vec![first.clone(), answer(900, "b", &["2"])],
            vec![(1, moved("a", "b"))],
        ),
        (
            "a swapped instance",
            vec![answer(100, "b", &["1"]), answer(200, "a", &[]), answer(300, "b", &[])],
            vec![(1, moved("b", "a")), (1, pins(1, 0)), (2, moved("a", "b")), (2, pins(1, 0))],
        ),
        (
            "moves from a task that was killed",
            vec![answer(100, "k", &["1"]), answer(2100, "b", &["2"])],
            vec![],
        ),
        (
            "moves before its task was killed",
            vec![answer(100, "k", &["1"]), answer(1900, "b", &["2"])],
            vec![(1, moved("k", "b"))],
        ),
        ("no first pin", vec![answer(100, "a", &[])], vec![(0, pins(1, 0))]),
        (
            "two pins at a move",
            vec![first.clone(), answer(1100, "b", &["2", "3"])],
            vec![(1, pins(1, 2))],
        ),
        ("no pin at a move", vec![first.clone(), answer(1100, "b", &[])], vec![(1, pins(1, 0))]),
        (
            "a pin without a move",
            vec![first.clone(), answer(200, "a", &["2"])],
            vec![(1, pins(0, 1))],
        ),
        (
            "an old pin at a move",
            vec![first.clone(), answer(1100, "b", &["1"])],
            vec![(1, Violation::OldPin)],
        ),
        (
            "a failure, and the same task after it",
            vec![first.clone(), failed(200), answer(300, "a", &[])],
            vec![(1, Violation::Failed("503".to_owned()))],
        ),
        (
            "closed by an Envoy that goes, and by one that does not",
            vec![
                first,
                closed_before(answer(900, "a", &[]), 0),
                closed_before(answer(3005, "b", &["2"]), 0),
                closed_before(answer(3500, "b", &[]), 1),
            ],
            vec![(1, Violation::Closed { envoy: 0 }), (3, Violation::Closed { envoy: 1 })],
        ),
    ];
    for (what, history, expected) in table {
        assert_eq!(judge(&history, &around()), expected, "{what}");
    }
}

#[test]
fn moves_are_counted_between_answers() {
    let history = [
        answer(100, "a", &["1"]),
        answer(200, "a", &[]),
        failed(300),
        answer(400, "b", &["2"]),
        answer(500, "b", &[]),
    ];
    assert_eq!(moves(&history), [at(400)]);
}

#[test]
fn a_story_shows_the_way_to_the_violation_and_the_pool() {
    let mut history: Vec<Event> = (2..9).map(|tenth| answer(tenth * 100, "a", &[])).collect();
    history.insert(0, answer(100, "a", &["first-pin-of-the-client"]));
    history.push(closed_before(answer(900, "b", &[]), 1));
    let around = around();
    let story = Story { history: &history, place: 8, around: &around }.to_string();
    let lines: Vec<&str> = story.lines().collect();
    let expected = [
        ["  95.000ms", "1 × a by Envoy 0, new pin first-pin-of…"],
        [" 195.000ms", "7 × a by Envoy 0"],
        [">", "1 × Envoy 1 closed (reset); b by Envoy 0"],
        ["in the pool: a", "to 1.000s at least"],
        ["in the pool: b", "to 9.000s at least"],
        ["in the pool: k", "killed at 2.000s"],
    ];
    assert_eq!(lines.len(), expected.len(), "{story}");
    for (line, parts) in lines.iter().zip(expected) {
        assert!(
            parts.iter().all(|part| line.contains(part)),
            "{parts:?} is not in {line}\n{story}"
        );
    }
}

//! What holds for all labels together, and that the documentation says what the code does.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::testing::{a_service, a_swarm, read};
use super::*;

const DOCUMENTATION: &str = include_str!("../../../docs/labels.md");

/// A cell of a Markdown table may not hold a bare `|`.
fn row(cells: &[&str]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', r"\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

#[test]
fn the_documentation_has_every_label() {
    let table: String = LABELS
        .iter()
        .map(|label| row(&[&format!("`{}`", label.name), label.kind, label.default, label.about]))
        .collect();
    assert!(DOCUMENTATION.contains(&table), "docs/labels.md should have:\n{table}");
}

#[test]
fn the_documentation_has_every_problem_code() {
    let table: String = Code::ALL
        .iter()
        .map(|code| row(&[&format!("`{}`", code.as_str()), code.meaning(), code.remedy()]))
        .collect();
    assert!(DOCUMENTATION.contains(&table), "docs/labels.md should have:\n{table}");
}

#[test]
fn all_problems_of_a_service_show_at_once() {
    let web = a_service("web").on(&[]).label("hosts", "a b").label("port", "x").label("hoss", "");
    let problems = read(&web).unwrap().problems;
    let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
    let expected =
        [Code::NoHosts, Code::BadHost, Code::BadPort, Code::NoNetwork, Code::UnknownLabel];
    assert_eq!(codes, expected);
}

/// Labels of ours by name, and others, with values that some of them take.
fn some_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let known = proptest::sample::select(LABELS.map(|label| label.name).to_vec());
    let name = prop_oneof![known.prop_map(String::from), r"[a-z_\PC]{0,20}"];
    let words = [
        "vip",
        "true",
        "/app",
        "/app,b c",
        "cert",
        "next",
        "required",
        "a.example",
        "net",
        "http://a.example,https://a.example",
    ];
    let value = prop_oneof![
        1 => r"[a-z.*,: ]{0,40}",
        1 => r"\PC{0,40}",
        1 => "[0-9]{1,6}",
        10 => proptest::sample::select(words.map(str::to_owned).to_vec()),
        1 => Just("x".repeat(5000)),
    ];
    proptest::collection::btree_map(name, value, 0..12)
}

/// A service that is routed but for what these labels change of that.
fn routed_with(labels: &BTreeMap<String, String>) -> Service {
    let web = a_service("web").serving("a.example").vip("10.0.0.2");
    labels.iter().fold(web, |web, (name, value)| web.label(name, value))
}

proptest! {
    #[test]
    fn labels_that_are_read_again_after_what_was_kept_mean_the_same(
        [before, now] in [some_labels(), some_labels()],
        held in proptest::option::of(proptest::sample::subsequence(vec!["cert", "next"], 0..=2)),
    ) {
        let mut swarm = a_swarm().secrets(&["cert", "next"]);
        if let Some(held) = held {
            // Some proxies may not have been replaced yet.
            swarm = swarm.proxy("proxy", Care::Owner).task("proxy", "10.0.0.9");
            swarm = ["cert", "next"].iter().fold(swarm, |swarm, name| swarm.holding(name, name));
            swarm = swarm.task_holding("10.0.0.9", &held);
        }
        let (before, now) = (routed_with(&before), routed_with(&now));
        let kept = swarm.read(&before).unwrap().kept;
        let reading = swarm.read_after(&kept, &now).unwrap();
        prop_assert_eq!(swarm.read_after(&reading.kept, &now).unwrap(), reading);
    }

    #[test]
    fn no_soup_of_labels_makes_the_reader_panic_or_contradict_itself(
        soup in some_labels(),
        misplaced: bool,
    ) {
        let mut web = a_service("web").vip("10.0.0.2");
        for (name, value) in &soup {
            web = if misplaced { web.misplaced(name, value) } else { web.label(name, value) };
        }
        let Some(reading) = a_swarm().read(&web) else {
            let ours = |name: &String| misplaced || !name.starts_with(OWN_PREFIX);
            prop_assert!(!soup.keys().any(ours));
            return Ok(());
        };
        prop_assert!(reading.intent.is_some() || !reading.problems.is_empty());
        prop_assert!(reading.problems.is_sorted());
        let rejected = reading.intent.is_none();
        prop_assert!(!rejected || reading.problems.iter().any(|problem| problem.severity == Severity::Error));
        for problem in &reading.problems {
            prop_assert!(!problem.message.is_empty() && !problem.fix.is_empty());
            prop_assert!(!problem.message.contains(char::is_control), "{:?}", problem);
            prop_assert!(!problem.fix.contains(char::is_control), "{:?}", problem);
        }
        if let Some(intent) = reading.intent {
            prop_assert!(!intent.hosts.is_empty());
        }
    }
}

//! What holds for all labels together, and that the documentation says what the code does.

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

proptest! {
    #[test]
    fn no_soup_of_labels_makes_the_reader_panic_or_contradict_itself(
        soup in proptest::collection::btree_map(
            prop_oneof![
                proptest::sample::select(LABELS.map(|label| label.name).to_vec()).prop_map(String::from),
                r"[a-z_\PC]{0,20}",
            ],
            prop_oneof![
                r"[a-z.*,: ]{0,40}", r"\PC{0,40}", "[0-9]{1,6}", Just("vip".to_owned()),
                Just("true".to_owned()), Just("/app".to_owned()), Just("cert".to_owned()), Just("required".to_owned()),
                Just("http://a.example,https://a.example".to_owned()), Just("a.example".to_owned()), Just("net".to_owned()),
                Just("x".repeat(5000)),
            ],
            0..12,
        ),
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

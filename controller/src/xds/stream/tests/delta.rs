//! Subscriptions, delta.

use super::*;

fn client(line: &str) -> Client {
    Client::new(Variant::Delta, line)
}

#[test]
fn each_name_is_told_when_it_is_asked_for() {
    let mut client = client("a/1/1 b/1/1");
    client.ask(Kind::Endpoints, &["a"]);
    assert_eq!(client.exchange(), ["endpoints +a@1"]);
    client.ask(Kind::Endpoints, &["b"]);
    assert_eq!(client.exchange(), ["endpoints +b@1"]);
}

#[test]
fn only_what_changes_is_told() {
    let mut client = client("a/1/1 b/1/1 c/1/1");
    client.ask(Kind::Cluster, &[]);
    client.exchange();
    for (line, said) in [
        ("a/1/1 b/2/1 c/1/1", "cluster +b@2"),
        ("a/1/1 b/2/1 c/1/1 d/1/1", "cluster +d@1"),
        ("b/2/1 c/1/1 d/1/1", "cluster -a"),
        ("a/3/1 b/2/1 c/1/1 d/1/1", "cluster +a@3"),
    ] {
        client.set(line);
        assert_eq!(client.exchange(), [said], "{line:?}");
    }
}

#[test]
fn an_unknown_name_is_told_as_removed_and_later_as_there() {
    let mut client = client("");
    client.ask(Kind::Endpoints, &["later"]);
    assert_eq!(client.exchange(), ["endpoints -later"]);
    client.set("later/1/1");
    assert_eq!(client.exchange(), ["endpoints +later@1"]);
    client.set("");
    assert_eq!(client.exchange(), ["endpoints -later"]);
}

#[test]
fn a_world_without_services_is_told_at_once() {
    let mut client = client("");
    client.ask(Kind::Cluster, &[]);
    client.ask(Kind::Listener, &["*"]);
    assert_eq!(client.exchange(), ["cluster", "listener"]);
}

#[test]
fn an_empty_first_request_for_endpoints_asks_for_nothing() {
    let mut client = client("a/1/1");
    client.ask(Kind::Endpoints, &[]);
    assert_eq!(client.exchange(), SILENCE);
}

#[test]
fn a_dropped_name_is_not_told_any_more() {
    let mut client = client("a/1/1 b/1/1");
    client.ask(Kind::Endpoints, &["a", "b"]);
    client.exchange();
    client.drop(Kind::Endpoints, &["a"]);
    client.set("a/1/2 b/1/2");
    assert_eq!(client.exchange(), ["endpoints +b@2"]);
}

#[test]
fn dropping_a_name_under_a_wildcard_tells_what_becomes_of_it() {
    let mut client = client("a/1/1");
    client.ask(Kind::Cluster, &["*", "a", "gone"]);
    assert_eq!(client.exchange(), ["cluster +a@1 -gone"]);
    client.drop(Kind::Cluster, &["a"]);
    assert_eq!(client.exchange(), ["cluster +a@1"]);
    client.drop(Kind::Cluster, &["gone"]);
    assert_eq!(client.exchange(), ["cluster -gone"]);
}

#[test]
fn dropping_a_name_that_was_never_asked_for_does_nothing() {
    for names in [&["*"][..], &["a"]] {
        let mut client = client("a/1/1 b/1/1");
        client.ask(Kind::Cluster, names);
        client.exchange();
        client.drop(Kind::Cluster, &["b", "phantom"]);
        assert_eq!(client.exchange(), SILENCE);
    }
}

#[test]
fn a_name_that_is_asked_for_again_is_told_again() {
    let mut client = client("a/1/1");
    client.ask(Kind::Endpoints, &["a"]);
    client.exchange();
    client.ask(Kind::Endpoints, &["a"]);
    assert_eq!(client.exchange(), ["endpoints +a@1"]);
}

#[test]
fn a_name_that_is_asked_for_again_before_the_answer_is_told_again() {
    let mut client = client("a/1/1");
    client.ask(Kind::Endpoints, &["a"]);
    assert_eq!(client.listen(), ["endpoints +a@1"]);
    client.ask(Kind::Endpoints, &["a"]);
    client.ack(Kind::Endpoints);
    assert_eq!(client.exchange(), ["endpoints +a@1"]);
}

#[test]
fn an_implied_wildcard_outlives_names_and_ends_with_the_star() {
    let mut client = client("a/1/1 b/1/1");
    client.ask(Kind::Cluster, &[]);
    client.exchange();
    client.ask(Kind::Cluster, &["a"]);
    assert_eq!(client.exchange(), ["cluster +a@1"]);
    client.set("a/1/1 b/2/1");
    assert_eq!(client.exchange(), ["cluster +b@2"]);
    client.drop(Kind::Cluster, &["*"]);
    client.set("a/2/1 b/3/1");
    assert_eq!(client.exchange(), ["cluster +a@2"]);
    client.drop(Kind::Cluster, &["a"]);
    client.set("a/3/1 b/3/1");
    assert_eq!(client.exchange(), SILENCE);
}

#[test]
fn a_second_star_changes_nothing() {
    let mut client = client("a/1/1");
    client.ask(Kind::Cluster, &[]);
    client.exchange();
    client.ask(Kind::Cluster, &["*"]);
    assert_eq!(client.exchange(), SILENCE);
}

#[test]
fn a_name_in_both_lists_ends_dropped() {
    let mut client = client("a/1/1");
    client.change(Kind::Endpoints, &["a"], &["a"]);
    assert_eq!(client.exchange(), SILENCE);
}

#[test]
fn an_old_nonce_answers_nothing_but_its_names_count() {
    for nonce in ["old", ""] {
        let mut client = client("a/1/1 b/1/1");
        client.ask(Kind::Endpoints, &["a"]);
        assert_eq!(client.listen(), ["endpoints +a@1"]);
        let (subscribe, unsubscribe) = (owned(&["b"]), vec![]);
        let names = Names::Delta { subscribe, unsubscribe, initial: HashMap::new() };
        client.send(Kind::Endpoints, nonce, None, names);
        assert_eq!(client.listen(), SILENCE, "one response at a time");
        client.ack(Kind::Endpoints);
        assert_eq!(client.exchange(), ["endpoints +b@1"]);
    }
}

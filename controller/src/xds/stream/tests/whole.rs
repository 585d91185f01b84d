//! Subscriptions, state of the world.

use super::*;

fn client(line: &str) -> Client {
    Client::new(Variant::Whole, line)
}

#[test]
fn an_empty_first_request_and_a_star_ask_for_everything() {
    for names in [&[][..], &["*"]] {
        let mut client = client("a/1/1 b/1/1 r/1=a http/1>r");
        client.ask(Kind::Cluster, names);
        client.ask(Kind::Listener, names);
        assert_eq!(client.exchange(), ["cluster +a@1 +b@1", "listener +http@1"]);
    }
}

#[test]
fn an_empty_first_request_for_endpoints_asks_for_nothing() {
    let mut client = client("a/1/1");
    client.ask(Kind::Endpoints, &[]);
    assert_eq!(client.exchange(), SILENCE);
}

#[test]
fn a_response_of_clusters_carries_all_of_them() {
    let mut client = client("a/1/1 b/1/1");
    client.ask(Kind::Cluster, &[]);
    client.exchange();
    for (line, said) in [
        ("a/2/1 b/1/1", "cluster +a@2 +b@1"),
        ("a/2/1 b/1/1 c/1/1", "cluster +a@2 +b@1 +c@1"),
        ("a/2/1 c/1/1", "cluster +a@2 +c@1"),
        ("", "cluster"),
    ] {
        client.set(line);
        assert_eq!(client.exchange(), [said], "{line:?}");
    }
}

#[test]
fn a_world_without_services_is_told_at_once() {
    let mut client = client("");
    client.ask(Kind::Cluster, &[]);
    client.ask(Kind::Listener, &[]);
    assert_eq!(client.exchange(), ["cluster", "listener"]);
}

#[test]
fn named_resources_are_told_alone() {
    let mut client = client("a/1/1 b/1/1 c/1/1");
    client.ask(Kind::Cluster, &["a", "b"]);
    client.ask(Kind::Endpoints, &["a", "b"]);
    assert_eq!(client.exchange(), ["cluster +a@1 +b@1", "endpoints +a@1 +b@1"]);
    client.set("a/1/1 b/1/1 c/2/2");
    assert_eq!(client.exchange(), SILENCE);
    client.set("a/1/2 b/1/1 c/2/2");
    assert_eq!(client.exchange(), ["endpoints +a@2"]);
}

#[test]
fn an_unknown_name_holds_nothing_up_and_is_told_once_it_exists() {
    let mut client = client("a/1/1");
    client.ask(Kind::Endpoints, &["a", "later"]);
    assert_eq!(client.exchange(), ["endpoints +a@1"]);
    client.set("a/1/1 later/1/1");
    assert_eq!(client.exchange(), ["endpoints +later@1"]);
}

#[test]
fn only_unknown_names_are_answered_with_silence() {
    for kind in [Kind::Endpoints, Kind::Cluster] {
        let mut client = client("a/1/1");
        client.ask(kind, &["later"]);
        assert_eq!(client.exchange(), SILENCE);
        client.set("a/1/1 later/1/1");
        assert_eq!(client.exchange().len(), 1);
    }
}

#[test]
fn an_implied_wildcard_ends_with_the_first_name() {
    let mut client = client("a/1/1 b/1/1");
    client.ask(Kind::Cluster, &[]);
    client.exchange();
    client.ask(Kind::Cluster, &["*", "a"]);
    assert_eq!(client.exchange(), SILENCE);
    client.ask(Kind::Cluster, &["a"]);
    client.set("a/1/1 b/2/1");
    assert_eq!(client.exchange(), SILENCE);
    client.set("a/2/1 b/2/1");
    assert_eq!(client.exchange(), ["cluster +a@2"]);
}

#[test]
fn an_empty_list_after_names_asks_for_nothing() {
    let mut client = client("a/1/1");
    client.ask(Kind::Cluster, &["a"]);
    client.exchange();
    client.ask(Kind::Cluster, &[]);
    client.set("a/2/1 b/1/1");
    assert_eq!(client.exchange(), SILENCE);
    client.ask(Kind::Cluster, &["*"]);
    assert_eq!(client.exchange(), ["cluster +a@2 +b@1"]);
}

#[test]
fn a_new_name_is_told_though_the_version_of_the_type_is_known() {
    let mut client = client("a/1/1 b/1/1");
    client.ask(Kind::Endpoints, &["a"]);
    client.exchange();
    client.ask(Kind::Endpoints, &["a", "b"]);
    assert_eq!(client.exchange(), ["endpoints +b@1"]);
}

#[test]
fn a_name_that_was_dropped_is_told_again() {
    let mut client = client("a/1/1 b/1/1");
    client.ask(Kind::Endpoints, &["a", "b"]);
    client.exchange();
    client.ask(Kind::Endpoints, &["b"]);
    client.set("a/1/2 b/1/1");
    assert_eq!(client.exchange(), SILENCE);
    client.set("a/1/1 b/1/1");
    client.ask(Kind::Endpoints, &["a", "b"]);
    assert_eq!(client.exchange(), ["endpoints +a@1"]);
}

#[test]
fn a_request_that_answers_an_older_response_is_ignored() {
    let mut client = client("a/1/1 b/1/1");
    client.ask(Kind::Endpoints, &["a"]);
    client.exchange();
    let older = client.nonces[&Kind::Endpoints].clone();
    client.set("a/1/2 b/1/1");
    assert_eq!(client.listen(), ["endpoints +a@2"]);

    client.send(Kind::Endpoints, &older, None, Names::Whole(owned(&["a", "b"])));
    assert_eq!(client.listen(), SILENCE);

    let newest = client.nonces[&Kind::Endpoints].clone();
    client.send(Kind::Endpoints, &newest, None, Names::Whole(owned(&["a", "b"])));
    assert_eq!(client.exchange(), ["endpoints +b@1"]);
}

#[test]
fn a_response_never_names_a_resource_twice() {
    let mut client = client("a/1/1");
    client.ask(Kind::Endpoints, &["a", "a", "*"]);
    assert_eq!(client.exchange(), ["endpoints +a@1"]);
}

#[test]
fn the_version_of_a_response_is_that_of_its_content() {
    let versions = ["a/1/1", "a/2/1", "a/1/1"].map(|line| {
        let mut client = client(line);
        client.ask(Kind::Cluster, &[]);
        client.read().unwrap().version
    });
    assert_eq!(versions[0], versions[2]);
    assert_ne!(versions[0], versions[1]);
    assert_eq!(versions[0], world("a/1/1").version(Kind::Cluster));
}

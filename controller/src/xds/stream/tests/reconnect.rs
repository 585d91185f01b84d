//! Clients that come back, to this controller or another.

use super::*;

const LINE: &str = "a/1/1 b/1/1 r/1=a,b http/1>r";

fn back(line: &str) -> Client {
    let mut client = Client::new(Variant::Delta, line);
    client.resume(Kind::Cluster, &[], &[("a", "1"), ("b", "1")]);
    client.resume(Kind::Endpoints, &["a", "b"], &[("a", "1"), ("b", "1")]);
    client.resume(Kind::Listener, &[], &[("http", "1")]);
    client.resume(Kind::Routes, &["r"], &[("r", "1")]);
    client
}

#[test]
fn a_client_that_is_up_to_date_hears_nothing_and_counts_as_such() {
    let mut client = back(LINE);
    assert_eq!(client.listen(), SILENCE);
    for (kind, status) in client.stream.status() {
        assert_eq!(status.acknowledged.as_deref(), Some(client.world.version(kind)), "{kind:?}");
    }
}

#[test]
fn a_client_that_is_behind_hears_only_what_it_lacks() {
    let mut client = back("a/1/1 b/1/2 r/1=a,b http/1>r");
    assert_eq!(client.exchange(), ["endpoints +b@2"]);
}

#[test]
fn a_client_without_names_but_with_versions_asks_for_everything() {
    let mut client = back(LINE);
    client.set("a/1/1 b/1/1 c/1/1 r/1=a,b http/1>r");
    assert_eq!(client.exchange(), ["cluster +c@1"]);
}

#[test]
fn a_cluster_that_changed_meanwhile_hears_of_its_endpoints_though_it_has_them() {
    let line = "a/2/1 b/1/1 r/1=a,b http/1>r";
    assert_eq!(back(line).exchange(), ["cluster +a@2", "endpoints +a@1"]);

    // The answer about clusters may go out before the request for endpoints comes in.
    let mut client = Client::new(Variant::Delta, line);
    client.resume(Kind::Cluster, &[], &[("a", "1"), ("b", "1")]);
    assert_eq!(client.listen(), ["cluster +a@2"]);
    client.resume(Kind::Endpoints, &["a", "b"], &[("a", "1"), ("b", "1")]);
    assert_eq!(client.listen(), ["endpoints +a@1"]);
}

#[test]
fn a_cluster_that_went_meanwhile_stays_until_its_route_is_gone() {
    let line = "a/1/1 r/2=a http/1>r";
    let tail = ["routes +r@2", "cluster -b", "endpoints -b"];
    let said = back(line).exchange();
    assert_eq!(said, [&["cluster"][..], &tail].concat());

    // The request for routes may come after the first answer has gone out.
    let mut client = Client::new(Variant::Delta, line);
    client.resume(Kind::Cluster, &[], &[("a", "1"), ("b", "1")]);
    assert_eq!(client.listen(), ["cluster"]);
    client.resume(Kind::Routes, &["r"], &[("r", "1")]);
    client.ack(Kind::Cluster);
    assert_eq!(client.exchange(), ["routes +r@2", "cluster -b"]);
}

#[test]
fn a_rejected_empty_answer_is_not_repeated() {
    let mut client = Client::new(Variant::Delta, "a/1/1");
    client.resume(Kind::Cluster, &[], &[("a", "1"), ("b", "1")]);
    assert_eq!(client.listen(), ["cluster"]);
    client.nack(Kind::Cluster);
    assert_eq!(client.exchange(), ["cluster -b"]);
}

#[test]
fn names_that_are_gone_and_were_named_are_told_as_gone() {
    let mut client = Client::new(Variant::Delta, "a/1/1");
    client.resume(Kind::Endpoints, &["a", "b"], &[("a", "1"), ("b", "1")]);
    assert_eq!(client.exchange(), ["endpoints -b"]);
}

#[test]
fn versions_count_in_the_first_request_of_a_type_alone() {
    let mut client = Client::new(Variant::Delta, "a/1/1 b/1/1");
    client.resume(Kind::Endpoints, &["a"], &[("a", "1")]);
    assert_eq!(client.exchange(), SILENCE);
    client.resume(Kind::Endpoints, &["b"], &[("b", "1")]);
    assert_eq!(client.exchange(), ["endpoints +b@1"]);
}

#[test]
fn a_name_beyond_those_it_had_is_told() {
    let mut client = Client::new(Variant::Delta, "a/1/1 b/1/1");
    client.resume(Kind::Endpoints, &["a", "b"], &[("a", "1")]);
    assert_eq!(client.exchange(), ["endpoints +b@1"]);
}

#[test]
fn a_first_request_with_the_nonce_of_another_stream_opens_the_type() {
    let mut client = Client::new(Variant::Whole, "a/1/1");
    client.send(Kind::Cluster, "of-another-stream", None, Names::Whole(vec![]));
    assert_eq!(client.exchange(), ["cluster +a@1"]);
    client.send(Kind::Endpoints, "of-another-stream", Some("no"), Names::Whole(owned(&["a"])));
    assert_eq!(client.exchange(), ["endpoints +a@1"]);
}

#[test]
fn state_of_the_world_is_told_again_to_a_client_that_comes_back() {
    let mut client = Client::new(Variant::Whole, LINE);
    client.ask(Kind::Cluster, &[]);
    client.ask(Kind::Endpoints, &["a", "b"]);
    client.ask(Kind::Listener, &[]);
    client.ask(Kind::Routes, &["r"]);
    let said = client.exchange();
    let expected = ["cluster +a@1 +b@1", "endpoints +a@1 +b@1", "listener +http@1", "routes +r@1"];
    assert_eq!(said, expected);
}

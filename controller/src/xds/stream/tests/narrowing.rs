//! A rejected response is told again in parts, until what is bad stands alone.

use super::*;

impl Client {
    /// All that the server says to a client that rejects each response with one of these in it, as
    /// `name@version`.
    fn exchange_but(&mut self, bad: &[&str]) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(response) = self.read() {
            said.push(transcript(&response));
            assert!(said.len() < 100, "the server does not come to rest: {said:?}");
            let names = response.resources.iter().map(|it| format!("{}@{}", it.name, it.version));
            if names.into_iter().any(|it| bad.contains(&it.as_str())) {
                self.nack(response.kind);
            } else {
                self.ack(response.kind);
            }
        }
        said
    }

    fn refused(&self, kind: Kind) -> Vec<String> {
        let status = self.stream.status();
        let refused = status[&kind].refused.iter();
        refused.map(|(name, rejection)| format!("{name}@{}", rejection.version)).collect()
    }
}

#[test]
fn what_is_bad_in_a_response_is_found_in_halves_and_all_else_arrives() {
    let mut client = Client::new(Variant::Delta, "a/1/1 b/1/1 c/1/1 d/1/1 e/1/1");
    client.ask(Kind::Cluster, &[]);
    let said = client.exchange_but(&["d@1"]);
    let expected = [
        "cluster +a@1 +b@1 +c@1 +d@1 +e@1",
        "cluster +a@1 +b@1",
        "cluster +c@1 +d@1 +e@1",
        "cluster +c@1",
        "cluster +d@1 +e@1",
        "cluster +d@1",
        "cluster +e@1",
    ];
    assert_eq!(said, expected);
    assert_eq!(client.refused(Kind::Cluster), ["d@1"]);
}

#[test]
fn one_of_many_is_found_in_few_responses_and_so_are_several() {
    let names: Vec<_> = (0..256).map(|n| format!("n{n:03}")).collect();
    let asked: Vec<_> = names.iter().map(String::as_str).collect();
    let line: Vec<_> = names.iter().map(|name| format!("{name}/1/1")).collect();
    for variant in BOTH {
        for bad in [&["n000@1"][..], &["n255@1"], &["n017@1", "n018@1", "n200@1"]] {
            let mut client = Client::new(variant, &line.join(" "));
            client.ask(Kind::Endpoints, &asked);
            let said = client.exchange_but(bad);
            assert_eq!(client.refused(Kind::Endpoints), bad, "{variant:?}");
            assert!(said.len() <= bad.len() * (2 * 8 + 1), "{variant:?}: {}", said.len());
            let held = |name| client.stream.subscriptions[&Kind::Endpoints].holds(name);
            assert_eq!(asked.iter().filter(|name| held(name)).count(), 256 - bad.len());
        }
    }
}

#[test]
fn a_resource_that_was_rejected_alone_waits_for_another_version_of_its_own() {
    for variant in BOTH {
        let mut client = Client::new(variant, "a/1/1 b/1/1");
        client.ask(Kind::Endpoints, &["a", "b"]);
        client.exchange();
        client.set("a/1/2 b/1/2");
        client.exchange_but(&["a@2"]);
        client.set("a/1/2 b/1/3");
        assert_eq!(client.exchange_but(&["a@2"]), ["endpoints +b@3"], "{variant:?}");
        assert_eq!(client.refused(Kind::Endpoints), ["a@2"]);
        assert!(client.stream.status()[&Kind::Endpoints].rejected.is_some());
        client.set("a/1/3 b/1/3");
        assert_eq!(client.exchange(), ["endpoints +a@3"]);
        let status = client.stream.status()[&Kind::Endpoints].clone();
        assert!(status.refused.is_empty() && status.rejected.is_none(), "{status:?}");
    }
}

#[test]
fn news_do_not_wait_for_the_search() {
    let mut client = Client::new(Variant::Delta, "a/1/1 b/1/1 c/1/1");
    client.ask(Kind::Endpoints, &["a", "b", "c"]);
    client.exchange();
    client.set("a/1/2 b/1/2 c/1/1");
    client.read();
    client.nack(Kind::Endpoints);
    client.set("a/1/2 b/1/2 c/1/2");
    assert_eq!(client.exchange(), ["endpoints +c@2", "endpoints +a@2", "endpoints +b@2"]);
}

#[test]
fn what_is_only_bad_together_arrives_in_parts() {
    let mut client = Client::new(Variant::Delta, "a/1/1 b/1/1");
    client.ask(Kind::Cluster, &[]);
    client.read();
    client.nack(Kind::Cluster);
    assert_eq!(client.exchange(), ["cluster +a@1", "cluster +b@1"]);
    assert_eq!(client.stream.status()[&Kind::Cluster].rejected, None);
}

#[test]
fn routes_to_a_refused_cluster_are_told_and_wait_for_the_others() {
    let mut client = Client::following(Variant::Delta, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
    client.set("a/1/1 b/1/1 c/1/1 r/2=a,b,c http/1>r");
    let said = client.exchange_but(&["b@1"]);
    let expected = ["cluster +b@1 +c@1", "cluster +b@1", "cluster +c@1", "routes +r@2"];
    assert_eq!(said, expected);
}

#[test]
fn of_several_that_are_told_as_all_there_is_none_is_blamed_alone() {
    let mut client = Client::new(Variant::Whole, "a/1/1 b/1/1");
    client.ask(Kind::Cluster, &[]);
    assert_eq!(client.exchange_but(&["b@1"]), ["cluster +a@1 +b@1"]);
    assert!(client.refused(Kind::Cluster).is_empty());

    let mut client = Client::new(Variant::Whole, "a/1/1 b/1/1");
    client.ask(Kind::Cluster, &[]);
    client.exchange();
    client.set("a/1/1 b/2/1");
    client.exchange_but(&["b@2"]);
    assert_eq!(client.refused(Kind::Cluster), ["b@2"], "nothing else has changed");
}

#[test]
fn a_refused_listener_holds_up_no_other() {
    let mut client = Client::new(Variant::Delta, "a/1/1 r/1=a http/1>r https/1>r");
    client.ask(Kind::Cluster, &[]);
    client.ask(Kind::Listener, &[]);
    client.ask(Kind::Routes, &["r"]);
    let said = client.exchange_but(&["http@1"]);
    let expected = [
        "cluster +a@1",
        "listener +http@1 +https@1",
        "listener +http@1",
        "listener +https@1",
        "routes +r@1",
    ];
    assert_eq!(said, expected);
}

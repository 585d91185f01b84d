//! Hosts and the routes that they belong to.

use super::*;

const LINE: &str = "a/1/1 r/1= r/x/1=a r/y/1=a http/1>r";

/// A client that follows all types, and asks for hosts when it first hears of routes, as Envoy does.
fn following(line: &str) -> Client {
    let mut client = Client::following(Variant::Delta, line, &["a"], &["r"]);
    client.ask(Kind::VirtualHost, &[]);
    client.exchange();
    client
}

#[test]
fn hosts_come_when_their_routes_were_acknowledged() {
    let mut client = Client::new(Variant::Delta, LINE);
    client.ask(Kind::Routes, &["r"]);
    assert_eq!(client.listen(), ["routes +r@1"]);
    client.ask(Kind::VirtualHost, &[]);
    assert_eq!(client.listen(), SILENCE, "Envoy would lose them");
    client.ack(Kind::Routes);
    assert_eq!(client.exchange(), ["virtualhost +r/x@1 +r/y@1"]);
}

#[test]
fn a_host_that_changes_is_told_alone() {
    let mut client = following(LINE);
    for (line, told) in [
        ("a/1/1 r/1= r/x/2=a r/y/1=a http/1>r", "virtualhost +r/x@2"),
        ("a/1/1 r/1= r/y/1=a http/1>r", "virtualhost -r/x"),
        ("a/1/1 r/1= r/y/1=a r/z/1=a http/1>r", "virtualhost +r/z@1"),
    ] {
        client.set(line);
        assert_eq!(client.exchange(), [told]);
    }
}

#[test]
fn routes_that_change_keep_their_hosts() {
    let mut client = following(LINE);
    client.set("a/1/1 r/2= r/x/1=a r/y/1=a http/1>r");
    assert_eq!(client.exchange(), ["routes +r@2"]);
}

/// Envoy has dropped them, and asks for hosts only once.
#[test]
fn routes_that_are_asked_for_again_bring_their_hosts_again() {
    let line = "a/1/1 r/1= q/1= q/x/1=a r/x/1=a http/1>r,q";
    for drops_first in [false, true] {
        let mut client = following(line);
        client.ask(Kind::Routes, &["q"]);
        assert_eq!(client.exchange(), ["routes +q@1", "virtualhost +q/x@1"]);
        if drops_first {
            client.drop(Kind::Routes, &["q"]);
            assert_eq!(client.exchange(), SILENCE);
        }
        client.ask(Kind::Routes, &["q"]);
        assert_eq!(client.exchange(), ["routes +q@1", "virtualhost +q/x@1"], "{drops_first}");
    }
}

#[test]
fn hosts_that_are_told_while_their_routes_are_asked_for_again_are_told_once_more() {
    let mut client = following(LINE);
    client.set("a/1/1 r/1= r/x/2=a r/y/1=a http/1>r");
    assert_eq!(client.listen(), ["virtualhost +r/x@2"]);
    client.ask(Kind::Routes, &["r"]);
    assert_eq!(client.listen(), ["routes +r@1"]);
    client.ack(Kind::VirtualHost);
    assert_eq!(client.listen(), SILENCE);
    client.ack(Kind::Routes);
    assert_eq!(client.exchange(), ["virtualhost +r/x@2 +r/y@1"]);
}

#[test]
fn hosts_of_routes_that_nobody_asks_for_hold_nothing_up() {
    let mut client = following("a/1/1 b/1/1 r/1= q/1= q/x/1=a r/x/1=a http/1>r,q");
    client.set("a/1/1 r/1= q/1= q/x/1=a r/x/1=a http/1>r,q");
    assert_eq!(client.exchange(), ["cluster -b"]);
}

/// A filter chain that goes serves the connections that it has with the hosts that it had.
#[test]
fn hosts_of_routes_that_are_gone_stay_as_long_as_the_client_asks_for_them() {
    let mut client = following("a/1/1 b/1/1 r/1= q/1= q/x/1=a r/x/1=a http/1>r https/1>q");
    client.ask(Kind::Routes, &["q"]);
    assert_eq!(client.exchange(), ["routes +q@1", "virtualhost +q/x@1"]);
    client.set("a/1/1 r/1= r/x/1=a http/1>r");
    let said = client.exchange();
    assert_eq!(said, ["listener -https", "routes -q", "cluster -b"], "and no cluster waits");
    client.drop(Kind::Routes, &["q"]);
    assert_eq!(client.exchange(), ["virtualhost -q/x"]);
}

#[test]
fn a_host_waits_for_its_own_clusters_alone() {
    let mut client = following(LINE);
    client.set("a/1/1 b/1/1 c/1/1 r/1= r/x/2=b r/y/2=c http/1>r");
    assert_eq!(client.listen(), ["cluster +b@1 +c@1"]);
    client.nack(Kind::Cluster);
    assert_eq!(client.listen(), ["cluster +b@1"]);
    client.ack(Kind::Cluster);
    assert_eq!(client.listen(), ["cluster +c@1"]);
    client.ack(Kind::Cluster);
    assert_eq!(client.exchange(), ["virtualhost +r/x@2 +r/y@2"]);
}

#[test]
fn a_host_that_is_refused_stays_as_it_was_and_the_others_change() {
    let mut client = following(LINE);
    client.set("a/1/1 r/1= r/x/2=a r/y/2=a http/1>r");
    assert_eq!(client.listen(), ["virtualhost +r/x@2 +r/y@2"]);
    client.nack(Kind::VirtualHost);
    assert_eq!(client.listen(), ["virtualhost +r/x@2"]);
    client.nack(Kind::VirtualHost);
    assert_eq!(client.exchange(), ["virtualhost +r/y@2"]);
    client.set("a/1/1 r/1= r/x/3=a r/y/2=a http/1>r");
    assert_eq!(client.exchange(), ["virtualhost +r/x@3"]);
}

#[test]
fn a_client_that_returns_is_told_what_changed() {
    let mut client = Client::new(Variant::Delta, "a/1/1 r/1= r/x/2=a r/y/1=a http/1>r");
    client.resume(Kind::Routes, &["r"], &[("r", "1")]);
    client.resume(Kind::VirtualHost, &[], &[("r/w", "1"), ("r/x", "1"), ("r/y", "1")]);
    assert_eq!(client.exchange(), ["virtualhost +r/x@2 -r/w"]);
}

#[test]
fn state_of_the_world_knows_no_hosts() {
    let mut client = Client::new(Variant::Whole, LINE);
    let heard = client.send(Kind::VirtualHost, "", None, Names::Whole(vec![]));
    assert_eq!(heard, Heard::UnknownType);
    client.ask(Kind::Routes, &["r"]);
    assert_eq!(client.exchange(), ["routes +r@1"]);
}

/// It is told of them with their routes.
#[test]
fn state_of_the_world_waits_for_the_clusters_of_all_hosts() {
    let mut client = Client::following(Variant::Whole, "a/1/1 r/1= http/1>r", &["a"], &["r"]);
    client.set("a/1/1 b/1/1 r/2= r/x/1=b http/1>r");
    assert_eq!(client.listen(), ["cluster +a@1 +b@1"]);
    client.ack(Kind::Cluster);
    assert_eq!(client.exchange().last().unwrap(), "routes +r@2");
}

//! ACK and NACK.

use super::*;

#[test]
fn an_acknowledgement_is_answered_with_silence() {
    for variant in BOTH {
        let mut client = Client::new(variant, "a/1/1");
        client.ask(Kind::Cluster, &[]);
        assert_eq!(client.exchange(), ["cluster +a@1"]);
        client.ack(Kind::Cluster);
        assert_eq!(client.listen(), SILENCE, "{variant:?}: a repeated one too");
    }
}

#[test]
fn an_equal_world_is_silent() {
    for variant in BOTH {
        let line = "a/1/1 r/1=a http/1>r";
        let mut client = Client::following(variant, line, &["a"], &["r"]);
        client.set(line);
        assert_eq!(client.exchange(), SILENCE, "{variant:?}");
    }
}

#[test]
fn a_rejected_version_is_not_sent_again() {
    for variant in BOTH {
        let mut client = Client::new(variant, "a/1/1");
        client.ask(Kind::Cluster, &[]);
        client.read();
        let rejection = client.nack(Kind::Cluster);
        assert_eq!(rejection.message, "no");
        assert_eq!(client.listen(), SILENCE, "{variant:?}");
        client.set("a/1/1");
        assert_eq!(client.listen(), SILENCE, "{variant:?}: nor with an equal world");
        assert_eq!(client.stream.status()[&Kind::Cluster].rejected, Some(rejection));
    }
}

#[test]
fn what_follows_a_rejected_version_is_sent_and_clears_the_rejection() {
    for variant in BOTH {
        let mut client = Client::new(variant, "a/1/1");
        client.ask(Kind::Cluster, &[]);
        client.exchange();
        client.set("a/2/1");
        client.read();
        client.nack(Kind::Cluster);
        assert!(client.stream.status()[&Kind::Cluster].rejected.is_some());
        client.set("a/3/1");
        assert_eq!(client.exchange(), ["cluster +a@3"], "{variant:?}");
        let status = client.stream.status()[&Kind::Cluster].clone();
        assert_eq!(status.rejected, None);
        assert_eq!(status.acknowledged.as_deref(), Some(client.world.version(Kind::Cluster)));
    }
}

#[test]
fn a_rejection_of_what_is_no_longer_newest_brings_the_newest_at_once() {
    for variant in BOTH {
        let mut client = Client::new(variant, "a/1/1");
        client.ask(Kind::Endpoints, &["a"]);
        client.read();
        client.set("a/1/2");
        assert_eq!(client.listen(), SILENCE, "{variant:?}: the first is not answered yet");
        client.nack(Kind::Endpoints);
        assert_eq!(client.exchange(), ["endpoints +a@2"]);
    }
}

#[test]
fn going_back_from_a_rejected_version_is_told_since_it_may_be_applied_in_part() {
    for (variant, said) in [(Variant::Whole, "cluster +a@1"), (Variant::Delta, "cluster +a@1 -b")] {
        let mut client = Client::new(variant, "a/1/1");
        client.ask(Kind::Cluster, &[]);
        client.exchange();
        client.set("a/2/1 b/1/1");
        client.read();
        client.nack(Kind::Cluster);
        client.set("a/1/1");
        assert_eq!(client.exchange(), [said]);
        assert_eq!(client.exchange(), SILENCE);
    }
}

#[test]
fn in_delta_a_rejected_resource_does_not_hold_up_others() {
    let mut client = Client::new(Variant::Delta, "a/1/1");
    client.ask(Kind::Endpoints, &["a", "b"]);
    client.exchange();
    client.set("a/1/2");
    client.read();
    client.nack(Kind::Endpoints);
    client.set("a/1/2 b/1/1");
    assert_eq!(client.exchange(), ["endpoints +b@1"]);
    assert!(client.stream.status()[&Kind::Endpoints].rejected.is_some(), "a is still rejected");
    client.set("a/1/3 b/1/1");
    assert_eq!(client.exchange(), ["endpoints +a@3"]);
    assert_eq!(client.stream.status()[&Kind::Endpoints].rejected, None);
}

#[test]
fn two_rejections_in_turn_do_not_wake_each_other() {
    for variant in BOTH {
        let mut client = Client::new(variant, "a/1/1 b/1/1");
        client.ask(Kind::Endpoints, &["a", "b"]);
        client.exchange();
        for line in ["a/1/2 b/1/1", "a/1/2 b/1/2"] {
            client.set(line);
            client.read().unwrap();
            client.nack(Kind::Endpoints);
        }
        assert_eq!(client.listen(), SILENCE, "{variant:?}");
        client.set("a/1/3 b/1/2");
        assert_eq!(client.exchange(), ["endpoints +a@3"], "{variant:?}: b is as it was");
    }
}

#[test]
fn only_an_error_makes_a_rejection() {
    let mut client = Client::new(Variant::Whole, "a/1/1");
    client.ask(Kind::Cluster, &[]);
    client.read();
    client.nack(Kind::Cluster);
    // A client that has rejected goes on naming that response, now without the error.
    client.ack(Kind::Cluster);
    assert_eq!(client.listen(), SILENCE);
    assert!(client.stream.status()[&Kind::Cluster].rejected.is_some());
}

#[test]
fn a_rejection_of_one_type_leaves_the_others_alone() {
    for variant in BOTH {
        let line = "a/1/1 r/1=a x/1! http/1>r,x!";
        let mut client = Client::following(variant, line, &["a"], &["r"]);
        client.ask(Kind::Extension, &["x"]);
        client.exchange();
        client.set("a/2/1 r/1=a x/1! http/1>r,x!");
        assert_eq!(client.read().unwrap().kind, Kind::Cluster);
        client.nack(Kind::Cluster);
        assert_eq!(client.exchange(), ["endpoints +a@1"]);
        client.set("a/2/2 r/2=a x/2! http/2>r,x!");
        let said = client.exchange();
        let expected = ["endpoints +a@2", "extension +x@2", "listener +http@2", "routes +r@2"];
        assert_eq!(said, expected, "{variant:?}");
    }
}

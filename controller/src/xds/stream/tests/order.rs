//! Make before break.

use super::*;

#[test]
fn a_new_service_comes_with_its_cluster_first_and_its_route_last() {
    for (variant, first) in
        [(Variant::Whole, "cluster +a@1 +b@1"), (Variant::Delta, "cluster +b@1")]
    {
        let mut client = Client::following(variant, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
        client.set("a/1/1 b/1/1 r/2=a,b http/2>r");
        assert_eq!(client.listen(), [first], "nothing else before it is acknowledged");
        client.ask(Kind::Endpoints, &["a", "b"]);
        let endpoints = client.listen();
        assert!(endpoints.len() == 1 && endpoints[0].contains("+b@1"), "{endpoints:?}");
        client.ack(Kind::Endpoints);
        assert_eq!(client.listen(), SILENCE, "the cluster is still warming");
        client.ack(Kind::Cluster);
        assert_eq!(client.exchange(), ["listener +http@2", "routes +r@2"], "{variant:?}");
    }
}

#[test]
fn a_removed_service_loses_its_route_before_its_cluster() {
    let mut client =
        Client::following(Variant::Delta, "a/1/1 b/1/1 r/1=a,b http/1>r", &["a", "b"], &["r"]);
    client.set("a/1/1 r/2=a http/1>r");
    assert_eq!(client.listen(), ["routes +r@2"]);
    client.ack(Kind::Routes);
    assert_eq!(client.listen(), ["cluster -b"]);
    client.ack(Kind::Cluster);
    assert_eq!(client.exchange(), ["endpoints -b"]);
}

#[test]
fn state_of_the_world_keeps_a_cluster_until_its_route_is_gone() {
    let mut client = Client::following(Variant::Whole, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
    client.set("b/1/1 r/2=b http/1>r");
    assert_eq!(client.exchange(), ["cluster +b@1 +a@1", "routes +r@2", "cluster +b@1"]);
}

#[test]
fn a_moved_route_finds_both_clusters() {
    let mut client = Client::following(Variant::Delta, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
    client.set("b/1/1 r/2=b http/1>r");
    assert_eq!(client.exchange(), ["cluster +b@1", "routes +r@2", "cluster -a", "endpoints -a"]);
}

#[test]
fn a_changed_cluster_hears_of_its_endpoints_again_unasked() {
    for variant in BOTH {
        let mut client =
            Client::following(variant, "a/1/1 b/1/1 r/1=a http/1>r", &["a", "b"], &["r"]);
        client.set("a/2/1 b/1/1 r/1=a http/1>r");
        let said = client.listen();
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!(said[1], "endpoints +a@1", "{variant:?}");
    }
}

#[test]
fn endpoints_that_were_sent_before_the_cluster_changed_are_sent_after_it() {
    for variant in BOTH {
        let line = "a/1/1 r/1=a http/1>r";
        let mut client = Client::following(variant, line, &["a"], &["r"]);
        client.set("a/1/2 r/1=a http/1>r");
        assert_eq!(client.listen(), ["endpoints +a@2"]);
        client.set("a/2/2 r/1=a http/1>r");
        assert_eq!(client.listen(), ["cluster +a@2"]);
        client.ack(Kind::Endpoints);
        assert_eq!(client.listen(), ["endpoints +a@2"], "{variant:?}");
    }
}

#[test]
fn an_endpoint_change_is_one_response_also_while_a_cluster_warms() {
    for variant in BOTH {
        let line = "a/1/1 r/1=a http/1>r";
        let mut client = Client::following(variant, line, &["a"], &["r"]);
        client.set("a/1/2 r/1=a http/1>r");
        assert_eq!(client.exchange(), ["endpoints +a@2"]);

        client.set("a/1/2 b/1/1 r/2=a,b http/1>r");
        assert_eq!(client.listen().len(), 1, "the new cluster");
        client.set("a/1/3 b/1/1 r/2=a,b http/1>r");
        assert_eq!(client.listen(), ["endpoints +a@3"], "{variant:?}");
    }
}

#[test]
fn a_rejected_cluster_holds_back_neither_routes_nor_endpoints() {
    for variant in BOTH {
        let line = "a/1/1 r/1=a http/1>r";
        let mut client = Client::following(variant, line, &["a"], &["r"]);
        client.set("a/1/1 b/1/1 r/2=a,b http/1>r");
        client.read();
        client.nack(Kind::Cluster);
        assert_eq!(client.exchange(), ["routes +r@2"], "{variant:?}");
        client.set("a/1/2 b/1/1 r/3=a,b http/1>r");
        assert_eq!(client.exchange(), ["endpoints +a@2", "routes +r@3"]);
        client.set("a/1/2 b/2/1 r/4=a,b http/1>r");
        let said = client.exchange();
        assert!(said[0].contains("+b@2") && said[1] == "routes +r@4", "{said:?}");
    }
}

#[test]
fn rejected_routes_keep_the_clusters_they_may_still_need() {
    for variant in BOTH {
        let mut client = Client::following(variant, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
        client.set("b/1/1 r/2=b http/1>r");
        client.read();
        client.ack(Kind::Cluster);
        assert_eq!(client.listen(), ["routes +r@2"]);
        client.nack(Kind::Routes);
        assert_eq!(client.listen(), SILENCE, "{variant:?}");
        client.set("b/1/1 r/3=b http/1>r");
        let said = client.exchange();
        assert_eq!(said[0], "routes +r@3");
        assert!(said[1] == "cluster +b@1" || said[1] == "cluster -a", "{said:?}");
    }
}

#[test]
fn a_cluster_that_left_while_it_warmed_still_gets_its_endpoints() {
    for variant in BOTH {
        let mut client = Client::following(variant, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
        client.set("a/1/1 b/1/1 r/2=a,b http/1>r");
        client.read();
        client.set("a/1/1 r/3=a http/1>r");
        client.ask(Kind::Endpoints, &["a", "b"]);
        let mut said = client.listen();
        // With no route to it ever sent, it may be told as gone; state of the world cannot.
        said.retain(|it| it.starts_with("endpoints"));
        assert!(said[0].contains("+b@1"), "{variant:?}: {said:?}");
    }
}

#[test]
fn a_change_of_mind_goes_to_the_newest_and_skips_what_lies_between() {
    for variant in BOTH {
        let mut client = Client::following(variant, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
        client.set("a/1/2 r/1=a http/1>r");
        client.read();
        (3..9).for_each(|version| {
            client.set(&format!("a/1/{version} r/1=a http/1>r"));
            assert_eq!(client.listen(), SILENCE);
        });
        client.ack(Kind::Endpoints);
        assert_eq!(client.exchange(), ["endpoints +a@8"], "{variant:?}");
    }
}

#[test]
fn extensions_come_before_the_listener_that_uses_them_and_wait_for_no_cluster() {
    let mut client =
        Client::following(Variant::Delta, "a/1/1 r/1=a x/1! http/1>r,x!", &["a"], &["r"]);
    client.ask(Kind::Extension, &["x"]);
    client.exchange();
    client.set("a/1/1 b/1/1 r/1=a x/2! http/2>r,x!");
    assert_eq!(client.listen(), ["cluster +b@1", "extension +x@2"]);
    client.ack(Kind::Cluster);
    client.ack(Kind::Extension);
    assert_eq!(client.exchange(), ["listener +http@2"]);
}

#[test]
fn routes_wait_while_a_changed_cluster_warms_though_the_client_has_it() {
    for variant in BOTH {
        let mut client = Client::following(variant, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
        client.set("a/2/1 r/2=a http/1>r");
        assert_eq!(client.listen(), ["cluster +a@2", "endpoints +a@1"]);
        client.ack(Kind::Cluster);
        assert_eq!(client.listen(), ["routes +r@2"], "{variant:?}");
    }
}

#[test]
fn routes_wait_for_a_listener_that_cannot_be_sent_yet() {
    let mut client = Client::following(Variant::Delta, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
    client.set("a/1/1 r/1=a http/2>r");
    assert_eq!(client.listen(), ["listener +http@2"]);
    client.set("a/1/1 r/2=a http/3>r");
    assert_eq!(client.listen(), SILENCE);
    client.ack(Kind::Listener);
    assert_eq!(client.listen(), ["listener +http@3", "routes +r@2"]);
}

#[test]
fn a_listener_that_keeps_its_routes_needs_no_request_for_them() {
    let mut client = Client::following(Variant::Delta, "a/1/1 r/1=a http/1>r", &["a"], &["r"]);
    client.set("a/1/1 r/2=a http/2>r");
    assert_eq!(client.exchange(), ["listener +http@2", "routes +r@2"]);
}

#[test]
fn a_client_of_routes_alone_waits_for_no_cluster() {
    for variant in BOTH {
        let mut client = Client::new(variant, "a/1/1 r/1=a http/1>r");
        client.ask(Kind::Routes, &["r"]);
        assert_eq!(client.exchange(), ["routes +r@1"], "{variant:?}");
    }
}

/// A client that follows all types of a listener with TLS, by the names that it uses.
fn following_tls(line: &str, endpoints: &[&str], secrets: &[&str], routes: &[&str]) -> Client {
    let mut client = Client::following(Variant::Delta, line, endpoints, routes);
    client.ask(Kind::Secret, secrets);
    client.exchange();
    client
}

#[test]
fn a_new_filter_chain_comes_after_its_cluster_and_before_its_routes() {
    let line = "a/1/1 r/1=a s/1# http/1>r https/1>r,s#";
    let mut client = following_tls(line, &["a"], &["s"], &["r"]);
    client.set("a/1/1 b/1/1 c/1/1#v r/1=a q/1=b s/1# t/1# v/1# http/1>r https/2>r,q,c~,s#,t#");
    assert_eq!(client.listen(), ["cluster +b@1 +c@1"]);
    client.ask(Kind::Secret, &["v"]);
    assert_eq!(client.listen(), ["secret +v@1"], "a cluster may wait for it");
    client.ack(Kind::Cluster);
    client.ack(Kind::Secret);
    assert_eq!(client.listen(), ["listener +https@2"], "the other listener is left alone");
    client.ask(Kind::Secret, &["t"]);
    client.ask(Kind::Routes, &["q"]);
    assert_eq!(client.listen(), ["secret +t@1", "routes +q@1"], "the listener may wait for them");
    client.ack(Kind::Listener);
    assert_eq!(client.exchange(), SILENCE);
}

#[test]
fn what_a_filter_chain_used_goes_after_it() {
    let line = "a/1/1 b/1/1 c/1/1#v r/1=a q/1=b s/1# t/1# v/1# https/1>r,q,c~,s#,t#";
    let mut client = following_tls(line, &["a", "b", "c"], &["s", "t", "v"], &["r", "q"]);
    client.set("a/1/1 r/1=a s/1# https/2>r,s#");
    assert_eq!(client.listen(), ["listener +https@2"]);
    client.ack(Kind::Listener);
    assert_eq!(client.listen(), ["routes -q"]);
    client.ack(Kind::Routes);
    assert_eq!(client.listen(), ["cluster -b -c"]);
    client.ack(Kind::Cluster);
    assert_eq!(client.exchange(), ["endpoints -b -c", "secret -t", "secret -v"]);
}

/// Envoy takes a certificate that it cannot use when it is told a second time.
#[test]
fn secrets_are_told_one_at_a_time_so_that_a_rejection_names_its_own() {
    let line = "a/1/1 r/1=a s/1# t/1# v/1# https/1>r,s#,t#,v#";
    let mut client = Client::following(Variant::Delta, line, &["a"], &["r"]);
    client.ask(Kind::Secret, &["s", "t", "v"]);
    assert_eq!(client.listen(), ["secret +s@1"]);
    client.ack(Kind::Secret);
    assert_eq!(client.listen(), ["secret +t@1"]);
    client.nack(Kind::Secret);
    assert_eq!(client.listen(), ["secret +v@1"], "the one that it rejects is not told again");
    client.ack(Kind::Secret);
    assert_eq!(client.exchange(), SILENCE);
}

#[test]
fn a_listener_without_http_waits_for_its_clusters() {
    for variant in BOTH {
        let line = "a/1/1 tls/1>a~";
        let mut client = Client::following(variant, line, &["a"], &[]);
        client.set("a/1/1 b/1/1 tls/2>a~,b~");
        assert_eq!(client.listen().len(), 1, "{variant:?}: the cluster");
        client.ask(Kind::Endpoints, &["a", "b"]);
        client.listen();
        client.ack(Kind::Endpoints);
        client.ack(Kind::Cluster);
        assert_eq!(client.exchange(), ["listener +tls@2"], "{variant:?}");
    }
}

#[test]
fn a_secret_with_other_files_is_told_at_once_and_alone() {
    for variant in BOTH {
        let line = "a/1/1 r/1=a s/1# https/1>r,s#";
        let mut client = Client::following(variant, line, &["a"], &["r"]);
        client.ask(Kind::Secret, &["s"]);
        client.exchange();
        client.set("a/1/1 b/1/1 r/1=a s/2# https/1>r,s#");
        assert_eq!(client.listen().last().unwrap(), "secret +s@2", "{variant:?}");
    }
}

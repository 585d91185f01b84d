use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::ControlPlane;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, Resource as Named,
};
use envoy_types::pb::google::protobuf::Any;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{collection, sample};
use prost::Message;
use prost::bytes::Bytes;

use super::super::pieces::{LARGE, PIECE};
use super::*;
use crate::envoy::{Kind, Resource};

fn resource(name: &str, version: &str, message: &[u8]) -> Arc<Resource> {
    // Its messages may be anything: nothing is read in them.
    Arc::new(Resource::of_version(Kind::Secret, name, version, message).unwrap())
}

fn response(resources: Vec<Arc<Resource>>, removed: &[&str]) -> Response {
    Response {
        kind: Kind::Secret,
        nonce: "nonce-1".into(),
        version: "all-1".into(),
        resources,
        removed: removed.iter().copied().map(Into::into).collect(),
    }
}

fn packed(resource: &Resource) -> Any {
    Any { type_url: resource.kind.type_url(), value: resource.body().message().to_vec() }
}

/// The same as the messages that come with Envoy's types.
fn generated(response: Response) -> (DiscoveryResponse, DeltaDiscoveryResponse) {
    let control_plane = Some(ControlPlane { identifier: "controller-1".into() });
    let named = |resource: &Arc<Resource>| Named {
        name: resource.name.to_string(),
        version: resource.version.to_string(),
        resource: Some(packed(resource)),
        ..Named::default()
    };
    let whole = DiscoveryResponse {
        version_info: response.version.clone(),
        resources: response.resources.iter().map(|it| packed(it)).collect(),
        type_url: response.kind.type_url(),
        nonce: response.nonce.clone(),
        control_plane: control_plane.clone(),
        ..DiscoveryResponse::default()
    };
    let delta = DeltaDiscoveryResponse {
        system_version_info: response.version,
        resources: response.resources.iter().map(named).collect(),
        type_url: response.kind.type_url(),
        nonce: response.nonce,
        removed_resources: response.removed,
        control_plane,
        ..DeltaDiscoveryResponse::default()
    };
    (whole, delta)
}

fn pieces_of(pieces: Result<Pieces, TooLong>) -> Vec<Bytes> {
    pieces.unwrap().collect()
}

/// Whether the pieces are the message: what it decodes to, its bytes, and its length before it.
fn assert_are<M: Message + Default + PartialEq>(pieces: &[Bytes], message: &M) {
    let bytes = pieces.concat();
    let (prefix, body) = bytes.split_at(5);
    assert!(M::decode(body).unwrap() == *message, "it decodes to another message");
    assert!(body == message.encode_to_vec(), "the same message in other bytes");
    assert_eq!(prefix[0], 0, "not compressed");
    assert_eq!(prefix[1..], u32::try_from(body.len()).unwrap().to_be_bytes());
}

fn assert_is_generated(response: &Response) {
    let (in_whole, in_delta) = generated(response.clone());
    assert_are(&pieces_of(whole(response.clone(), "controller-1")), &in_whole);
    assert_are(&pieces_of(delta(response.clone(), "controller-1")), &in_delta);
}

#[test]
fn an_empty_response_is_one_piece() {
    let empty = response(vec![], &[]);
    assert_is_generated(&empty);
    assert_eq!(pieces_of(delta(empty, "controller-1")).len(), 1);
}

#[test]
fn a_removal_is_told_by_name_in_a_delta() {
    assert_is_generated(&response(vec![resource("a", "1", b"message")], &["b", "c"]));
}

#[test]
fn many_small_resources_go_together_in_full_pieces() {
    let name = |number| format!("resource-{number}");
    let many = (0..1000).map(|number| resource(&name(number), "1", &[1; 500])).collect();
    let many = response(many, &[]);
    assert_is_generated(&many);
    let pieces = pieces_of(delta(many, "controller-1"));
    let (_, full) = pieces.split_last().unwrap();
    assert!(full.len() > 15);
    assert!(full.iter().all(|piece| (PIECE - 1000..=PIECE).contains(&piece.len())));
}

#[test]
fn a_large_resource_is_passed_on_and_not_copied() {
    let large = resource("large", "1", &vec![1; 1_000_000]);
    let beside = response(vec![resource("a", "1", b""), large.clone(), large.clone()], &["b"]);
    assert_is_generated(&beside);
    for (pieces, shared) in [
        (whole(beside.clone(), "controller-1"), large.body().any()),
        (delta(beside.clone(), "controller-1"), large.body().resource()),
    ] {
        let pieces = pieces_of(pieces);
        let passed = pieces.iter().filter(|piece| piece.as_ptr() == shared.as_ptr());
        assert_eq!(passed.count(), 2);
        assert_eq!(pieces.len(), 5);
    }
}

#[test]
fn a_response_that_grpc_cannot_carry_is_refused() {
    let large = resource("large", "1", &vec![0; 1 << 26]);
    let many = |count| delta(response(vec![large.clone(); count], &[]), "controller-1");
    assert!(many(63).is_ok());
    let refused = many(64).unwrap_err().to_string();
    assert!(refused.starts_with("the response is 42949"), "{refused}");
}

fn some_resource() -> impl Strategy<Value = Arc<Resource>> {
    let length = prop_oneof![
        8 => 0..100_usize,
        4 => 100..3000_usize,
        1 => LARGE - 200..LARGE + 10,
        1 => LARGE..3 * PIECE,
    ];
    (any::<String>(), any::<String>(), length, any::<u8>())
        .prop_map(|(name, version, length, byte)| resource(&name, &version, &vec![byte; length]))
}

fn some_response() -> impl Strategy<Value = Response> {
    let removed = prop_oneof![
        collection::vec(any::<String>(), 0..5),
        Just(vec!["removed".to_owned(); 10_000]),
    ];
    let kind = sample::select(&Kind::ALL[..]);
    let resources = collection::vec(some_resource(), 0..60);
    (kind, any::<[String; 2]>(), resources, removed).prop_map(
        |(kind, [nonce, version], resources, removed)| Response {
            kind,
            nonce,
            version,
            resources,
            removed,
        },
    )
}

proptest! {
    #[test]
    fn any_response_is_what_the_generated_messages_would_be(response in some_response()) {
        assert_is_generated(&response);
    }

    #[test]
    fn a_piece_is_short_or_of_one_thing(response in some_response()) {
        let removed: usize = response.removed.iter().map(|name| name.len() + 12).sum();
        let shared = |piece: &Bytes| {
            let bodies = response.resources.iter().map(|resource| resource.body());
            bodies.flat_map(|it| [it.any(), it.resource()]).any(|it| it.as_ptr() == piece.as_ptr())
        };
        for pieces in [whole(response.clone(), "c"), delta(response.clone(), "c")] {
            for piece in pieces_of(pieces) {
                assert!(!piece.is_empty());
                assert!(shared(&piece) || piece.len() <= PIECE.max(removed + 1000));
            }
        }
    }
}

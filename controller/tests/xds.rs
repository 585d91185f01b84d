//! The xDS server over real sockets, with tonic's client in Envoy's place.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc;
use hyper::http::uri::PathAndQuery;
use prost::{Message, Name};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::{self, Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use waggle_controller::envoy::{Kind, Resource, Resources};
use waggle_controller::labels::NodeCluster;
use waggle_controller::xds::{Observer, Opinions, Report, Snapshots, Tls, Variant, serve};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A controller that serves what it is given.
struct Controller {
    address: String,
    snapshots: watch::Sender<Option<Arc<Snapshots>>>,
    observer: Arc<Observer>,
    shutdown: CancellationToken,
    served: JoinHandle<Result<(), transport::Error>>,
}

impl Controller {
    async fn start(tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (snapshots, newest) = watch::channel(None);
        let (observer, shutdown) = (Arc::new(Observer::default()), CancellationToken::new());
        let identifier = "controller-1".into();
        let served = serve(listener, tls, newest, observer.clone(), identifier, shutdown.clone());
        Self { address, snapshots, observer, shutdown, served: tokio::spawn(served) }
    }

    /// Publishes clusters of this version, without endpoints, for the node cluster `edge`.
    fn publish(&self, names: &[&str], version: &str) {
        self.publish_for(&[("edge", names)], version);
    }

    /// Publishes clusters of this version, without endpoints, by node cluster.
    fn publish_for(&self, node_clusters: &[(&str, &[&str])], version: &str) {
        let of = |name: &&str| {
            let message = Cluster { name: (*name).into(), ..Cluster::default() };
            resource(Kind::Cluster, name, version, &message)
        };
        let of_each = node_clusters.iter();
        self.show(of_each.map(|&(node_cluster, names)| (node_cluster, names.iter().map(of))));
    }

    /// Publishes resources by node cluster.
    fn show<'a, R: IntoIterator<Item = Resource>>(
        &self,
        node_clusters: impl IntoIterator<Item = (&'a str, R)>,
    ) {
        let each = node_clusters.into_iter().map(|(node_cluster, resources)| {
            (NodeCluster::parse(node_cluster).unwrap(), resources.into_iter().collect())
        });
        let last = self.snapshots.borrow().clone().unwrap_or_default();
        let next = last.next(each, Resources::default()).unwrap();
        self.snapshots.send_replace(Some(Arc::new(next)));
    }

    async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    /// Waits until what is known of the Envoys is so.
    async fn until(&self, what: impl Fn(&Report) -> bool) -> Report {
        let known = async {
            loop {
                let report = self.observer.report();
                if what(&report) {
                    return report;
                }
                tokio::task::yield_now().await;
            }
        };
        let known = timeout(DEADLINE, known).await;
        known.unwrap_or_else(|_| panic!("{:?}", self.observer.report()))
    }
}

fn resource(kind: Kind, name: &str, version: &str, message: &impl Message) -> Resource {
    Resource::of_version(kind, name, version, &message.encode_to_vec()).unwrap()
}

/// One end of a stream.
struct Stream<Q, A> {
    requests: mpsc::UnboundedSender<Q>,
    responses: Streaming<A>,
}

async fn whole(channel: Channel) -> Stream<DiscoveryRequest, DiscoveryResponse> {
    let (requests, outgoing) = mpsc::unbounded_channel();
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let outgoing = UnboundedReceiverStream::new(outgoing);
    let responses = client.stream_aggregated_resources(outgoing).await.unwrap().into_inner();
    Stream { requests, responses }
}

async fn delta(channel: Channel) -> Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
    let (requests, outgoing) = mpsc::unbounded_channel();
    let mut client =
        AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let outgoing = UnboundedReceiverStream::new(outgoing);
    let responses = client.delta_aggregated_resources(outgoing).await.unwrap().into_inner();
    Stream { requests, responses }
}

impl<Q, A> Stream<Q, A> {
    fn send(&self, request: Q) {
        assert!(self.requests.send(request).is_ok(), "the stream has ended");
    }

    async fn next(&mut self) -> Result<A, Status> {
        let next = timeout(DEADLINE, self.responses.message()).await.expect("no answer in time");
        next.map(|message| message.expect("the stream has ended"))
    }
}

fn node(id: &str) -> Node {
    Node { id: id.into(), cluster: "edge".into(), ..Node::default() }
}

fn clusters_whole() -> DiscoveryRequest {
    DiscoveryRequest { type_url: Cluster::type_url(), node: Some(node("e1")), ..Default::default() }
}

fn clusters_delta() -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: Cluster::type_url(),
        node: Some(node("e2")),
        ..Default::default()
    }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

/// Whether all Envoys that are connected, at least one, have acknowledged clusters.
fn all_acknowledged(report: &Report) -> bool {
    let mut types = report.envoys.iter().map(|envoy| envoy.types.get(&Kind::Cluster));
    let all = types.all(|status| status.is_some_and(|status| status.acknowledged.is_some()));
    all && !report.envoys.is_empty()
}

#[tokio::test]
async fn both_variants_serve_the_newest_and_tell_how_far_their_clients_are() {
    let controller = Controller::start(None).await;
    controller.publish(&["a", "b"], "1");
    let mut whole = whole(controller.channel().await).await;
    whole.send(clusters_whole());
    let first = whole.next().await.unwrap();
    assert_eq!(first.resources.len(), 2);
    assert_eq!(first.type_url, Cluster::type_url());
    assert_eq!(first.control_plane.unwrap().identifier, "controller-1");
    let mut delta = delta(controller.channel().await).await;
    delta.send(clusters_delta());
    let other = delta.next().await.unwrap();
    assert_eq!(names(&other), ["a", "b"]);
    assert_eq!(other.control_plane.unwrap().identifier, "controller-1");

    whole.send(DiscoveryRequest { response_nonce: first.nonce, ..clusters_whole() });
    delta.send(DeltaDiscoveryRequest { response_nonce: other.nonce, ..clusters_delta() });
    let report = controller.until(all_acknowledged).await;
    let seen: Vec<_> = report.envoys.iter().map(|it| (it.node.as_str(), it.variant)).collect();
    assert_eq!(seen, [("e1", Variant::StateOfTheWorld), ("e2", Variant::Delta)]);
    assert!(report.envoys.iter().all(|it| it.cluster == "edge" && it.peer.is_some()));
    let sent = report.responses[&Kind::Cluster];
    assert_eq!((sent.delta, sent.state_of_the_world), (1, 1));

    controller.publish(&["a", "b", "c"], "1");
    assert_eq!(whole.next().await.unwrap().resources.len(), 3);
    assert_eq!(names(&delta.next().await.unwrap()), ["c"]);
    drop((whole, delta));
    controller.until(|it| it.envoys.is_empty()).await;
}

#[tokio::test]
async fn an_envoy_hears_of_its_own_node_cluster_alone() {
    let controller = Controller::start(None).await;
    controller.publish_for(&[("", &["a"]), ("edge", &["b"])], "1");
    let ask = async |node_cluster: &str, had: &[(&str, &str)]| {
        let stream = delta(controller.channel().await).await;
        let node = Node { cluster: node_cluster.into(), ..node("e") };
        let had = had.iter().map(|&(name, version)| (name.into(), version.into()));
        let initial_resource_versions = had.collect();
        let first = DeltaDiscoveryRequest { node: Some(node), ..clusters_delta() };
        stream.send(DeltaDiscoveryRequest { initial_resource_versions, ..first });
        stream
    };
    for (node_cluster, expected) in
        [("", &["a"][..]), ("default", &["a"]), ("edge", &["b"]), ("other", &[])]
    {
        let told = ask(node_cluster, &[]).await.next().await.unwrap();
        assert_eq!(names(&told), expected, "{node_cluster:?}");
    }
    controller.until(|it| it.envoys.is_empty()).await;

    let mut unchanged = ask("default", &[("a", "1")]).await;
    controller.until(all_acknowledged).await;
    let sent = |report: &Report| report.responses[&Kind::Cluster].delta;
    let before = sent(&controller.observer.report());
    controller.publish_for(&[("", &["a"]), ("edge", &["b", "c"])], "1");
    let told = ask("edge", &[("b", "1")]).await.next().await.unwrap();
    assert_eq!(names(&told), ["c"]);
    controller.publish_for(&[("", &["a", "d"]), ("edge", &["b", "c"])], "1");
    assert_eq!(names(&unchanged.next().await.unwrap()), ["d"]);
    assert_eq!(sent(&controller.observer.report()), before + 2);
}

#[tokio::test]
async fn before_the_first_snapshot_there_is_silence_and_never_an_empty_answer() {
    let controller = Controller::start(None).await;
    let mut stream = delta(controller.channel().await).await;
    stream.send(clusters_delta());
    controller.until(|it| it.envoys.iter().any(|it| it.types.contains_key(&Kind::Cluster))).await;
    controller.publish(&["a"], "1");
    assert_eq!(names(&stream.next().await.unwrap()), ["a"]);
    assert_eq!(controller.observer.report().responses[&Kind::Cluster].delta, 1);
}

#[tokio::test]
async fn a_client_that_comes_back_with_what_it_has_hears_only_news() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "1");
    let had: HashMap<_, _> = [("a".to_owned(), "1".to_owned())].into();
    let back = || DeltaDiscoveryRequest {
        initial_resource_versions: had.clone(),
        response_nonce: "of-a-dead-controller".into(),
        ..clusters_delta()
    };
    let stream = delta(controller.channel().await).await;
    stream.send(back());
    let report = controller.until(all_acknowledged).await;
    assert_eq!(report.responses.get(&Kind::Cluster), None);
    drop(stream);
    controller.publish(&["a", "b"], "1");
    let mut stream = delta(controller.channel().await).await;
    stream.send(back());
    assert_eq!(names(&stream.next().await.unwrap()), ["b"]);
}

#[tokio::test]
async fn a_request_without_a_type_ends_its_stream_alone() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "1");
    let channel = controller.channel().await;
    let (mut bad, mut good) = (delta(channel.clone()).await, delta(channel).await);
    bad.send(DeltaDiscoveryRequest::default());
    assert_eq!(bad.next().await.unwrap_err().code(), Code::InvalidArgument);
    good.send(DeltaDiscoveryRequest { type_url: "unknown".into(), ..clusters_delta() });
    good.send(clusters_delta());
    assert_eq!(names(&good.next().await.unwrap()), ["a"]);
}

#[tokio::test]
async fn the_services_of_single_types_are_not_implemented() {
    let controller = Controller::start(None).await;
    let mut client = ClusterDiscoveryServiceClient::new(controller.channel().await);
    let refused = client.fetch_clusters(clusters_whole()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_method_that_the_service_does_not_have_is_not_implemented() {
    let controller = Controller::start(None).await;
    let mut client = tonic::client::Grpc::new(controller.channel().await);
    client.ready().await.unwrap();
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/Unknown";
    let codec = ProstCodec::<DiscoveryRequest, DiscoveryResponse>::default();
    let request = Request::new(clusters_whole());
    let refused = client.unary(request, PathAndQuery::from_static(path), codec).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn compressed_requests_are_not_implemented() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "1");
    let mut client = AggregatedDiscoveryServiceClient::new(controller.channel().await);
    let mut ask = async |encoding: &'static str| {
        let requests = tokio_stream::iter([clusters_delta()]).chain(tokio_stream::pending());
        let mut request = Request::new(requests);
        request.metadata_mut().insert("grpc-encoding", MetadataValue::from_static(encoding));
        let mut responses = client.delta_aggregated_resources(request).await?.into_inner();
        responses.message().await
    };
    let refused = ask("gzip").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert_eq!(refused.metadata().get("grpc-accept-encoding").unwrap(), "identity");
    assert_eq!(names(&ask("identity").await.unwrap().unwrap()), ["a"]);
}

#[tokio::test]
async fn only_the_first_node_of_a_stream_counts() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "1");
    let mut stream = delta(controller.channel().await).await;
    stream.send(clusters_delta());
    let response_nonce = stream.next().await.unwrap().nonce;
    let node = Some(node("another"));
    stream.send(DeltaDiscoveryRequest { node, response_nonce, ..clusters_delta() });
    assert_eq!(controller.until(all_acknowledged).await.envoys[0].node, "e2");
}

#[tokio::test]
async fn a_rejection_is_counted_and_told_cut_and_escaped() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "1");
    let mut stream = delta(controller.channel().await).await;
    stream.send(clusters_delta());
    let response_nonce = stream.next().await.unwrap().nonce;
    let message = format!("bad\n\u{1b}[2J{}", "x".repeat(5000));
    let error_detail = Some(rpc::Status { code: 13, message, details: vec![] });
    stream.send(DeltaDiscoveryRequest { response_nonce, error_detail, ..clusters_delta() });
    let told = |it: &Report| it.envoys[0].types[&Kind::Cluster].rejected.clone();
    let report = controller.until(|it| told(it).is_some()).await;
    assert_eq!(report.rejections[&Kind::Cluster], 1);
    let message = told(&report).unwrap().message;
    assert!(message.starts_with("bad\\n\\u{1b}[2Jxxx"), "{message}");
    assert!(message.len() < 1100, "{}", message.len());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["rejections"]["cluster"], 1);
    assert_eq!(json["envoys"][0]["variant"], "delta");
}

#[tokio::test]
async fn what_envoys_refuse_is_known_until_they_accept_another_or_leave() {
    let controller = Controller::start(None).await;
    let mut opinions = controller.observer.opinions();
    let mut wait_for = async |expected: &[(&str, &str)]| {
        let is_so = |opinions: &Arc<Opinions>| {
            let refused = opinions.iter().filter_map(|it| Some((it, it.refused.as_ref()?)));
            let refused = refused.map(|(it, why)| (&*it.name, &*why.version));
            refused.eq(expected.iter().copied())
        };
        let known = timeout(DEADLINE, opinions.wait_for(is_so)).await.map(|it| it.unwrap().clone());
        known.unwrap_or_else(|_| panic!("{:?}", controller.observer.report()))
    };
    controller.publish(&["a", "b"], "bad");
    let mut stream = delta(controller.channel().await).await;
    stream.send(clusters_delta());
    let no = |it: DeltaDiscoveryResponse| {
        let message = "no".to_owned();
        let error_detail = Some(rpc::Status { code: 13, message, details: vec![] });
        DeltaDiscoveryRequest { response_nonce: it.nonce, error_detail, ..clusters_delta() }
    };
    for expected in [&["a", "b"][..], &["a"], &["b"]] {
        let response = stream.next().await.unwrap();
        assert_eq!(names(&response), expected);
        stream.send(no(response));
    }
    let known = wait_for(&[("a", "bad"), ("b", "bad")]).await;
    let first = known.first().unwrap();
    assert_eq!((first.node_cluster.as_str(), first.kind), ("edge", Kind::Cluster));
    assert_eq!(first.refused.as_ref().unwrap().message, "no");

    controller.publish(&["a"], "good");
    let response_nonce = stream.next().await.unwrap().nonce;
    stream.send(DeltaDiscoveryRequest { response_nonce, ..clusters_delta() });
    wait_for(&[]).await;
    controller.publish(&["a"], "worse");
    let response = stream.next().await.unwrap();
    stream.send(no(response));
    wait_for(&[("a", "worse")]).await;
    drop(stream);
    wait_for(&[]).await;
}

#[tokio::test]
async fn a_request_of_many_megabytes_is_read() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "1");
    let mut stream = delta(controller.channel().await).await;
    let had = (0..100_000).map(|n| (format!("{n:0>64}"), "1".to_owned()));
    let initial_resource_versions = had.collect();
    stream.send(DeltaDiscoveryRequest { initial_resource_versions, ..clusters_delta() });
    assert_eq!(names(&stream.next().await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_slow_client_harms_no_other_and_gets_the_newest_when_it_answers() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "first");
    let mut slow = delta(controller.channel().await).await;
    slow.send(clusters_delta());
    let response_nonce = slow.next().await.unwrap().nonce;
    let mut quick = delta(controller.channel().await).await;
    quick.send(clusters_delta());
    for version in ["first", "2", "3", "4", "5", "last"] {
        controller.publish(&["a"], version);
        let response = quick.next().await.unwrap();
        assert_eq!(response.resources[0].version, version);
        let response_nonce = response.nonce;
        quick.send(DeltaDiscoveryRequest { response_nonce, ..clusters_delta() });
    }
    slow.send(DeltaDiscoveryRequest { response_nonce, ..clusters_delta() });
    assert_eq!(slow.next().await.unwrap().resources[0].version, "last");
}

/// A cluster of so many bytes.
fn large_cluster(name: &str, version: &str, length: usize) -> Resource {
    let message =
        Cluster { name: name.into(), alt_stat_name: "x".repeat(length), ..Cluster::default() };
    resource(Kind::Cluster, name, version, &message)
}

#[tokio::test]
async fn a_response_that_is_longer_than_the_windows_of_http_2_arrives_whole() {
    let controller = Controller::start(None).await;
    let lengths = [0, 8_000_000].into_iter().chain((1..2000).map(|n| n * 7 % 5000)).chain([20_000]);
    let all: Vec<_> = lengths
        .enumerate()
        .map(|(n, length)| large_cluster(&format!("{n:0>4}"), &format!("v{n}"), length))
        .collect();
    controller.show([("edge", all.clone())]);
    let endpoint = controller.endpoint().initial_stream_window_size(Some(65_535));
    let channel = endpoint.initial_connection_window_size(Some(65_535)).connect().await.unwrap();
    let mut stream = delta(channel).await;
    stream.send(clusters_delta());
    let told = stream.next().await.unwrap();
    assert_eq!(told.resources.len(), all.len());
    for (told, resource) in told.resources.iter().zip(&all) {
        assert_eq!((&*told.name, &*told.version), (&*resource.name, &*resource.version));
        assert!(told.encode_to_vec() == **resource.body().resource(), "{}", told.name);
    }
}

#[tokio::test]
async fn a_client_that_reads_slowly_hears_the_newest_after_what_it_reads() {
    let controller = Controller::start(None).await;
    let publish = |version: &str| {
        let secret = resource(Kind::Secret, "s", version, &Secret::default());
        controller.show([("edge", [large_cluster("a", "1", 8_000_000), secret])]);
    };
    publish("1");
    let secrets = || DeltaDiscoveryRequest {
        type_url: Secret::type_url(),
        resource_names_subscribe: vec!["s".into()],
        ..clusters_delta()
    };
    let mut slow = delta(controller.channel().await).await;
    slow.send(clusters_delta());
    let was_sent = |it: &Report| it.responses.contains_key(&Kind::Cluster);
    controller.until(was_sent).await;
    slow.send(secrets());
    let mut quick = delta(controller.channel().await).await;
    quick.send(secrets());
    for version in ["1", "2", "3", "last"] {
        publish(version);
        let response = quick.next().await.unwrap();
        assert_eq!(response.resources[0].version, version);
        let response_nonce = response.nonce;
        quick.send(DeltaDiscoveryRequest { response_nonce, ..secrets() });
    }
    assert_eq!(names(&slow.next().await.unwrap()), ["a"]);
    assert_eq!(slow.next().await.unwrap().resources[0].version, "last");
}

#[tokio::test]
async fn a_burst_is_one_message_with_the_newest_of_each_resource() {
    let controller = Controller::start(None).await;
    controller.publish(&["a", "b"], "1");
    let mut stream = delta(controller.channel().await).await;
    stream.send(clusters_delta());
    let response_nonce = stream.next().await.unwrap().nonce;
    stream.send(DeltaDiscoveryRequest { response_nonce, ..clusters_delta() });
    controller.until(all_acknowledged).await;
    for burst in ["burst", "next"] {
        for version in 0..100 {
            controller.publish(&["a", "b"], &format!("{version}"));
        }
        controller.publish(&["a", "b"], burst);
        let response = stream.next().await.unwrap();
        let versions: Vec<_> = response.resources.iter().map(|it| it.version.as_str()).collect();
        assert_eq!(versions, [burst; 2]);
        let response_nonce = response.nonce;
        stream.send(DeltaDiscoveryRequest { response_nonce, ..clusters_delta() });
    }
}

#[tokio::test]
async fn many_short_connections_leave_nothing_behind() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "1");
    for _ in 0..200 {
        let mut stream = delta(controller.channel().await).await;
        stream.send(clusters_delta());
        stream.next().await.unwrap();
    }
    controller.until(|it| it.envoys.is_empty()).await;
}

#[tokio::test]
async fn shutdown_ends_each_stream_with_unavailable() {
    let controller = Controller::start(None).await;
    controller.publish(&["a"], "1");
    let mut whole = whole(controller.channel().await).await;
    let mut delta = delta(controller.channel().await).await;
    whole.send(clusters_whole());
    delta.send(clusters_delta());
    whole.next().await.unwrap();
    delta.next().await.unwrap();
    controller.shutdown.cancel();
    assert_eq!(whole.next().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(delta.next().await.unwrap_err().code(), Code::Unavailable);
    timeout(DEADLINE, controller.served).await.unwrap().unwrap().unwrap();
}

/// An authority that signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// Asks for clusters once. The error is whatever stood in the way.
async fn ask(
    controller: &Controller,
    tls: Option<ClientTlsConfig>,
) -> anyhow::Result<DeltaDiscoveryResponse> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", controller.address))?;
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls)?;
    }
    let mut client = AggregatedDiscoveryServiceClient::new(endpoint.connect().await?);
    let requests = tokio_stream::iter([clusters_delta()]).chain(tokio_stream::pending());
    let mut responses = client.delta_aggregated_resources(requests).await?.into_inner();
    responses.message().await?.ok_or_else(|| anyhow::anyhow!("no response"))
}

#[tokio::test]
async fn with_mutual_tls_only_clients_of_the_authority_are_served() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.issue("waggle-controller");
    let tls = Tls {
        certificate: certificate.into_bytes(),
        key: key.into_bytes(),
        client_ca: ours.0.pem().into_bytes(),
    };
    let controller = Controller::start(Some(tls)).await;
    controller.publish(&["a"], "1");
    let trust = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(ours.0.pem()))
        .domain_name("waggle-controller");
    let with = |(certificate, key): (String, String)| {
        trust.clone().identity(Identity::from_pem(certificate, key))
    };
    let served = ask(&controller, Some(with(ours.issue("envoy"))));
    assert_eq!(names(&timeout(DEADLINE, served).await.unwrap().unwrap()), ["a"]);
    for (who, tls) in [
        ("no certificate", Some(trust.clone())),
        ("another authority", Some(with(theirs.issue("envoy")))),
        ("plain text", None),
    ] {
        let refused = timeout(DEADLINE, ask(&controller, tls)).await.unwrap();
        assert!(refused.is_err(), "{who}: {refused:?}");
    }
    let sent = controller.observer.report().responses[&Kind::Cluster];
    assert_eq!(sent.delta, 1, "nobody else was served");
}

#[tokio::test]
async fn a_certificate_that_does_not_parse_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_snapshots, newest) = watch::channel(None);
    let broken = || b"not a certificate".to_vec();
    let tls = Tls { certificate: broken(), key: broken(), client_ca: broken() };
    let (observer, shutdown) = (Arc::new(Observer::default()), CancellationToken::new());
    let served = serve(listener, Some(tls), newest, observer, "c".into(), shutdown);
    assert!(timeout(DEADLINE, served).await.unwrap().is_err());
}

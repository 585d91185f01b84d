//! The loop and the xDS server, with Envoys that refuse what they are told to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
    Resource as Told,
};
use envoy_types::pb::google::rpc;
use prost::Message as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;
use crate::envoy::Kind;
use crate::labels::testing::{Swarm, a_service, a_swarm};
use crate::labels::{Claim, Code};
use crate::routing::{Outcome, ShareHosts, Standing};
use crate::swarm::{ServiceId, Via};
use crate::xds::{Observer, serve};

mod silence;

const DEADLINE: Duration = Duration::from_secs(10);

/// Whether an Envoy refuses a resource of this kind.
type Refuses = fn(Kind, &Told) -> bool;

/// What an Envoy runs on.
type Running = Arc<Mutex<BTreeMap<(Kind, String), Told>>>;

/// A controller, from pictures to xDS.
struct Controller {
    pictures: watch::Sender<Option<Observed>>,
    reports: watch::Receiver<Arc<Report>>,
    snapshots: watch::Receiver<Option<Arc<Snapshots>>>,
    observer: Arc<Observer>,
    address: SocketAddr,
    memory: watch::Receiver<Option<Memory>>,
    shutdown: CancellationToken,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Controller {
    async fn start(swarm: &Swarm) -> Self {
        let (pictures, seen) = watch::channel(None);
        let (snapshots, goal) = watch::channel(None);
        let (report, reports) = watch::channel(Arc::default());
        let (memory, kept) = watch::channel(None);
        let (needs, _) = watch::channel(Arc::default());
        let (observer, shutdown) = (Arc::new(Observer::default()), CancellationToken::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inlets = Inlets { pictures: seen, opinions: observer.opinions() };
        let outlets = Outlets { snapshots, reports: report, memory, needs };
        let control =
            Control::new(routing_settings(), envoy::testing::settings(), Ledger::default());
        tokio::spawn(control.run(inlets, outlets, shutdown.clone()));
        let (told, seen) = (goal.clone(), observer.clone());
        tokio::spawn(serve(listener, None, told, seen, "test".into(), shutdown.clone()));
        let snapshots = goal;
        let controller =
            Self { pictures, reports, snapshots, observer, address, memory: kept, shutdown };
        controller.show(swarm);
        controller
    }

    fn show(&self, swarm: &Swarm) {
        let picture = Arc::new(swarm.picture.clone());
        self.pictures.send_replace(Some(Observed {
            picture,
            freshness: Freshness::Live,
            via: Via::Polled,
        }));
    }

    /// Connects an Envoy that takes everything but what it refuses.
    fn connect(&self, refuses: Refuses) -> (Running, JoinHandle<()>) {
        let running = Running::default();
        (running.clone(), tokio::spawn(follow(self.address, refuses, running)))
    }

    /// Connects an Envoy that follows HTTP routes by state of the world.
    fn connect_whole(&self, refuses: Refuses) -> (Running, JoinHandle<()>) {
        let running = Running::default();
        (running.clone(), tokio::spawn(follow_whole(self.address, refuses, running)))
    }

    /// Waits until what became of a service is so.
    async fn until(&mut self, name: &str, is_so: impl Fn(&Outcome) -> bool) {
        let id = ServiceId::new(format!("id-{name}"));
        let reported =
            self.reports.wait_for(|report| report.routing.services.get(&id).is_some_and(&is_so));
        let reached = timeout(DEADLINE, reported).await.is_ok();
        assert!(reached, "{:#?}", self.reports.borrow().routing.services);
    }
}

pub(super) fn routing_settings() -> routing::Settings {
    routing::Settings {
        share_hosts: ShareHosts::None,
        proxy_networks: BTreeSet::new(),
        proxies: BTreeMap::new(),
        linger: Duration::ZERO,
    }
}

/// An Envoy's stream, until its end.
async fn follow(address: SocketAddr, refuses: Refuses, running: Running) {
    let (requests, outgoing) = tokio::sync::mpsc::unbounded_channel();
    let mut client =
        AggregatedDiscoveryServiceClient::connect(format!("http://{address}")).await.unwrap();
    let kinds = [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Routes, Kind::VirtualHost];
    for kind in kinds {
        let asked = DeltaDiscoveryRequest {
            node: Some(node()),
            type_url: kind.type_url(),
            resource_names_subscribe: vec!["*".into()],
            ..Default::default()
        };
        requests.send(asked).unwrap();
    }
    let outgoing = UnboundedReceiverStream::new(outgoing);
    let mut told = client.delta_aggregated_resources(outgoing).await.unwrap().into_inner();
    while let Ok(Some(response)) = told.message().await {
        let DeltaDiscoveryResponse { type_url, nonce, resources, removed_resources, .. } = response;
        let kind = Kind::of_type_url(&type_url).unwrap();
        let bad = resources.iter().find(|it| refuses(kind, it));
        let error_detail = bad.map(refusal);
        if error_detail.is_none() {
            let mut running = running.lock().unwrap();
            removed_resources.into_iter().for_each(|name| drop(running.remove(&(kind, name))));
            running.extend(resources.into_iter().map(|it| ((kind, it.name.clone()), it)));
        }
        let answer = DeltaDiscoveryRequest {
            type_url,
            response_nonce: nonce,
            error_detail,
            ..Default::default()
        };
        if requests.send(answer).is_err() {
            return;
        }
    }
}

/// The same by state of the world.
async fn follow_whole(address: SocketAddr, refuses: Refuses, running: Running) {
    let (requests, outgoing) = tokio::sync::mpsc::unbounded_channel();
    let mut client =
        AggregatedDiscoveryServiceClient::connect(format!("http://{address}")).await.unwrap();
    let asked = |kind: Kind| DiscoveryRequest {
        node: Some(node()),
        type_url: kind.type_url(),
        resource_names: (kind == Kind::WholeRoutes)
            .then(|| "http".to_owned())
            .into_iter()
            .collect(),
        ..Default::default()
    };
    for kind in [Kind::Cluster, Kind::Listener, Kind::WholeRoutes] {
        requests.send(asked(kind)).unwrap();
    }
    let outgoing = UnboundedReceiverStream::new(outgoing);
    let mut told = client.stream_aggregated_resources(outgoing).await.unwrap().into_inner();
    while let Ok(Some(response)) = told.message().await {
        let DiscoveryResponse { type_url, nonce, resources, version_info, .. } = response;
        let kind = Kind::of_type_url(&type_url).and_then(Kind::in_state_of_the_world).unwrap();
        let named = |(number, any)| Told {
            name: format!("number {number}"),
            resource: Some(any),
            ..Told::default()
        };
        let resources: Vec<Told> = resources.into_iter().enumerate().map(named).collect();
        let error_detail = resources.iter().find(|it| refuses(kind, it)).map(refusal);
        if error_detail.is_none() {
            let mut running = running.lock().unwrap();
            running.retain(|(of, _), _| *of != kind);
            running.extend(resources.into_iter().map(|it| ((kind, it.name.clone()), it)));
        }
        let answer =
            DiscoveryRequest { response_nonce: nonce, version_info, error_detail, ..asked(kind) };
        if requests.send(answer).is_err() {
            return;
        }
    }
}

fn node() -> Node {
    Node { id: "e".into(), cluster: "default".into(), ..Node::default() }
}

fn refusal(bad: &Told) -> rpc::Status {
    let message = format!("{} is unbearable", bad.name);
    rpc::Status { code: 13, message, details: vec![] }
}

/// The domains of a host, or of routes with their hosts.
fn domains(kind: Kind, told: &Told) -> BTreeSet<String> {
    let body = told.resource.as_ref().map(|any| &*any.value).unwrap_or_default();
    let hosts = match kind {
        Kind::VirtualHost => vec![VirtualHost::decode(body).unwrap()],
        Kind::WholeRoutes => RouteConfiguration::decode(body).unwrap().virtual_hosts,
        _ => vec![],
    };
    hosts.into_iter().flat_map(|host| host.domains).filter(|domain| domain != "*").collect()
}

/// Waits until an Envoy routes these hosts and no other.
async fn until_routed(running: &Running, hosts: &[&str]) {
    let routed = || {
        let running = running.lock().unwrap();
        let all = running.iter();
        all.flat_map(|((kind, _), told)| domains(*kind, told)).collect::<BTreeSet<_>>()
    };
    let reached = timeout(DEADLINE, async {
        while !routed().iter().eq(hosts) {
            tokio::task::yield_now().await;
        }
    });
    assert!(reached.await.is_ok(), "{:?}", routed());
}

fn is_refused(outcome: &Outcome) -> bool {
    outcome.problems.iter().any(|it| {
        it.code == Code::RefusedByProxy
            && it.severity == Severity::Error
            && it.message.contains("is unbearable")
    })
}

fn is_fine(outcome: &Outcome) -> bool {
    outcome.problems.is_empty() && outcome.standing != Standing::Rejected
}

fn of(names: &[&str]) -> Swarm {
    let served = |name: &&str| a_service(name).serving(&format!("{name}.local"));
    names.iter().map(served).fold(a_swarm(), Swarm::service)
}

/// A Swarm with one service whose host is refused, beside others that are not.
async fn with_a_bad_host(connect: impl Fn(&Controller) -> (Running, JoinHandle<()>)) {
    let good = ["a", "b", "c", "d", "e"];
    let mut controller = Controller::start(&of(&good)).await;
    let (running, _envoy) = connect(&controller);
    let hosts = ["a.local", "b.local", "c.local", "d.local", "e.local"];
    until_routed(&running, &hosts).await;

    let swarm = of(&["a", "b", "bad", "c", "d", "e", "f"]);
    controller.show(&swarm);
    controller.until("bad", is_refused).await;
    until_routed(&running, &[&hosts[..], &["f.local"]].concat()).await;
    for name in good {
        controller.until(name, is_fine).await;
    }

    let mended = a_service("bad").serving("b2.local");
    controller.show(&swarm.service(crate::swarm::Service { version: 2, ..mended }));
    controller.until("bad", is_fine).await;
    let all = ["a.local", "b.local", "b2.local", "c.local", "d.local", "e.local", "f.local"];
    until_routed(&running, &all).await;
}

#[tokio::test]
async fn a_service_whose_routes_are_refused_is_left_out_until_it_changes() {
    with_a_bad_host(|it| it.connect_whole(|kind, told| domains(kind, told).contains("bad.local")))
        .await;
}

#[tokio::test]
async fn a_service_whose_host_is_refused_is_told_and_no_other_waits() {
    with_a_bad_host(|it| it.connect(|kind, told| domains(kind, told).contains("bad.local"))).await;
}

#[tokio::test]
async fn a_service_whose_cluster_is_refused_is_told_and_no_other_waits() {
    let mut controller = Controller::start(&of(&["a", "b", "c", "d"])).await;
    let (running, envoy) =
        controller.connect(|kind, told| kind == Kind::Cluster && told.name == "b");
    controller.until("b", is_refused).await;
    controller.until("b", |outcome| outcome.standing != Standing::Rejected).await;
    until_routed(&running, &["a.local", "b.local", "c.local", "d.local"]).await;
    let clusters: Vec<_> = {
        let running = running.lock().unwrap();
        let clusters = running.keys().filter(|(kind, _)| *kind == Kind::Cluster);
        clusters.map(|(_, name)| name.clone()).collect()
    };
    assert_eq!(clusters, ["a", "c", "d"]);
    envoy.abort();
    controller.until("b", is_fine).await;
}

#[test]
fn a_service_that_is_left_out_keeps_what_it_holds() {
    let swarm = of(&[])
        .service(a_service("first").serving("shared.local"))
        .service(a_service("second").serving("shared.local").created_at(1));
    let answers = |turn: &Turn| {
        let claim = Claim::try_from("shared.local".to_owned()).unwrap();
        turn.routing.pool_of(&claim).unwrap().to_string()
    };
    let route = |last: &Turn| {
        routing::route(&swarm.picture, &routing_settings(), last, SystemTime::UNIX_EPOCH)
    };
    let mut turn = route(&Turn::default());
    assert_eq!(answers(&turn), "first");
    turn.left_out = [ServiceId::new("id-first")].into();
    turn = route(&turn);
    assert_eq!(answers(&turn), "second");
    turn = route(&turn);
    assert_eq!(answers(&turn), "first");
}

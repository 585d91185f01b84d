//! A routing made by hand, served by the real xDS server to a real Envoy with the real filter.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use waggle_controller::bootstrap::{BootstrapArgs, bootstrap};
use waggle_controller::envoy::{FilterCode, Limits, Settings, resources};
use waggle_controller::labels::{
    Affinity, CookieName, Host, HostPattern, PathPrefix, PoolOptions, RouteOptions,
};
use waggle_controller::routing::{
    Connections, Endpoint, Pool, PoolName, Presence, Route, Routes, SiteRoutes, Target,
};
use waggle_controller::swarm::{ServiceId, TaskId};
use waggle_controller::xds::{self, Observer, Snapshot, Snapshots};
use waggle_filter::config::{InfoHeaders, PluginConfig};
use waggle_tests::envoy::Envoy;
use waggle_tests::program::free_address;

/// The session key, as it must never show.
pub(crate) const SESSION_KEY: &str = "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=";

/// A real Envoy that has its configuration.
pub(crate) struct World {
    pub(crate) envoy: Envoy,
    http: SocketAddr,
    /// What is served, as long as this lives.
    _snapshots: watch::Sender<Option<Arc<Snapshots>>>,
    _runtime: Runtime,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    pub(crate) body: String,
}

#[derive(Parser)]
struct BootstrapCommand {
    #[command(flatten)]
    args: BootstrapArgs,
}

impl World {
    /// Starts an Envoy with one host a pool, named `NAME.local`.
    pub(crate) fn start(
        pools: &[(&str, Affinity, &[SocketAddr])],
        info_headers: InfoHeaders,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let http = free_address().unwrap();
        let resources = resources(&routing(pools), &settings(http.port(), info_headers));
        let snapshots = Snapshots::from(Snapshot::new(resources).unwrap());
        let (snapshots, served) = watch::channel(Some(Arc::new(snapshots)));
        let xds = serve(&runtime, served, None);
        let mut envoy = start_envoy(&["--controller", &xds.to_string()]);
        envoy.wait_ready().unwrap();
        Self { envoy, http, _snapshots: snapshots, _runtime: runtime }
    }

    /// Sends a request for a host with some header lines.
    pub(crate) fn ask(&self, request: &str, host: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n"
        );
        self.send(format!("{head}{headers}\r\n{body}").as_bytes())
    }

    /// `GET /` without more.
    pub(crate) fn get(&self, host: &str) -> Answer {
        self.ask("GET /", host, "", "")
    }

    /// Sends bytes as they are and reads to the end.
    pub(crate) fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.http).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).unwrap();
        Answer::parse(&String::from_utf8_lossy(&answer))
    }
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let (status, lines) = head.split_once("\r\n").unwrap();
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
            headers.entry(name.to_lowercase()).or_default().push(value.to_owned());
        }
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, headers, body: body.to_owned() }
    }

    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers.get(name)?;
        assert_eq!(values.len(), 1, "{name} in {self:#?}");
        values.first().map(String::as_str)
    }

    /// The value of a header that the [`backend`] received.
    pub(crate) fn received(&self, name: &str) -> Option<&str> {
        let mut lines = self.body.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _value)| key.eq_ignore_ascii_case(name)).map(|(_key, value)| value)
    }
}

/// A task that answers with what it received, and with the response head that the request's
/// `answer` header asks for, lines separated by `|`.
pub(crate) fn backend() -> SocketAddr {
    listen(|mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let wish = request.lines().find_map(|line| line.strip_prefix("answer: "));
            let head = wish.unwrap_or("HTTP/1.1 200 OK").replace('|', "\r\n");
            if head.starts_with("HTTP/1.1 101") {
                let _gone = stream.write_all(format!("{head}\r\n\r\n").as_bytes());
                break;
            }
            let length = request.len();
            let answer = format!("{head}\r\ncontent-length: {length}\r\n\r\n{request}");
            if stream.write_all(answer.as_bytes()).is_err() {
                break;
            }
        }
    })
}

/// A task that reads a request and ends without an answer.
pub(crate) fn crashing_backend() -> SocketAddr {
    listen(|mut stream| drop(read_request(&mut stream)))
}

/// Where nobody listens.
pub(crate) fn dead_backend() -> SocketAddr {
    free_address().unwrap()
}

pub(crate) fn sticky(cookie: &str) -> Affinity {
    Affinity::Cookie(CookieName::parse(cookie).unwrap())
}

fn listen(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// The head of the next request; its body is read and dropped.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}

pub(crate) fn settings(http_port: u16, info_headers: InfoHeaders) -> Settings {
    let module =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../target/wasm32-wasip1/release/waggle_filter.wasm");
    let module = std::fs::read(module).expect("the filter must be built: cargo wasm");
    Settings {
        http_port,
        https_port: 443,
        public_http_port: 80,
        public_https_port: 443,
        trusted_hops: 0,
        filter_code: FilterCode::Inline(module),
        filter: PluginConfig {
            keys: vec![SESSION_KEY.to_owned()],
            info_headers,
            ..PluginConfig::default()
        },
        server_info: "waggle/test (100%)".to_owned(),
        limits: Limits::default(),
    }
}

fn routing(pools: &[(&str, Affinity, &[SocketAddr])]) -> Routes {
    let mut routes = Routes::default();
    for (name, affinity, addresses) in pools {
        let service = ServiceId::new(*name);
        let endpoint = |address: &SocketAddr| Endpoint {
            address: *address,
            service: service.clone(),
            target: Target::Task {
                task: TaskId::new(address.to_string()),
                node: None,
                presence: Presence::Running,
            },
        };
        let pool = Pool {
            services: [service.clone()].into(),
            options: PoolOptions { affinity: affinity.clone(), ..PoolOptions::default() },
            connections: Connections::Kept,
            endpoints: addresses.iter().map(endpoint).collect(),
        };
        let host = Host::Named(HostPattern::parse(&format!("{name}.local")).unwrap());
        let route = Route { pool: PoolName::new(*name), options: RouteOptions::default() };
        let paths = [(PathPrefix::root(), route)].into();
        routes.sites.insert(host, SiteRoutes { paths, ..SiteRoutes::default() });
        routes.pools.insert(PoolName::new(*name), pool);
    }
    routes
}

/// Starts an Envoy whose bootstrap is made with these flags, and does not wait.
pub(crate) fn start_envoy(flags: &[&str]) -> Envoy {
    let admin = free_address().unwrap();
    let at = admin.to_string();
    let flags = ["bootstrap", "--admin", &at].into_iter().chain(flags.iter().copied());
    let bootstrap = bootstrap(&BootstrapCommand::parse_from(flags).args);
    Envoy::start_with(&bootstrap, admin, "test", 1).unwrap()
}

/// Serves snapshots on a free port.
pub(crate) fn serve(
    runtime: &Runtime,
    snapshots: watch::Receiver<Option<Arc<Snapshots>>>,
    tls: Option<xds::Tls>,
) -> SocketAddr {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (observer, identifier) = (Arc::new(Observer::default()), "test".to_owned());
    let end = CancellationToken::new();
    runtime.spawn(xds::serve(listener, tls, snapshots, observer, identifier, end));
    address
}

//! A routing made by hand, served by the real xDS server to a real Envoy with the real filter.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clap::Parser;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use waggle_controller::bootstrap::{BootstrapArgs, bootstrap};
use waggle_controller::envoy::{FilterCode, Settings, resources};
use waggle_controller::labels::{Affinity, CookieName};
use waggle_controller::xds::{self, Observer, Snapshot, Snapshots};
use waggle_filter::config::{InfoHeaders, PluginConfig};
use waggle_tests::envoy::Envoy;
use waggle_tests::program::{filter_module, free_address};
pub(crate) use waggle_tests::raw::Answer;
use waggle_tests::raw::{self, request};
use waggle_tests::{scripted, tokens::Tokens, told};

/// The session key, as it must never show.
pub(crate) const SESSION_KEY: &str = "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U=";

/// Names, and how sessions are kept, of pools with their endpoints. Each has the host `NAME.local`
/// and belongs to the service of this name.
pub(crate) type Pools<'a> = [told::Tasks<'a>];

/// A real Envoy that has its configuration.
pub(crate) struct World {
    pub(crate) envoy: Envoy,
    pub(crate) http: SocketAddr,
    snapshots: watch::Sender<Option<Arc<Snapshots>>>,
    _runtime: Runtime,
}

#[derive(Parser)]
struct BootstrapCommand {
    #[command(flatten)]
    args: BootstrapArgs,
}

impl World {
    /// Starts an Envoy with these pools.
    pub(crate) fn start(pools: &Pools<'_>, info_headers: InfoHeaders) -> Self {
        Self::start_with(pools, &settings(free_address().unwrap().port(), info_headers))
    }

    /// The same, with settings of its own.
    pub(crate) fn start_with(pools: &Pools<'_>, settings: &Settings) -> Self {
        let runtime = Runtime::new().unwrap();
        let http = (Ipv4Addr::LOCALHOST, settings.http_port).into();
        let (snapshots, served) = watch::channel(Some(snapshots(pools, settings)));
        let xds = serve(&runtime, served, None);
        let mut envoy = start_envoy(&["--controller", &xds.to_string()]);
        envoy.wait_ready().unwrap();
        Self { envoy, http, snapshots, _runtime: runtime }
    }

    /// Tells Envoy something else, and does not wait.
    pub(crate) fn publish(&self, pools: &Pools<'_>, settings: &Settings) {
        self.snapshots.send_replace(Some(snapshots(pools, settings)));
    }

    /// Sends a request for a host with some header lines.
    pub(crate) fn ask(&self, line: &str, host: &str, headers: &str, body: &str) -> Answer {
        self.send(&request(line, host, headers.as_bytes(), body))
    }

    /// `GET /` without more.
    pub(crate) fn get(&self, host: &str) -> Answer {
        self.ask("GET /", host, "", "")
    }

    /// Sends bytes as they are and reads to the end.
    pub(crate) fn send(&self, bytes: &[u8]) -> Answer {
        raw::send(self.http, bytes).unwrap()
    }
}

/// A task that answers as [`scripted::task`].
pub(crate) fn backend() -> SocketAddr {
    scripted::task().unwrap()
}

/// Tokens of the cookie `session_lb`, as these Envoys make and open them.
pub(crate) fn tokens() -> Tokens {
    Tokens::new(SESSION_KEY, "session_lb").unwrap()
}

pub(crate) fn sticky(cookie: &str) -> Affinity {
    Affinity::Cookie(CookieName::parse(cookie).unwrap())
}

pub(crate) fn settings(http_port: u16, info_headers: InfoHeaders) -> Settings {
    let module = std::fs::read(filter_module().unwrap()).unwrap();
    let keys = vec![SESSION_KEY.to_owned()];
    let filter = PluginConfig { keys, info_headers, ..PluginConfig::default() };
    told::settings(http_port, filter, FilterCode::Inline(module))
}

fn snapshots(pools: &Pools<'_>, settings: &Settings) -> Arc<Snapshots> {
    let resources = resources(&told::routes(pools).unwrap(), settings);
    Arc::new(Snapshots::from(Snapshot::new(resources).unwrap()))
}

/// Starts an Envoy whose bootstrap is made with these flags, and does not wait.
pub(crate) fn start_envoy(flags: &[&str]) -> Envoy {
    let (admin, health) = (free_address().unwrap(), free_address().unwrap().to_string());
    let at = admin.to_string();
    let own = ["bootstrap", "--admin", &at, "--health", &health];
    let flags = own.into_iter().chain(flags.iter().copied());
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

//! `waggle serve`: opens what the settings name, joins the parts, and waits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use waggle_filter::config::{InfoHeaders, PluginConfig, Sessions};

use crate::control::{Control, Inlets, Outlets};
use crate::envoy::{self, FilterCode};
use crate::labels::Care;
use crate::settings::{DockerTls, FilterSource, Serve, XdsTls};
use crate::state::{Kept, StateDir};
use crate::swarm::{Address, Engine, Identity, Tls};
use crate::{admin, keys, proxy, routing, state, swarm, version, xds};

/// Swarm signals a task two seconds after it was told to stop, or later. The rest is for the way to
/// Envoy, and for requests under way.
const LINGER: Duration = Duration::from_millis(1_900);

/// How long a call to Docker may take.
const DOCKER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections may take to end after the signal to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Runs the controller until `shutdown`.
pub async fn serve(settings: Serve, shutdown: CancellationToken) -> anyhow::Result<()> {
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let proxies = settings.proxies()?;
    let docker = docker(&settings)?;
    let state = open_state(&settings.state_dir);
    let kept = state.as_ref().and_then(load);
    let filter = PluginConfig {
        keys: session_keys(&settings, state.as_ref())?,
        info_headers: info_headers(&settings),
        sessions: Sessions::Kept,
    };
    let envoy = envoy::Settings {
        http_port: settings.http_port,
        https_port: settings.https_port,
        public_http_port: settings.public_http_port,
        public_https_port: settings.public_https_port,
        trusted_hops: settings.trusted_hops,
        filter_code: filter_code(&settings.filter)?,
        filter,
        server_info: version::server_info(),
        limits: settings.limits.clone(),
    };
    let routing = routing::Settings {
        proxy_networks: settings.proxy_network.iter().cloned().collect(),
        share_hosts: settings.share_hosts,
        proxies,
        linger: LINGER,
    };
    let managed = routing.proxies.values().any(|proxy| proxy.care == Care::Controller);
    let care = proxy::Settings {
        docker: docker.clone(),
        timeout: DOCKER_TIMEOUT,
        proxies: routing.proxies.clone(),
        grace: proxy::GRACE,
    };
    let xds_tls = read_tls(&settings.xds_tls)?;
    let xds_listener = listen(settings.xds_address, "--xds-address").await?;
    let status_listener = listen(settings.status_address, "--status-address").await?;

    let (pictures, seen) = watch::channel(None);
    let (health, health_seen) = watch::channel(swarm::Health::default());
    let (snapshots, goal) = watch::channel(None);
    let (reports, report) = watch::channel(Arc::default());
    let (memory, memories) = watch::channel(None);
    let (needs, needed) = watch::channel(Arc::default());
    let (statuses, proxies) = watch::channel(proxy::Statuses::new());
    let observer = Arc::new(xds::Observer::default());
    let (picture, ledger) = kept.map(Kept::into_parts).unzip();

    let tasks = TaskTracker::new();
    let secrets = if managed { swarm::Secrets::Read } else { swarm::Secrets::Leave };
    let watch = settings.watch_socket.clone();
    let source = swarm::Settings { docker, timeout: DOCKER_TIMEOUT, secrets, watch };
    let inlets = proxy::Inlets { pictures: seen.clone(), needs: needed };
    tasks.spawn(swarm::run(source, picture, pictures, health, shutdown.clone()));
    let control = Control::new(routing, envoy, ledger.unwrap_or_default());
    let outlets = Outlets { snapshots, reports, memory, needs };
    let sources = Inlets { pictures: seen, opinions: observer.opinions() };
    tasks.spawn(control.run(sources, outlets, shutdown.clone()));
    if let Some(state) = state {
        tasks.spawn(state::keep(state, memories, shutdown.clone()));
    }
    tasks.spawn(proxy::run(care, inlets, statuses, shutdown.clone()));
    let envoys = Arc::clone(&observer);
    let sources = admin::Sources { report, health: health_seen, envoys, proxies };
    let admin = tasks.spawn(admin::serve(status_listener, sources, shutdown.clone()));
    let identifier = version::server_info();
    let stop = shutdown.clone();
    let xds = tasks.spawn(xds::serve(xds_listener, xds_tls, goal, observer, identifier, stop));
    tracing::info!(
        version = version::server_info(),
        xds = %settings.xds_address,
        status = %settings.status_address,
        "started"
    );

    // Whichever ends first: told to stop, or unable to go on.
    let outcome = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = xds => ended.context("the xDS server")?.context("the xDS server"),
        ended = admin => ended.context("the status server")?.context("the status server"),
    };
    shutdown.cancel();
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("some connections did not end in time");
    }
    outcome
}

/// Where Docker's API is, and how it is reached.
fn docker(settings: &Serve) -> anyhow::Result<Address> {
    let DockerTls { docker_ca, docker_cert: cert, docker_key: key, docker_insecure } =
        &settings.docker_tls;
    let ca = docker_ca.as_ref().map(|path| read(path, "--docker-ca")).transpose()?;
    let engine = match &ca {
        _ if *docker_insecure => Engine::Anyone,
        Some(ca) => Engine::SignedBy(ca),
        None if cert.is_none() && key.is_none() => return Ok(settings.docker.clone()),
        None => anyhow::bail!("--docker-cert and --docker-key need --docker-ca"),
    };
    let pair = match (cert, key) {
        (Some(cert), Some(key)) => Some((read(cert, "--docker-cert")?, read(key, "--docker-key")?)),
        (None, None) => None,
        _ => anyhow::bail!("--docker-cert and --docker-key belong together: give both or none"),
    };
    let identity = pair.as_ref().map(|(certificate, key)| Identity { certificate, key });
    let tls = Tls::new(engine, identity).context("--docker-ca, --docker-cert, --docker-key")?;
    settings.docker.clone().over(tls).context("--docker")
}

fn open_state(path: &Path) -> Option<StateDir> {
    StateDir::open(path)
        .inspect_err(|error| {
            tracing::warn!(
                "nothing is kept: {error}; a restart will find the holders of hosts by their age"
            );
        })
        .ok()
}

fn load(state: &StateDir) -> Option<Kept> {
    match state.load() {
        Ok(None) => {
            tracing::info!(
                "no state is kept yet; hosts that several services claim go to the oldest"
            );
            None
        }
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!("{error}; hosts that several services claim go to the oldest");
            None
        }
    }
}

/// The keys of the file that the settings name; else the one of the state directory; else one that
/// ends with this process.
fn session_keys(settings: &Serve, state: Option<&StateDir>) -> anyhow::Result<Vec<String>> {
    if let Some(path) = &settings.session_keys {
        let text = read(path, "--session-keys")?;
        let text = String::from_utf8(text).ok().unwrap_or_default();
        return keys::parse(&text).with_context(|| format!("--session-keys {}", path.display()));
    }
    let own = state.map(StateDir::session_key).transpose();
    match own {
        Ok(Some(keys)) => {
            tracing::warn!(
                "no --session-keys: the sessions' key is this controller's own; another controller \
                 does not open its cookies"
            );
            Ok(keys)
        }
        Ok(None) => {
            tracing::warn!(
                "no --session-keys and no state directory: the sessions' key ends with this process"
            );
            Ok(vec![keys::generate()?])
        }
        Err(error) => Err(error.into()),
    }
}

fn info_headers(settings: &Serve) -> InfoHeaders {
    if settings.hide_info_headers { InfoHeaders::Hidden } else { InfoHeaders::Shown }
}

fn filter_code(source: &FilterSource) -> anyhow::Result<FilterCode> {
    match (&source.filter_in_envoy, &source.filter) {
        (Some(path), _) => Ok(FilterCode::InEnvoy(path.clone())),
        (None, Some(path)) => Ok(FilterCode::Inline(read(path, "--filter")?)),
        (None, None) => anyhow::bail!("give the filter's module by --filter or --filter-in-envoy"),
    }
}

fn read_tls(files: &XdsTls) -> anyhow::Result<Option<xds::Tls>> {
    match (&files.cert, &files.key, &files.client_ca) {
        (Some(certificate), Some(key), Some(client_ca)) => Ok(Some(xds::Tls {
            certificate: read(certificate, "--xds-tls-cert")?,
            key: read(key, "--xds-tls-key")?,
            client_ca: read(client_ca, "--xds-client-ca")?,
        })),
        (None, None, None) => {
            tracing::warn!(
                "xDS is not encrypted: whoever reaches --xds-address can read the session keys; keep \
                 it on a network of its own, or give --xds-tls-cert, --xds-tls-key and \
                 --xds-client-ca"
            );
            Ok(None)
        }
        _ => anyhow::bail!(
            "mutual TLS needs all three of --xds-tls-cert, --xds-tls-key and --xds-client-ca"
        ),
    }
}

fn read(path: &Path, setting: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{setting} {}", path.display()))
}

async fn listen(address: std::net::SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting} {address}"))
}

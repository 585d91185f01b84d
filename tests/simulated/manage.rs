//! The care of a proxy service against the simulated engine: what it writes, when, and that it
//! writes nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use waggle_controller::labels::{Care, ProxyService};
use waggle_controller::labels::{NodeCluster, SecretName};
use waggle_controller::proxy::{self, Inlets, Status, Statuses};
use waggle_controller::routing::Needs;
use waggle_controller::swarm::{self, Health, NetworkId, Secrets, ServiceName};
use waggle_tests::controller::Controller;
use waggle_tests::engine::{Builder, Engine, Fault, Service, Write};
use waggle_tests::program::{free_address, page};

/// For whatever must come at some time.
const DEADLINE: Duration = Duration::from_secs(15);
/// Longer than the care waits for further changes, and than a picture takes to come.
const QUIET: Duration = Duration::from_secs(2);
const PROXY: &str = "proxy";
const UPDATE: &str = "/services/proxy/update";

type AllNeeds = Arc<BTreeMap<NodeCluster, Needs>>;

/// A controller's part that reads the Swarm and looks after the proxy.
struct Keeping {
    needs: watch::Sender<AllNeeds>,
    statuses: watch::Receiver<Statuses>,
    health: watch::Receiver<Health>,
    _shutdown: DropGuard,
}

impl Keeping {
    fn of(engine: &Engine) -> Result<Self> {
        Self::with(engine, Care::Controller, proxy::GRACE)
    }

    fn with(engine: &Engine, care: Care, grace: Duration) -> Result<Self> {
        let (pictures_tx, pictures) = watch::channel(None);
        let (health_tx, health) = watch::channel(Health::default());
        let (needs, needed) = watch::channel(Arc::default());
        let (statuses_tx, statuses) = watch::channel(Statuses::new());
        let shutdown = CancellationToken::new();
        let timeout = Duration::from_secs(2);
        let docker: swarm::Address = engine.url().parse()?;
        let source = swarm::Settings {
            docker: docker.clone(),
            timeout,
            secrets: Secrets::Read,
            watch: None,
        };
        tokio::spawn(swarm::run(source, None, pictures_tx, health_tx, shutdown.clone()));
        let proxies =
            [(NodeCluster::default(), ProxyService { name: ServiceName::new(PROXY), care })];
        let settings = proxy::Settings { docker, timeout, proxies: proxies.into(), grace };
        let inlets = Inlets { pictures, needs: needed };
        tokio::spawn(proxy::run(settings, inlets, statuses_tx, shutdown.clone()));
        Ok(Self { needs, statuses, health, _shutdown: shutdown.drop_guard() })
    }

    /// The published services need this now, by IDs and names.
    fn need(&self, networks: &[&str], secrets: &[&str]) {
        let networks = networks.iter().map(|id| NetworkId::new(*id)).collect();
        let secrets = secrets.iter().filter_map(|name| SecretName::parse(name).ok()).collect();
        self.needs
            .send_replace(Arc::new([(NodeCluster::default(), Needs { networks, secrets })].into()));
    }

    async fn until(&mut self, claim: &str, holds: impl Fn(&Status) -> bool) -> Result<Status> {
        let name = ServiceName::new(PROXY);
        let seen = |all: &Statuses| all.get(&name).is_some_and(&holds);
        if let Ok(Ok(all)) = tokio::time::timeout(DEADLINE, self.statuses.wait_for(seen)).await {
            return all.get(&name).cloned().ok_or_else(|| anyhow!("no status"));
        }
        Err(anyhow!("never: {claim}\nlast: {:#?}\n{:#?}", self.statuses, self.health))
    }

    /// Waits until the proxy has all that it needs, as the picture shows it.
    async fn until_settled(&mut self) -> Result<Status> {
        self.until("it has what it needs", |it| it.pending.is_empty() && it.updates > 0).await
    }

    /// Lets so many further cycles pass, as fast as events make them.
    async fn cycles(&mut self, engine: &Engine, more: u64) -> Result<()> {
        let past = self.health.borrow().complete_cycles + more;
        let passed = async {
            while self.health.borrow_and_update().complete_cycles < past {
                engine.send_event(json!({"Type": "service", "Action": "update", "scope": "swarm"}));
                self.health.changed().await?;
            }
            Ok(())
        };
        tokio::time::timeout(DEADLINE, passed).await?
    }
}

fn proxy(engine: &Engine) -> Builder {
    engine.service(PROXY).network("xds").env("PASSWORD=hidden").replicas(2)
}

/// Waits until nobody has looked at the proxy for longer than changes are gathered.
async fn until_quiet(engine: &Engine) {
    let mut looks = None;
    while looks != Some(engine.requests("/services/proxy")) {
        looks = Some(engine.requests("/services/proxy"));
        tokio::time::sleep(QUIET).await;
    }
}

/// The paths that were written.
fn paths(writes: &[Write]) -> Vec<&str> {
    writes.iter().map(|write| write.path.as_str()).collect()
}

/// The part of a specification that names its networks, and the secrets that it mounts.
fn attached(service: &Service) -> Result<(Vec<String>, Vec<String>)> {
    let spec: serde_json::Value = serde_json::from_str(&service.spec())?;
    let template = &spec["TaskTemplate"];
    let texts = |list: &serde_json::Value, key: &str| {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|it| it[key].as_str().map(str::to_owned)).collect()
    };
    let secrets = &template["ContainerSpec"]["Secrets"];
    Ok((texts(&template["Networks"], "Target"), texts(secrets, "SecretName")))
}

#[tokio::test]
async fn what_several_services_need_comes_in_one_update_and_the_rest_keeps_every_byte() -> Result<()>
{
    let engine = Engine::start().await?;
    let strange = r#""ForceUpdate":0,"Later":{ "b" : [1e3, 18446744073709551616],"a":-0.0 }"#;
    let proxy = proxy(&engine)
        .secret("own")
        .written(|spec| spec.replace(r#""ForceUpdate":0"#, strange))
        .create();
    let before = proxy.spec();
    ensure!(before.contains(strange), "{before}");
    let [one, two] = ["one", "two"].map(|name| engine.add_network(name));
    let [cert, key] = ["cert", "key"].map(|name| engine.add_secret(name));
    let mut keeping = Keeping::of(&engine)?;
    keeping.cycles(&engine, 2).await?;
    keeping.need(&[&one], &[]);
    keeping.cycles(&engine, 1).await?;
    keeping.need(&[&one, &two], &["cert", "key"]);
    let status = keeping.until_settled().await?;
    ensure!(status.networks == ["xds", "one", "two"], "{status:#?}");
    ensure!(status.secrets == ["own", "cert", "key"] && status.failing.is_none(), "{status:#?}");
    let writes = engine.writes();
    ensure!(paths(&writes) == [UPDATE], "{writes:#?}");
    let mount = |name: &str, id: &str| {
        let file = json!({"Name": name, "UID": "0", "GID": "0", "Mode": 292});
        json!({"File": file, "SecretID": id, "SecretName": name}).to_string()
    };
    let secrets =
        format!(r#""SecretName":"own"}},{},{}]"#, mount("cert", &cert), mount("key", &key));
    let label = json!(json!({"networks": [one, two], "secrets": ["cert", "key"]}).to_string());
    let expected = before
        .replacen(r#""SecretName":"own"}]"#, &secrets, 1)
        .replacen(
            r#"}],"Placement""#,
            &format!(r#"}},{{"Target":"{one}"}},{{"Target":"{two}"}}],"Placement""#),
            1,
        )
        .replacen(r#""Labels":{}"#, &format!(r#""Labels":{{"waggle.managed":{label}}}"#), 1);
    ensure!(proxy.spec() == expected, "{}\nis not\n{expected}", proxy.spec());
    Ok(())
}

#[tokio::test]
async fn nothing_is_read_or_written_again_where_nothing_changed() -> Result<()> {
    let engine = Engine::start().await?;
    let proxy = proxy(&engine).create();
    let apps = engine.add_network("apps");
    let mut keeping = Keeping::of(&engine)?;
    keeping.need(&[&apps], &[]);
    keeping.until_settled().await?;
    // Its own update is a reason to look again.
    until_quiet(&engine).await;
    let before = (proxy.version(), engine.requests("/services/proxy"), engine.writes().len());
    keeping.cycles(&engine, 100).await?;
    let after = (proxy.version(), engine.requests("/services/proxy"), engine.writes().len());
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_but_the_proxy_is_ever_written() -> Result<()> {
    let engine = Engine::start().await?;
    proxy(&engine).create();
    let [apps, more] = ["apps", "more"].map(|name| engine.add_network(name));
    let others: Vec<Service> =
        ["prox", "proxy2", "demo"].map(|name| engine.service(name).network("apps").create()).into();
    let versions = || others.iter().map(Service::version).collect::<Vec<_>>();
    let before = versions();
    let mut keeping = Keeping::with(&engine, Care::Controller, Duration::from_secs(1))?;
    keeping.need(&[&apps, &more], &[]);
    keeping.until_settled().await?;
    keeping.need(&[&apps], &[]);
    keeping.until("more is detached", |it| it.networks == ["xds", "apps"]).await?;
    let writes = engine.writes();
    ensure!(paths(&writes) == [UPDATE; 2], "{writes:#?}");
    ensure!(writes.iter().all(|it| it.method == "POST"), "{writes:#?}");
    ensure!(versions() == before, "another service was written");
    Ok(())
}

#[tokio::test]
async fn an_owner_who_does_it_himself_is_told_and_nothing_is_written() -> Result<()> {
    let engine = Engine::start().await?;
    proxy(&engine).create();
    let apps = engine.add_network("apps");
    let mut keeping = Keeping::with(&engine, Care::Owner, proxy::GRACE)?;
    keeping.need(&[&apps], &["cert"]);
    let expected = ["network apps", "secret cert"];
    keeping.until("it is told what lacks", |it| it.pending == expected).await?;
    until_quiet(&engine).await;
    ensure!(engine.writes().is_empty(), "{:#?}", engine.writes());
    ensure!(engine.requests("/services/proxy") == 0);
    Ok(())
}

#[tokio::test]
async fn a_service_that_changed_meanwhile_is_read_and_planned_anew() -> Result<()> {
    let engine = Engine::start().await?;
    let proxy = proxy(&engine).create();
    let apps = engine.add_network("apps");
    let words = "rpc error: code = Unknown desc = update out of sequence";
    engine.fault(UPDATE, Fault::Status(500, words.into()), 2);
    let mut keeping = Keeping::of(&engine)?;
    keeping.need(&[&apps], &[]);
    let status = keeping.until_settled().await?;
    ensure!((status.updates, status.failures) == (1, 0), "{status:#?}");
    ensure!(engine.writes().len() == 3, "{:#?}", engine.writes());
    ensure!(attached(&proxy)?.0.contains(&apps));
    Ok(())
}

#[tokio::test]
async fn several_controllers_make_one_update() -> Result<()> {
    let engine = Engine::start().await?;
    let proxy = proxy(&engine).create();
    let apps = engine.add_network("apps");
    let mut keepings = [Keeping::of(&engine)?, Keeping::of(&engine)?, Keeping::of(&engine)?];
    for keeping in &mut keepings {
        keeping.cycles(&engine, 1).await?;
    }
    keepings.iter().for_each(|keeping| keeping.need(&[&apps], &[]));
    let mut made = 0;
    for keeping in &mut keepings {
        let status = keeping.until("it is attached", |it| it.networks == ["xds", "apps"]).await?;
        ensure!(status.pending.is_empty() && status.failing.is_none(), "{status:#?}");
    }
    until_quiet(&engine).await;
    for keeping in &mut keepings {
        made += keeping.until("a status", |_| true).await?.updates;
    }
    ensure!(made == 1, "{made} updates");
    ensure!(attached(&proxy)?.0.len() == 2, "{}", proxy.spec());
    Ok(())
}

#[tokio::test]
async fn what_is_not_allowed_is_told_with_the_call_and_tried_again_later() -> Result<()> {
    let engine = Engine::start().await?;
    proxy(&engine).create();
    let [apps, more] = ["apps", "more"].map(|name| engine.add_network(name));
    let mut keeping = Keeping::of(&engine)?;
    for (path, status, method) in [("/services/proxy", 403, "GET"), (UPDATE, 405, "POST")] {
        engine.fault(path, Fault::Status(status, "Forbidden".into()), usize::MAX);
        keeping.need(&[&apps, if status == 403 { &apps } else { &more }], &[]);
        let words = format!(
            "{method} {path} at {}: {status} (Forbidden); the socket proxy must allow {method} on \
             this path",
            engine.url()
        );
        let told = |it: &Status| it.failing.as_ref().is_some_and(|it| it.starts_with(&words));
        keeping.until(&words, told).await?;
        engine.clear_faults();
    }
    let tried = engine.writes().len();
    ensure!(tried <= 2, "{tried} tries");
    let status = keeping.until_settled().await?;
    ensure!(status.failing.is_none() && status.failures >= 2, "{status:#?}");
    Ok(())
}

#[tokio::test]
async fn a_network_that_went_in_between_costs_a_failure_and_no_more() -> Result<()> {
    let engine = Engine::start().await?;
    proxy(&engine).create();
    let [apps, gone] = ["apps", "gone"].map(|name| engine.add_network(name));
    engine.fault("/networks", Fault::Stale(engine.photo()), usize::MAX);
    engine.remove_network("gone");
    let mut keeping = Keeping::of(&engine)?;
    keeping.need(&[&apps, &gone], &[]);
    let told = |it: &Status| {
        it.failing.as_ref().is_some_and(|it| it.contains("404") && it.contains("not found"))
    };
    keeping.until("the refusal is told", told).await?;
    engine.clear_faults();
    engine.add_network("another");
    keeping.until("the rest is attached", |it| it.networks == ["xds", "apps"]).await?;
    Ok(())
}

#[tokio::test]
async fn what_was_rolled_back_is_told_and_not_repeated() -> Result<()> {
    let engine = Engine::start().await?;
    let proxy = proxy(&engine).create();
    let [apps, more] = ["apps", "more"].map(|name| engine.add_network(name));
    let mut keeping = Keeping::of(&engine)?;
    keeping.need(&[&apps], &[]);
    keeping.until_settled().await?;
    proxy.remove_label("waggle.managed");
    proxy.remove_network("apps").finish();
    proxy.update_ended("rollback_completed");
    let told = |it: &Status| it.failing.as_ref().is_some_and(|it| it.contains("was rolled back"));
    keeping.until("the rollback is told", told).await?;
    // A restart, or another controller, does not repeat it either.
    let mut other = Keeping::of(&engine)?;
    other.need(&[&apps], &[]);
    other.until("the rollback is told", told).await?;
    ensure!(engine.writes().len() == 1, "{:#?}", engine.writes());
    keeping.need(&[&apps, &more], &[]);
    keeping.until("another need is met alone", |it| it.networks == ["xds", "more"]).await?;
    until_quiet(&engine).await;
    ensure!(engine.writes().len() == 2, "{:#?}", engine.writes());
    proxy.set_label("waggle.retry", "1");
    keeping.until("it is tried again", |it| it.pending.is_empty() && it.failing.is_none()).await?;
    Ok(())
}

#[tokio::test]
async fn an_update_that_pauses_is_told() -> Result<()> {
    let engine = Engine::start().await?;
    let proxy = proxy(&engine).create();
    let apps = engine.add_network("apps");
    let mut keeping = Keeping::of(&engine)?;
    keeping.need(&[&apps], &[]);
    keeping.until_settled().await?;
    proxy.update_ended("paused");
    let told = |it: &Status| {
        it.failing
            .as_ref()
            .is_some_and(|it| it.starts_with("Swarm paused its update: as the test says"))
    };
    keeping.until("the pause is told", told).await?;
    proxy.update_ended("completed");
    keeping.until("it is over", |it| it.failing.is_none()).await?;
    ensure!(engine.writes().len() == 1, "{:#?}", engine.writes());
    Ok(())
}

#[tokio::test]
async fn where_secrets_may_not_be_read_it_is_told_and_networks_come_all_the_same() -> Result<()> {
    let engine = Engine::start().await?;
    proxy(&engine).create();
    let apps = engine.add_network("apps");
    engine.add_secret("cert");
    engine.fault("/secrets", Fault::Status(403, "Forbidden".into()), usize::MAX);
    let mut keeping = Keeping::of(&engine)?;
    keeping.need(&[&apps], &["cert"]);
    let came = |it: &Status| it.networks == ["xds", "apps"] && it.pending == ["secret cert"];
    keeping.until("the network is attached", came).await?;
    let unread = keeping.health.borrow().unread.clone().unwrap_or_default();
    let words = "403 (Forbidden); the socket proxy must allow GET on this path";
    ensure!(unread.starts_with(&format!("GET /secrets at {}: {words}", engine.url())), "{unread}");
    ensure!(keeping.health.borrow().failing.is_none());
    engine.clear_faults();
    engine.add_secret("another");
    keeping.until("the secret is mounted", |it| it.secrets == ["cert"]).await?;
    ensure!(keeping.health.borrow().unread.is_none());
    Ok(())
}

#[tokio::test]
async fn a_secret_is_mounted_when_it_is_made() -> Result<()> {
    let engine = Engine::start().await?;
    proxy(&engine).create();
    let mut keeping = Keeping::of(&engine)?;
    keeping.need(&[], &["cert"]);
    keeping.until("it is pending", |it| it.pending == ["secret cert"]).await?;
    keeping.cycles(&engine, 5).await?;
    ensure!(engine.writes().is_empty(), "{:#?}", engine.writes());
    engine.add_secret("cert");
    keeping.until_settled().await?;
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_and_cared_for_when_it_comes() -> Result<()> {
    let engine = Engine::start().await?;
    let apps = engine.add_network("apps");
    let mut keeping = Keeping::of(&engine)?;
    keeping.need(&[&apps], &[]);
    let told =
        |it: &Status| it.failing.as_ref().is_some_and(|it| it.starts_with("there is no service"));
    keeping.until("it is told", told).await?;
    proxy(&engine).create();
    let status = keeping.until_settled().await?;
    ensure!(status.failing.is_none(), "{status:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_attaches_what_its_routes_need_and_shows_it() -> Result<()> {
    let engine = Engine::start().await?;
    let proxy = proxy(&engine).create();
    let port = free_address()?.port();
    let mut controller = Controller::start(&engine.url(), port, &["--manage-proxy", PROXY])?;
    let labelled = |name: &str, network: &str| {
        let builder = engine.service(name).network(network);
        let builder = builder.label("com.docker.lb.hosts", &format!("{name}.local"));
        builder.label("com.docker.lb.port", "8080")
    };
    labelled("demo", "apps").create();
    labelled("vip", "more").label("com.docker.lb.backend_mode", "vip").create();
    engine.service("stranger").network("private").create();
    let shown = |status: &serde_json::Value| {
        let shown = &status["proxies"][0];
        shown["networks"] == json!(["xds", "apps", "more"]) && shown["failing"].is_null()
    };
    let status = controller.wait_status("the networks are attached", shown).await?;
    let shown = &status["proxies"][0];
    ensure!(shown["name"] == PROXY && shown["care"] == "controller", "{shown:#}");
    ensure!(shown["clusters"] == json!(["default"]) && shown["pending"] == json!([]), "{shown:#}");
    let metrics = page(controller.status_address(), "/metrics")?;
    let made = format!("waggle_proxy_updates_total{{outcome=\"made\"}} {}", shown["updates"]);
    for line in [made.as_str(), "waggle_proxy_pending 0", "waggle_proxies_failing 0"] {
        ensure!(metrics.contains(line), "no {line} in {metrics}");
    }
    // A restart knows what was attached, and changes nothing.
    let (version, writes) = (proxy.version(), engine.writes().len());
    controller.kill();
    controller.start_again()?;
    controller.wait_read().await?;
    until_quiet(&engine).await;
    ensure!(
        (proxy.version(), engine.writes().len()) == (version, writes),
        "{:#?}",
        engine.writes()
    );
    let log = controller.log();
    ensure!(!log.contains("hidden"), "an environment variable is in the log:\n{log}");
    Ok(())
}

//! What happens beside the service that is under load: services of their own.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::{try_join, try_join_all};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until};

use super::Step;
use super::scene::Scene;
use crate::agents::{Application, BEFORE_SIGNAL, Start};
use crate::client::{Answer, Client};
use crate::engine::Task;
use crate::orchestrator::{Order, Parallelism};
use crate::program::eventually;
use crate::websocket::WebSocket;

/// A service that a step needs from the beginning.
pub(super) struct Other {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) replicas: u64,
    pub(super) application: Application,
    pub(super) start: Start,
    /// Whether the load asks it too.
    pub(super) is_asked: bool,
}

/// How many services a storm takes.
const STORM: u32 = 200;

/// How many of them are asked; the others are updated as they are, by Swarm and before Envoy, but
/// nobody asks them, and so nothing runs there.
const ASKED_IN_STORM: u32 = 10;

/// The services that these steps need.
pub(super) fn needed(steps: &[Step]) -> Vec<Other> {
    let other = |name: &str| Other {
        name: name.to_owned(),
        host: format!("{name}.local"),
        replicas: 1,
        application: Application::PLAIN,
        start: Start::Healthy,
        is_asked: true,
    };
    let environment = &[("KEEP_ALIVE_MS", "2000")];
    let closing = Application { environment, ..Application::PLAIN };
    let of_step = |step: &Step| match step {
        Step::HandOverAddress => vec![other("heir")],
        Step::AskOnIdleConnections => {
            vec![Other { application: closing.clone(), is_asked: false, ..other("quiet") }]
        }
        Step::Storm => (0..STORM)
            .map(|number| {
                let is_asked = number < ASKED_IN_STORM;
                let start = if is_asked { Start::Healthy } else { Start::Hollow };
                Other { is_asked, start, replicas: 2, ..other(&format!("s{number}")) }
            })
            .collect(),
        _ => Vec::new(),
    };
    steps.iter().flat_map(of_step).collect()
}

/// Many `POST`s at a time, and again just when the application closes the connections that they were
/// sent on.
pub(super) async fn ask_on_idle_connections(scene: &Scene) -> anyhow::Result<()> {
    const AT_A_TIME: usize = 100;
    let proxy = scene.stage().http;
    let clients: Vec<Client> = (0..AT_A_TIME).map(|_| Client::new(proxy)).collect();
    // Each round is spread over the moment at which the application's two seconds are over.
    for apart in [0_u64, 1_970, 1_975, 1_980] {
        let apart = Duration::from_millis(apart);
        let asked = clients.iter().zip(0_u32..).map(async |(client, number)| {
            sleep(apart + Duration::from_micros(300) * number).await;
            // Long enough that each needs a connection of its own.
            ok(&client.post("quiet.local", "/sleep/30", b"x").await?)
        });
        try_join_all(asked).await?;
    }
    Ok(())
}

/// A service is removed while it serves requests that take 5 s: all of them are answered.
pub(super) async fn remove_with_long_requests(scene: &Scene) -> anyhow::Result<()> {
    const REQUESTS: usize = 20;
    let environment = &[("FINISH_MS", "10000")];
    let patient = Application { environment, start: Start::Healthy, ..Application::PLAIN };
    let service = scene.begin("long", "long.local", 2, patient).await?;
    let proxy = scene.stage().http;
    let client = Client::new(proxy);
    eventually("the service answers", async || {
        let answer = client.get("long.local", "/ping").await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    let requests =
        (0..REQUESTS).map(async |_| ok(&client.get("long.local", "/sleep/5000").await?));
    let removal = async {
        eventually("all requests are under way", async || {
            let active = scene.stage().envoy.stat("cluster.long.upstream_rq_active")?;
            Ok((active == REQUESTS as u64).then_some(()))
        })
        .await?;
        service.remove().await
    };
    try_join(try_join_all(requests), removal).await?;
    Ok(())
}

/// A service is updated whose tasks ignore SIGTERM: a WebSocket lives as long as its task's process.
pub(super) async fn update_with_websockets(scene: &Scene) -> anyhow::Result<()> {
    const SOCKETS: usize = 8;
    const GRACE: Duration = Duration::from_secs(2);
    let environment = &[("ON_SIGTERM", "ignore")];
    let stubborn = Application { environment, start: Start::Healthy, grace: GRACE };
    let service = scene.begin("sockets", "sockets.local", 2, stubborn).await?;
    let proxy = scene.stage().http;
    eventually("the service answers", async || {
        let answer = Client::new(proxy).get("sockets.local", "/ping").await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        let stream = TcpStream::connect(proxy).await?;
        sockets.push(WebSocket::open(stream, "ws://sockets.local/", &[]).await?);
    }
    let began = Instant::now();
    let lives = sockets.into_iter().map(async |mut socket| {
        while socket.echo("still there").await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(began.elapsed())
    });
    let update = service.update(Order::StartFirst, Parallelism::All);
    let (lives, ()) = try_join(try_join_all(lives), update).await?;
    let expected = BEFORE_SIGNAL + GRACE;
    ensure!(lives.iter().all(|life| *life >= expected), "not {expected:?}: {lives:?}");
    service.remove().await
}

/// A task ends, and its address goes at once to a new task of another service.
pub(super) async fn hand_over_address(scene: &Scene) -> anyhow::Result<()> {
    let heir = scene.others.first().context("nobody inherits")?;
    let before: Vec<IpAddr> = scene.service.service.tasks().iter().map(Task::address).collect();
    scene.service.scale(1).await?;
    let left = scene.service.service.tasks();
    let free = before.into_iter().find(|it| left.iter().all(|task| task.address() != *it));
    let address = free.context("no address is free")?;
    heir.service.give_addresses([address]);
    heir.scale(2).await?;
    let owner = Client::new(SocketAddr::new(address, crate::stage::APP_PORT));
    let answer = owner.get("heir.local", "/ping").await?;
    ensure!(answer.json()?["metadata"] == "heir", "{answer:?}");
    sleep_until((Instant::now() + Duration::from_secs(1)).into()).await;
    heir.scale(1).await?;
    scene.service.scale(2).await
}

/// All services are updated at the same time.
pub(super) async fn storm(scene: &Scene) -> anyhow::Result<()> {
    let all = scene.others.iter();
    let update = |it: &'_ crate::orchestrator::Orchestrator| {
        let it = it.clone();
        async move { it.update(Order::StartFirst, Parallelism::One).await }
    };
    try_join_all(all.map(update)).await?;
    Ok(())
}

fn ok(answer: &Answer) -> anyhow::Result<()> {
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

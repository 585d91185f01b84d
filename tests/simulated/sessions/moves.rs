//! Which sessions move when tasks come and go, and which stay.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use tokio::net::TcpStream;
use waggle_tests::client::{Answer, Client, Jar};
use waggle_tests::engine::{Service, Task};
use waggle_tests::program::eventually;
use waggle_tests::stage::{APP_PORT, Stage};
use waggle_tests::websocket::WebSocket;

use super::{HOST, STICKY, sticky};

/// A path where the application sets no cookie.
const PATH: &str = "/headers";

/// Asks with a jar: who answered, and how many cookies are new.
async fn ask(stage: &Stage, jar: &mut Jar) -> Result<(SocketAddr, usize)> {
    let answer = stage.client.get_as(jar, HOST, PATH).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok((answered(&answer)?, answer.set_cookies().len()))
}

fn answered(answer: &Answer) -> Result<SocketAddr> {
    answer.header("x-upstream-addr").parse().with_context(|| format!("{answer:?}"))
}

fn task_at(service: &Service, address: SocketAddr) -> Result<Task> {
    let mut tasks = service.tasks().into_iter();
    tasks.find(|task| task.address() == address.ip()).context("the session's task")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_task_rests_goes_on_elsewhere_and_stays_there() -> Result<()> {
    let mut stage = Stage::start().await?;
    let builder = stage.service("sticky", HOST).label(STICKY, "session").replicas(3);
    let resting =
        builder.label("com.docker.lb.max_fails", "3").label("com.docker.lb.fail_timeout", "3s");
    stage.deploy(resting).await?;
    let mut jar = Jar::default();
    let (first, cookies) = ask(&stage, &mut jar).await?;
    ensure!(cookies == 1, "{cookies} cookies");
    let task = Client::new(first);
    task.post(HOST, "/break/503", b"").await?;
    for failure in 1..=3 {
        let answer = stage.client.get_as(&mut jar, HOST, PATH).await?;
        ensure!(answer.status == 503 && answered(&answer)? == first, "{failure}: {answer:?}");
        ensure!(answer.set_cookies().is_empty(), "{failure}: {answer:?}");
    }
    // Envoy's workers hear of a rest from its main thread.
    eventually("the task rests", async || {
        let resting = stage.envoy.stat("cluster.sticky.outlier_detection.ejections_active")?;
        Ok((resting == 1).then_some(()))
    })
    .await?;
    let (second, cookies) = ask(&stage, &mut jar).await?;
    ensure!(second != first && cookies == 1, "from {first} to {second} with {cookies} cookies");
    task.post(HOST, "/mend", b"").await?;
    eventually("the first task is back", async || {
        ensure!(ask(&stage, &mut jar).await? == (second, 0), "the session moved again");
        Ok((answered(&stage.client.get(HOST, PATH).await?)? == first).then_some(()))
    })
    .await?;
    ensure!(ask(&stage, &mut jar).await? == (second, 0), "the session moved back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_another_service_got_is_not_followed() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = sticky(&mut stage, 2).await?;
    let mut jar = Jar::default();
    let (address, _) = ask(&stage, &mut jar).await?;
    let task = task_at(&service, address)?;
    task.stop();
    task.gone();
    stage.settle().await?;
    stage.backends.end(address);

    let builder = stage.service("heir", "heir.local").label(STICKY, "session").replicas(3);
    let heir = stage.deploy(builder.addresses([address.ip()])).await?;
    ensure!(heir.tasks().iter().any(|task| task.address() == address.ip()), "not given anew");
    // Of forty answers to the old session, one is not of a given task of three.
    let mut others = 0;
    for _ in 0..40 {
        let answer = stage.client.get_as(&mut jar.clone(), "heir.local", PATH).await?;
        ensure!(answer.status == 200 && answer.set_cookies().len() == 1, "{answer:?}");
        others += u32::from(answered(&answer)? != address);
    }
    ensure!(others > 0, "each of them was sent to {address}");
    let (second, cookies) = ask(&stage, &mut jar).await?;
    ensure!(second != address && cookies == 1, "{second} with {cookies} cookies");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_opens_where_its_session_is_and_stays_when_that_moves() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = sticky(&mut stage, 4).await?;
    let open = async |cookies: &str| {
        let stream = TcpStream::connect(stage.http).await?;
        WebSocket::open(stream, &format!("ws://{HOST}/"), &[("cookie", cookies)]).await
    };
    let header = |socket: &WebSocket<TcpStream>, name: &str| {
        let value = socket.handshake.get(name).and_then(|value| value.to_str().ok());
        value.map(ToOwned::to_owned)
    };
    let mut jar = Jar::default();
    let (first, _) = ask(&stage, &mut jar).await?;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut socket = open(&jar.line()).await?;
        ensure!(header(&socket, "x-upstream-addr") == Some(first.to_string()), "{socket:?}");
        ensure!(header(&socket, "set-cookie").is_none(), "{socket:?}");
        ensure!(socket.received("cookie").await?.is_empty(), "the task saw our cookie");
        sockets.push(socket);
    }
    // A handshake can begin a session too.
    let begun = open("a=1").await?;
    let cookie = header(&begun, "set-cookie").context("no cookie on the handshake")?;
    let token = cookie.strip_prefix("session_lb=").and_then(|it| it.split(';').next());
    let mut other = Jar::default();
    other.set("session_lb", token);
    let expected = header(&begun, "x-upstream-addr").context("no task")?;
    ensure!(ask(&stage, &mut other).await? == (expected.parse()?, 0), "begun on {expected}");

    task_at(&service, first)?.stop();
    let settled = eventually("the session moves", async || {
        Ok(Some(ask(&stage, &mut jar).await?).filter(|(task, _)| *task != first))
    });
    let (_, cookies) = settled.await?;
    ensure!(cookies == 1, "{cookies} cookies");
    for socket in &mut sockets {
        socket.echo("its session has moved").await?;
    }
    Ok(())
}

/// Who answers so many clients that have no cookie, each asked once.
async fn shares(stage: &Stage, clients: usize) -> Result<BTreeMap<SocketAddr, usize>> {
    const AT_A_TIME: usize = 8;
    let mut counted = BTreeMap::new();
    let ask = async || {
        let mut answers = Vec::new();
        for _ in 0..clients / AT_A_TIME {
            answers.push(ask(stage, &mut Jar::default()).await?);
        }
        anyhow::Ok(answers)
    };
    for (task, cookies) in try_join_all((0..AT_A_TIME).map(|_| ask())).await?.concat() {
        ensure!(cookies == 1, "{cookies} cookies of a new session");
        *counted.entry(task).or_default() += 1;
    }
    Ok(counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn more_tasks_move_nobody_and_new_sessions_spread_evenly_over_all() -> Result<()> {
    let mut stage = Stage::start().await?;
    let service = sticky(&mut stage, 2).await?;
    let mut sessions = Vec::new();
    for _ in 0..40 {
        let mut jar = Jar::default();
        let (task, _) = ask(&stage, &mut jar).await?;
        sessions.push((jar, task));
    }
    service.scale(4);
    stage.backends.serve(&service, APP_PORT).await?;
    stage.settle().await?;
    for (jar, task) in &mut sessions {
        for _ in 0..5 {
            ensure!(ask(&stage, jar).await? == (*task, 0), "a session left {task}");
        }
    }
    let shares = shares(&stage, 4_000).await?;
    let is_even = |share: &usize| (840..=1160).contains(share);
    ensure!(shares.len() == 4 && shares.values().all(is_even), "of 4,000: {shares:?}");
    Ok(())
}

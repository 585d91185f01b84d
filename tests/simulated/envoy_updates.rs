//! Envoy's own updates: told to stop, it goes without losing a request.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::stream::{self, BoxStream, StreamExt};
use hyper::StatusCode;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waggle_tests::backend::Backends;
use waggle_tests::balancer::{Balancer, Health, Proxy};
use waggle_tests::client::{Answer, Client};
use waggle_tests::controller::Controller;
use waggle_tests::engine::{Engine, Service};
use waggle_tests::envoy::{Drain, Entry};
use waggle_tests::load::Load;
use waggle_tests::program::{eventually, free_address};
use waggle_tests::stage::APP_PORT;

const HOST: &str = "demo.local";

/// Time for five health checks, and no end to a wait that a test can see.
const PATIENT: Drain<'_> = Drain { notice: "1", wait: "15" };

/// An Envoy on ports of its own, and the controller that tells it those.
struct Seat {
    controller: Controller,
    envoy: Entry,
    proxy: Proxy,
}

/// Two Envoys before one application.
struct World {
    seats: [Seat; 2],
    _engine: Engine,
    _service: Service,
    _backends: Backends,
}

impl Seat {
    async fn start(engine: &Engine, node: &str, drain: Drain<'_>) -> Result<Self> {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, free_address()?.port()));
        let https = free_address()?.port().to_string();
        let controller = Controller::start(&engine.url(), http.port(), &["--https-port", &https])?;
        let proxy = Proxy { http, health: free_address()? };
        let envoy = Entry::start(controller.xds(), node, proxy.health, drain)?;
        let mut seat = Self { controller, envoy, proxy };
        seat.wait_ready().await?;
        Ok(seat)
    }

    /// Puts a new Envoy in the place of one that has ended.
    async fn start_again(&mut self, drain: Drain<'_>) -> Result<()> {
        self.envoy = Entry::start(self.controller.xds(), "envoy-new", self.proxy.health, drain)?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        self.envoy.wait_ready()?;
        let client = Client::new(self.proxy.http);
        eventually("the application answers", async || {
            let answer = client.get(HOST, "/ping").await.ok();
            Ok(answer.filter(|answer| answer.status == StatusCode::OK))
        })
        .await?;
        ensure!(
            Health::of(self.proxy.health).await == Health::Holds,
            "it serves, and is not healthy"
        );
        Ok(())
    }
}

impl World {
    async fn start(drain: Drain<'_>) -> Result<Self> {
        let (engine, mut backends) = (Engine::start().await?, Backends::new()?);
        let port = APP_PORT.to_string();
        let service = engine
            .service("demo")
            .network("apps")
            .label("com.docker.lb.hosts", HOST)
            .label("com.docker.lb.port", &port)
            .replicas(2)
            .create();
        backends.serve(&service, APP_PORT).await?;
        let seats = [
            Seat::start(&engine, "envoy-1", drain).await?,
            Seat::start(&engine, "envoy-2", drain).await?,
        ];
        Ok(Self { seats, _engine: engine, _service: service, _backends: backends })
    }
}

/// A request on a connection of HTTP/1.1 that is kept, and what came back.
async fn ask_kept(stream: &mut TcpStream) -> Result<String> {
    stream.write_all(format!("GET /ping HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut part).await?;
        ensure!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(part.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        // The application's answer is one line.
        if text.contains("\r\n\r\n{") && text.ends_with("}\n") {
            ensure!(text.starts_with("http/1.1 200 "), "{text}");
            return Ok(text);
        }
    }
}

/// Asks on one kept connection without pause; tells the answer that was the last one.
async fn stay(proxy: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(proxy).await?;
    loop {
        let answer = ask_kept(&mut stream).await?;
        if answer.contains("connection: close") {
            return Ok(answer);
        }
    }
}

/// Frames of HTTP/2, as far as they are told apart here.
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

/// A connection of HTTP/2 that has asked once and been answered.
async fn http2(proxy: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&settings).await?;
    ask_http2(&mut stream, 1).await?;
    wait_frame(&mut stream, HEADERS).await?;
    Ok(stream)
}

/// `GET /` as stream `id`, in the fewest bytes.
async fn ask_http2(stream: &mut TcpStream, id: u8) -> Result<()> {
    // `:method GET`, `:scheme http`, `:path /` by their numbers in the static table; `:authority` in full.
    let mut block = vec![0x82, 0x86, 0x84, 0x41, u8::try_from(HOST.len())?];
    block.extend_from_slice(HOST.as_bytes());
    let ends = 0x1 | 0x4;
    let mut frame = vec![0, 0, u8::try_from(block.len())?, HEADERS, ends, 0, 0, 0, id];
    frame.append(&mut block);
    Ok(stream.write_all(&frame).await?)
}

/// Reads up to a frame of this kind, and gives what it holds.
async fn wait_frame(stream: &mut TcpStream, kind: u8) -> Result<Vec<u8>> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.with_context(|| format!("no frame of kind {kind}"))?;
        let [a, b, c, found, ..] = head;
        let mut body = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c]))?];
        stream.read_exact(&mut body).await?;
        if found == kind {
            return Ok(body);
        }
    }
}

/// Opens a connection for each request; an Envoy that refuses it is left for the other one.
async fn go_elsewhere(first: SocketAddr, other: SocketAddr) -> Result<u32> {
    let mut served = 0;
    loop {
        let Ok(mut stream) = TcpStream::connect(first).await else {
            Client::new(other).get(HOST, "/ping").await?;
            return Ok(served);
        };
        match ask_kept(&mut stream).await {
            Ok(_) => served += 1,
            // The kernel had taken it, and Envoy had not yet when it closed its listener.
            Err(error) if is_reset(&error) => {
                eventually("the listener is closed", async || {
                    Ok(TcpStream::connect(first).await.is_err().then_some(()))
                })
                .await?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_reset(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// Asks for an answer that takes its time.
async fn sleep_there(proxy: SocketAddr, milliseconds: u32) -> Result<Answer> {
    Client::new(proxy).get(HOST, &format!("/sleep/{milliseconds}")).await
}

/// Asks an Envoy for as long as it is healthy.
async fn heed(proxy: Proxy) -> Result<()> {
    let client = Client::new(proxy.http);
    while Health::of(proxy.health).await == Health::Holds {
        let answer = client.get(HOST, "/ping").await?;
        ensure!(answer.status == StatusCode::OK, "{answer:?}");
    }
    let answer = client.get(HOST, "/ping").await.context("just after the check failed")?;
    ensure!(answer.status == StatusCode::OK, "{answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_is_told_to_stop_lets_each_kind_of_client_go() -> Result<()> {
    let mut world = World::start(PATIENT).await?;
    let [going, other] = &mut world.seats;
    let (proxy, elsewhere) = (going.proxy, other.proxy.http);
    let slow = [500, 3000].map(|ms| tokio::spawn(sleep_there(proxy.http, ms)));
    let kept = tokio::spawn(stay(proxy.http));
    let heeding = tokio::spawn(heed(proxy));
    let mut newer = http2(proxy.http).await?;
    eventually("the slow requests are with the application", async || {
        let open = going.envoy.stat("http.http.downstream_rq_active")?;
        Ok((open >= 2).then_some(()))
    })
    .await?;

    going.envoy.signal(Signal::SIGTERM)?;
    let told = Instant::now();
    eventually("the health check fails", async || {
        Ok((Health::of(proxy.health).await == Health::Fails).then_some(()))
    })
    .await?;
    let last = kept.await?.context("a client that stays on its connection")?;
    ask_http2(&mut newer, 3).await?;
    let goaway = wait_frame(&mut newer, GOAWAY).await?;
    ensure!(goaway.get(4..8) == Some(&[0; 4]), "not without fault: {goaway:?}");
    wait_frame(&mut newer, HEADERS).await.context("the answer after GOAWAY")?;
    drop(newer);
    heeding.await?.context("a client that heeds the health check")?;
    let served = go_elsewhere(proxy.http, elsewhere).await.context("on new connections")?;
    ensure!(served > 0, "no new connection was taken after the health check failed");
    ensure!(told.elapsed() >= Duration::from_secs(1), "the listener closed before its time");
    ensure!(
        going.envoy.ended()?.is_none(),
        "it ended before its slow request; the last was {last}"
    );
    for slow in slow {
        let answer = slow.await?.context("a slow request")?;
        ensure!(answer.status == StatusCode::OK, "{answer:?}");
    }
    let end = going.envoy.wait_end().await?;
    ensure!(end.success(), "{end}: {}", going.envoy.log());
    ensure!(
        told.elapsed() < Duration::from_secs(10),
        "it waited for nobody: {}",
        going.envoy.log()
    );
    Ok(())
}

/// Requests of a client that keeps a connection of HTTP/2, and takes a new one when told to.
fn over_http2(proxy: SocketAddr) -> BoxStream<'static, Result<Answer>> {
    let ask = async move |kept: &mut Option<Client>| {
        let client = match kept.take() {
            Some(client) if client.is_open().await => client,
            _ => Client::http2(proxy).await?,
        };
        client.get(HOST, "/ping").await.inspect(|_| *kept = Some(client))
    };
    stream::unfold(None, move |mut kept| async move { Some((ask(&mut kept).await, kept)) }).boxed()
}

fn over_http1(client: Client, path: &'static str) -> BoxStream<'static, Result<Answer>> {
    stream::unfold(
        client,
        move |client| async move { Some((client.get(HOST, path).await, client)) },
    )
    .boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_of_envoys_behind_a_balancer_loses_nothing() -> Result<()> {
    let mut world = World::start(PATIENT).await?;
    let mut balancer = Balancer::start(world.seats.iter().map(|seat| seat.proxy).collect()).await?;
    for seat in &world.seats {
        balancer.wait(seat.proxy.http, Health::Holds).await?;
    }
    let front = balancer.address();
    let quick = (0..4).map(|_| over_http1(Client::new(front), "/ping"));
    let slow = (0..2).map(|_| over_http1(Client::new(front), "/sleep/700"));
    let http2 = (0..2).map(|_| over_http2(front));
    let load = Load::of(quick.chain(slow).chain(http2));
    for seat in &mut world.seats {
        load.go_on(200).await?;
        seat.envoy.signal(Signal::SIGTERM)?;
        balancer.wait(seat.proxy.http, Health::Fails).await?;
        let end = seat.envoy.wait_end().await?;
        ensure!(end.success(), "{end}: {}", seat.envoy.log());
        load.go_on(100).await?;
        seat.start_again(PATIENT).await?;
        balancer.wait(seat.proxy.http, Health::Holds).await?;
    }
    load.go_on(200).await?;
    load.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_stays_open_is_cut_after_the_wait() -> Result<()> {
    let mut world = World::start(Drain { notice: "0", wait: "2" }).await?;
    let [Seat { envoy, proxy, .. }, _] = &mut world.seats;
    let mut idle = TcpStream::connect(proxy.http).await?;
    ask_kept(&mut idle).await?;
    envoy.signal(Signal::SIGTERM)?;
    let told = Instant::now();
    let end = envoy.wait_end().await?;
    ensure!(end.success() && told.elapsed() >= Duration::from_secs(1), "{end}: {}", envoy.log());
    ensure!(envoy.log().contains("are still open after 2 s"), "{}", envoy.log());
    ensure!(idle.read(&mut [0]).await? == 0, "an idle connection gets an orderly end");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_the_wait() -> Result<()> {
    let mut world = World::start(Drain { notice: "600", wait: "600" }).await?;
    let [Seat { envoy, proxy, .. }, _] = &mut world.seats;
    envoy.signal(Signal::SIGTERM)?;
    eventually("the health check fails", async || {
        Ok((Health::of(proxy.health).await == Health::Fails).then_some(()))
    })
    .await?;
    ensure!(envoy.ended()?.is_none(), "it did not wait: {}", envoy.log());
    envoy.signal(Signal::SIGTERM)?;
    let end = envoy.wait_end().await?;
    ensure!(end.success(), "{end}: {}", envoy.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn how_envoy_ends_is_how_its_entry_ends() -> Result<()> {
    let nobody = free_address()?;
    let patient = Drain { notice: "600", wait: "600" };
    // 128 + the number of the signal, as every shell says it.
    for (signal, code) in [(Signal::SIGKILL, 137), (Signal::SIGINT, 0)] {
        let mut envoy = Entry::start(nobody, "envoy", free_address()?, patient)?;
        wait_admin(&mut envoy)?;
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", envoy.id()))?;
        let child: i32 =
            children.trim().parse().with_context(|| format!("one child: {children}"))?;
        match signal {
            Signal::SIGKILL => nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), signal)?,
            passed_on => envoy.signal(passed_on)?,
        }
        let end = envoy.wait_end().await?;
        ensure!(end.code() == Some(code), "{signal}: {end}: {}", envoy.log());
    }
    Ok(())
}

fn wait_admin(envoy: &mut Entry) -> Result<()> {
    envoy.wait_until("the admin interface answers", |envoy| Ok(envoy.get("/stats").is_ok()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_serves_nobody_yet_goes_at_once() -> Result<()> {
    let patient = Drain { notice: "600", wait: "600" };
    let mut envoy = Entry::start(free_address()?, "envoy", free_address()?, patient)?;
    wait_admin(&mut envoy)?;
    envoy.signal(Signal::SIGTERM)?;
    let end = envoy.wait_end().await?;
    ensure!(end.success(), "{end}: {}", envoy.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_no_number_is_refused_at_the_start() -> Result<()> {
    let mut envoy = Entry::start(
        free_address()?,
        "envoy",
        free_address()?,
        Drain { notice: "10s", wait: "1" },
    )?;
    let end = envoy.wait_end().await?;
    let log = envoy.log();
    ensure!(end.code() == Some(64) && log.contains("WAGGLE_DRAIN_NOTICE (10s)"), "{end}: {log}");
    if log.contains("initializing epoch") {
        bail!("Envoy was started: {log}");
    }
    Ok(())
}

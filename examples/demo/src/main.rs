//! The demo application: the usual `docker-demo` in a small static binary.
//!
//! | path | answer |
//! |---|---|
//! | `/ping` | JSON of instance, version, metadata and request ID; makes or echoes the cookie `session` |
//! | `/headers` | JSON of the request's headers, as `[name, value]` pairs |
//! | `/status/NNN` | that status |
//! | `/sleep/MS` | 200 after so many milliseconds, at most a minute |
//! | `/forge` | 200 with debug headers that only the proxy should set |
//! | `POST /break/NNN` | from now on every request gets that status, until `POST /mend` |
//! | any other | JSON of what came: method, path, protocol, headers, length of the body |
//!
//! It takes HTTP/1.1, and HTTP/2 from the first byte. On every path it opens a WebSocket, whose
//! messages come back, and as gRPC it answers the health check `grpc.health.v1.Health/Check`.
//!
//! `LISTEN` (`0.0.0.0:8080`), `INSTANCE` (the host name), `VERSION` (`0.1`) and `METADATA` (empty)
//! set it up. With `TLS_CERT` and `TLS_KEY` (files, PEM) it takes TLS too, at `TLS_LISTEN`
//! (`0.0.0.0:8443`). On SIGTERM it stops listening, finishes what it serves for at most a second, and ends.
//!
//! It can also behave as other applications do: `ON_SIGTERM` (`finish`, `exit` at once, `ignore`),
//! `FINISH_MS` (1000), `LISTEN_AFTER_MS` (0), and `KEEP_ALIVE_MS` (30000), after which it closes a
//! connection without a request.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::answer::{Command, Identity, Reply, answer, status, text};
use crate::conduct::{Conduct, Ending};

mod answer;
mod conduct;
mod tls;
mod websocket;

/// What all connections share.
struct Application {
    identity: Identity,
    /// The status that every request gets; 0 while they are answered.
    broken: AtomicU16,
}

fn main() -> Result<(), Box<dyn Error>> {
    let listen: SocketAddr = setting("LISTEN", || "0.0.0.0:8080".into()).parse()?;
    let identity = Identity {
        instance: setting("INSTANCE", host_name),
        version: setting("VERSION", || "0.1".into()),
        metadata: setting("METADATA", String::new),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let (Ok(chain), Ok(key)) = (env::var("TLS_CERT"), env::var("TLS_KEY")) {
        let secure: SocketAddr = setting("TLS_LISTEN", || "0.0.0.0:8443".into()).parse()?;
        runtime.spawn(async move {
            if let Err(fault) = tls::serve(secure, chain.as_ref(), key.as_ref(), listen).await {
                eprintln!("no TLS at {secure}: {fault}");
            }
        });
    }
    let application = Application { identity, broken: AtomicU16::new(0) };
    runtime.block_on(serve(listen, Arc::new(application), Conduct::from_environment()?))
}

fn setting(name: &str, default: impl FnOnce() -> String) -> String {
    env::var(name).unwrap_or_else(|_| default())
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

async fn serve(
    listen: SocketAddr,
    application: Arc<Application>,
    conduct: Conduct,
) -> Result<(), Box<dyn Error>> {
    let mut stop = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = stop.recv(), if conduct.ending != Ending::Never => return Ok(()),
        () = sleep(conduct.listen_after) => {}
    }
    let listener = TcpListener::bind(listen).await?;
    let connections = GracefulShutdown::new();
    println!("{} listens on {}", application.identity.instance, listener.local_addr()?);
    loop {
        let accepted = tokio::select! {
            _ = stop.recv(), if conduct.ending != Ending::Never => break,
            accepted = listener.accept() => accepted,
        };
        // The peer left already, or descriptors ran out: neither ends the service.
        let Ok((stream, _)) = accepted else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        // A small response in several parts must not wait for the peer's acknowledgements.
        let _peer_left_already = stream.set_nodelay(true);
        let application = Arc::clone(&application);
        let service = service_fn(move |request| {
            let application = Arc::clone(&application);
            async move { Ok::<_, Infallible>(respond(&application, request).await) }
        });
        let mut protocols = auto::Builder::new(TokioExecutor::new());
        protocols.http1().timer(TokioTimer::new()).header_read_timeout(conduct.keep_alive);
        protocols.http2().timer(TokioTimer::new());
        let connection =
            protocols.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    if conduct.ending == Ending::Finish {
        // What is not done by then is cut by the end of the process.
        let _ = timeout(conduct.finish, connections.shutdown()).await;
    }
    Ok(())
}

async fn respond(application: &Application, mut request: Request<Incoming>) -> Reply {
    let broken = StatusCode::from_u16(application.broken.load(Ordering::Relaxed));
    if let (Err(_), Some(reply)) = (&broken, websocket::accept(&mut request)) {
        return reply;
    }
    let (head, body) = request.into_parts();
    let body_bytes = drain(body).await;
    if let Some(command) = Command::of(&head) {
        let (code, told) = match command {
            Command::Break(status) => (status.as_u16(), format!("from now on {status}\n")),
            Command::Mend => (0, "as before\n".to_owned()),
        };
        application.broken.store(code, Ordering::Relaxed);
        return text(told);
    }
    if let Ok(broken) = broken {
        return status(broken);
    }
    let (delay, reply) = answer(&head, body_bytes, &application.identity, SystemTime::now());
    sleep(delay).await;
    reply
}

/// Reads a body to its end, so that the connection stays usable, and tells its length.
async fn drain(mut body: Incoming) -> usize {
    let mut length = 0;
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, hyper::body::Bytes::len);
    }
    length
}

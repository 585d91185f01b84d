//! The demo application: the usual `docker-demo` in a small static binary.
//!
//! | path | answer |
//! |---|---|
//! | `/` | a friendly line |
//! | `/ping` | JSON of instance, version, metadata and request ID; makes or echoes the cookie `session` |
//! | `/headers` | JSON of the request's headers, as `[name, value]` pairs |
//! | `/status/NNN` | that status |
//! | `/sleep/MS` | 200 after so many milliseconds, at most a minute |
//! | `/forge` | 200 with debug headers that only the proxy should set |
//!
//! `LISTEN` (`0.0.0.0:8080`), `INSTANCE` (the host name), `VERSION` (`0.1`) and `METADATA` (empty)
//! set it up. With `TLS_CERT` and `TLS_KEY` (files, PEM) it takes TLS too, at `TLS_LISTEN`
//! (`0.0.0.0:8443`). On SIGTERM it stops listening, finishes what it serves for at most a second, and ends.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::answer::{Identity, answer};

mod answer;
mod tls;

/// How long the requests in flight may go on after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

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
    runtime.block_on(serve(listen, Arc::new(identity)))
}

fn setting(name: &str, default: impl FnOnce() -> String) -> String {
    env::var(name).unwrap_or_else(|_| default())
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

async fn serve(listen: SocketAddr, identity: Arc<Identity>) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(listen).await?;
    let mut stop = signal(SignalKind::terminate())?;
    let connections = GracefulShutdown::new();
    println!("{} listens on {}", identity.instance, listener.local_addr()?);
    loop {
        let accepted = tokio::select! {
            _ = stop.recv() => break,
            accepted = listener.accept() => accepted,
        };
        // The peer left already, or descriptors ran out: neither ends the service.
        let Ok((stream, _)) = accepted else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let identity = Arc::clone(&identity);
        let service = service_fn(move |request| {
            let identity = Arc::clone(&identity);
            async move {
                let (head, body) = Request::into_parts(request);
                drain(body).await;
                let (delay, response) = answer(&head, &identity, SystemTime::now());
                sleep(delay).await;
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    // What is not done by then is cut by the end of the process.
    let _ = timeout(GRACE, connections.shutdown()).await;
    Ok(())
}

/// Reads a body to its end, so that the connection stays usable.
async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}

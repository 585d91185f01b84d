//! The load itself: it keeps its rate, and tells each kind of failure.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waggle_tests::steady::{Fault, Plan, Report, Site, Steady, Wire};

/// Answers every request on HTTP/1.1 with these bytes, then closes; HTTP/2 gets the end at once.
async fn serve(listener: TcpListener, answer: &'static [u8]) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            // A client that goes is no fault of this server.
            let _gone = answer_once(stream, answer).await;
        });
    }
}

async fn answer_once(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    if request.starts_with(b"PRI ") {
        return Ok(());
    }
    let length = if request.starts_with(b"POST") { 64 * 1024 } else { 0 };
    let head = request.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or_default() + 4;
    while request.len() < head + length && stream.read_buf(&mut request).await? > 0 {}
    stream.write_all(answer).await?;
    stream.shutdown().await
}

async fn load(answer: &'static [u8]) -> Result<Report> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let proxy = listener.local_addr()?;
    let server = tokio::spawn(serve(listener, answer));
    let report = one_second(proxy).await;
    server.abort();
    report
}

async fn one_second(proxy: SocketAddr) -> Result<Report> {
    let mut plan = Plan::new(proxy, [Site::new("demo.local", "demo")]);
    plan.rate = 200;
    let load = Steady::start(plan);
    tokio::time::sleep(Duration::from_secs(1)).await;
    tokio::task::spawn_blocking(|| load.end()).await?
}

/// What became of the requests on HTTP/1.1: all the same.
fn on_http1(report: &Report) -> Result<Option<Fault>> {
    ensure!((190..=215).contains(&report.asked), "200 a second were due: {report}");
    let failures = report.failures.iter().filter(|failure| failure.kind.wire != Wire::Shared);
    let mut faults: Vec<_> = failures.map(|failure| failure.fault.clone()).collect();
    let failed = faults.len();
    faults.dedup();
    ensure!(faults.len() <= 1 && (failed == 0 || failed > report.asked / 2), "{report}");
    Ok(faults.pop())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_keeps_its_rate_and_tells_each_failure() -> Result<()> {
    let good = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 19\r\n\r\n{\"metadata\":\"demo\"}";
    let report = load(good).await?;
    ensure!(on_http1(&report)?.is_none(), "{report}");
    ensure!(report.times.count() > report.asked / 2, "{report}");
    let cut = |fault: &Fault| matches!(fault, Fault::Cut(_) | Fault::Refused(_));
    let shared = report.failures.iter().all(|failure| cut(&failure.fault));
    ensure!(shared && !report.failures.is_empty(), "HTTP/2 is cut: {report}");

    let stranger = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 20\r\n\r\n{\"metadata\":\"other\"}";
    let report = load(stranger).await?;
    ensure!(matches!(on_http1(&report)?, Some(Fault::Stranger(_))), "{report}");

    let refusal = b"HTTP/1.1 503 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let report = load(refusal).await?;
    ensure!(on_http1(&report)? == Some(Fault::Status(503, String::new())), "{report}");

    let cut_short = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 90\r\n\r\n{";
    let report = load(cut_short).await?;
    ensure!(matches!(on_http1(&report)?, Some(Fault::Cut(_))), "{report}");
    Ok(())
}

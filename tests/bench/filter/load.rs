//! Tasks that answer at once, and clients that ask as fast as Envoy answers. Both cost little, so
//! that Envoy is what is waited for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::case::Case;

/// Connections that ask at the same time.
const CONNECTIONS: usize = 16;

/// What a task answers: as many headers as applications have.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n\
    cache-control: no-store\r\nvary: accept-encoding\r\netag: \"5f2a\"\r\n\
    content-length: 100\r\n\r\n\
    0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

/// What a browser sends.
const HEAD: &str = "GET /index.html?page=1 HTTP/1.1\r\nhost: 9mnpnzenvg8p8tdbtq4wvbkcz.local\r\n\
    user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    accept-language: en-US,en;q=0.5\r\naccept-encoding: gzip, deflate, br\r\n";

/// Starts tasks, which end with the runtime.
pub(crate) async fn backends(number: usize) -> Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for _ in 0..number {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.push(listener.local_addr()?);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    }
    Ok(addresses)
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0);
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            stream.write_all(ANSWER).await?;
        }
    }
}

/// Asks one listener.
pub(crate) struct Client {
    address: SocketAddr,
    /// Sent in turn.
    requests: Vec<Vec<u8>>,
}

impl Client {
    /// Connects, and takes the cookies of first answers where the case is about known clients.
    pub(crate) async fn meet(case: Case, address: SocketAddr) -> Result<Self> {
        let mut stream = connect(address).await?;
        let request = |cookies: &str| format!("{HEAD}cookie: {cookies}\r\n\r\n").into_bytes();
        let mut requests = Vec::new();
        for _ in 0..case.clients() {
            let mut pairs = vec!["theme=dark", "session=5f2a9c31d1f94e0c"];
            let first = ask(&mut stream, &request("theme=dark; lang=en")).await?;
            if case.is_of_known_client() {
                let cookies = first.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
                let pin = cookies.filter_map(|line| line.split(';').next()).next_back();
                pairs.insert(1, pin.with_context(|| format!("no cookie in {first}"))?);
            }
            let request = request(&pairs.join("; "));
            let answer = ask(&mut stream, &request).await?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            ensure!(answer.contains("set-cookie") == case.sets_cookie(), "{answer}");
            for header in case.headers() {
                ensure!(answer.contains(&format!("\r\n{header}: ")), "no {header} in {answer}");
            }
            requests.push(request);
        }
        Ok(Self { address, requests })
    }

    /// Sends so many requests, over all connections together, and gives the time that they took.
    pub(crate) async fn ask(&self, requests: u32) -> Result<Duration> {
        let start = Instant::now();
        let all = (0..CONNECTIONS).map(async |number| {
            let mut stream = connect(self.address).await?;
            let own = self.requests.iter().cycle().skip(number).step_by(CONNECTIONS);
            for request in own.take(requests as usize / CONNECTIONS) {
                ask(&mut stream, request).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
        futures::future::try_join_all(all).await?;
        Ok(start.elapsed())
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request; its answer has a body of 100 bytes.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> Result<String> {
    stream.write_all(request).await?;
    let mut buffer = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "closed after {}", String::from_utf8_lossy(&buffer[..filled]));
        filled += read;
        let answer = &buffer[..filled];
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if end.is_some_and(|end| filled >= end + 4 + 100) {
            return Ok(String::from_utf8_lossy(answer).into_owned());
        }
    }
}

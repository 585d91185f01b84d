//! Tasks that do as the request tells them, and tasks that do wrong.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use crate::program::free_address;

/// A task that answers with the head of the request as it came, and with the response head that the
/// request's `answer` header asks for, lines separated by `|`; `||` ends one head and begins another.
pub fn task() -> anyhow::Result<SocketAddr> {
    task_at((Ipv4Addr::LOCALHOST, 0).into())
}

/// The same at this address.
pub fn task_at(address: SocketAddr) -> anyhow::Result<SocketAddr> {
    listen(address, |mut stream| {
        while let Some(request) = read_request(&mut stream) {
            let wish = request.lines().find_map(|line| line.strip_prefix("answer: "));
            let head = wish.unwrap_or("HTTP/1.1 200 OK").replace('|', "\r\n");
            if head.starts_with("HTTP/1.1 101") {
                let _gone = stream.write_all(format!("{head}\r\n\r\n").as_bytes());
                break;
            }
            let body = if is_without_body(&request, &head) {
                String::new()
            } else {
                format!("content-length: {}\r\n\r\n{request}", request.len())
            };
            let end = if body.is_empty() { "\r\n" } else { "" };
            if stream.write_all(format!("{head}\r\n{body}{end}").as_bytes()).is_err() {
                break;
            }
        }
    })
}

/// A task that reads a request and ends without an answer.
pub fn crashing_task() -> anyhow::Result<SocketAddr> {
    listen((Ipv4Addr::LOCALHOST, 0).into(), |mut stream| drop(read_request(&mut stream)))
}

/// Where nobody listens.
pub fn nobody() -> anyhow::Result<SocketAddr> {
    free_address()
}

fn is_without_body(request: &str, head: &str) -> bool {
    let last = head.rsplit("\r\n\r\n").next().unwrap_or_default();
    let status = last.split(' ').nth(1);
    request.starts_with("HEAD ") || matches!(status, Some("204" | "304"))
}

fn listen(address: SocketAddr, serve: fn(TcpStream)) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

/// The head of the next request, with its trailers behind it; its body is read and dropped.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let head = read_until(stream, b"\r\n\r\n")?;
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if header("transfer-encoding: ") == Some("chunked") {
        let trailers = read_chunks(stream)?;
        return Some(head + &trailers);
    }
    let length = header("content-length: ").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).ok()?;
    Some(head)
}

/// Reads a body in chunks, and gives its trailers.
fn read_chunks(stream: &mut TcpStream) -> Option<String> {
    loop {
        let size = read_until(stream, b"\r\n")?;
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        if size == 0 {
            break;
        }
        stream.read_exact(&mut vec![0; size + 2]).ok()?;
    }
    let mut trailers = String::new();
    loop {
        match read_until(stream, b"\r\n")?.as_str() {
            "\r\n" => return Some(trailers),
            line => trailers.push_str(line),
        }
    }
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Option<String> {
    let mut text = vec![];
    while !text.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        text.extend(byte);
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

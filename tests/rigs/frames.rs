//! HTTP/2 frame by frame: requests whose fields no client library would send.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// RFC 9113, section 6; flags of HEADERS: the stream ends, the headers end.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ENDS: u8 = 0x1 | 0x4;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was answered; what, is in the proxy's statistics.
    Answered,
    /// It was refused, and other requests of the connection go on.
    Refused,
    /// The connection was closed.
    Closed,
}

/// Sends one request of these fields (pseudo-headers first) on a connection of its own. All fields
/// together must fit one frame of 16 KiB.
pub async fn ask(proxy: SocketAddr, fields: &[(&[u8], &[u8])]) -> anyhow::Result<Fate> {
    let mut stream = TcpStream::connect(proxy).await?;
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| literal(name, value)).collect();
    let settings = frame(SETTINGS, 0, 0, &[]);
    stream.write_all(&[PREFACE, &settings, &frame(HEADERS, ENDS, 1, &block)].concat()).await?;
    timeout(ANSWER, fate(&mut stream)).await?
}

async fn fate(stream: &mut TcpStream) -> anyhow::Result<Fate> {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Ok(Fate::Closed);
        }
        let [high, middle, low, kind, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            HEADERS => return Ok(Fate::Answered),
            RST_STREAM => return Ok(Fate::Refused),
            GOAWAY => return Ok(Fate::Closed),
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field as it is, never compressed (RFC 7541, 6.2.2).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0], string(name).as_slice(), &string(value)].concat()
}

/// A string with its length before it, in seven bits or more (RFC 7541, 5.1 and 5.2).
fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if text.len() < 127 {
        bytes.extend(u8::try_from(text.len()));
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.extend(u8::try_from(rest % 128 + 128));
            rest /= 128;
        }
        bytes.extend(u8::try_from(rest));
    }
    bytes.extend(text);
    bytes
}

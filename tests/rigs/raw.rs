//! HTTP/1.1 byte by byte: requests that no client library would send, and answers as they came.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The values of each header, by its name in small letters.
    pub headers: BTreeMap<String, Vec<String>>,
    /// What came behind the head, as it came.
    pub body: String,
}

/// Sends bytes and reads to the end: they must ask for the connection to be closed.
pub fn send(server: SocketAddr, bytes: &[u8]) -> anyhow::Result<Answer> {
    Answer::parse(&exchange(server, bytes)?)
}

/// The same, where several answers may come one after the other: everything that came.
pub fn exchange(server: SocketAddr, bytes: &[u8]) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(bytes)?;
    let mut answer = vec![];
    stream.read_to_end(&mut answer).with_context(|| {
        let (sent, came) = (bytes.escape_ascii(), answer.escape_ascii());
        format!("the connection stays open after {sent}, with {came}")
    })?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A request for a host with some header lines, each with its end, and a body.
pub fn request(line: &str, host: &str, headers: &[u8], body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    [head.as_bytes(), headers, b"\r\n", body.as_bytes()].concat()
}

impl Answer {
    /// Reads the first answer of a text; what comes behind its head is its body.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let Some((head, body)) = text.split_once("\r\n\r\n") else { bail!("no answer: {text:?}") };
        let (status, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
            headers.entry(name.to_lowercase()).or_default().push(value.to_owned());
        }
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status: {text:?}"))?;
        Ok(Self { status, headers, body: body.to_owned() })
    }

    /// The value of a header that is there at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} in {self:#?}");
        values.first().map(String::as_str)
    }

    /// All values of a header.
    pub fn values(&self, name: &str) -> &[String] {
        self.headers.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value of a header that a [`scripted`](crate::scripted) task received.
    pub fn received(&self, name: &str) -> Option<&str> {
        let mut lines = self.body.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _value)| key.eq_ignore_ascii_case(name)).map(|(_key, value)| value)
    }

    /// The value that a `Set-Cookie` line gives to a cookie, if there is such a line; never two.
    pub fn sets(&self, cookie: &str) -> Option<&str> {
        let name = format!("{cookie}=");
        let mut values = self.values("set-cookie").iter().filter_map(|it| it.strip_prefix(&name));
        let value = values.next()?;
        assert!(values.next().is_none(), "{cookie} is set twice in {self:#?}");
        value.split(';').next()
    }
}

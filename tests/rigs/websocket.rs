//! A WebSocket client, over whatever stream reaches the proxy.

use std::time::Duration;

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use hyper::header::{HeaderMap, HeaderName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
pub use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
pub use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// How long a message may take.
const ANSWER: Duration = Duration::from_secs(10);

/// One connection.
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// The headers of the answer that opened it.
    pub handshake: HeaderMap,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Asks for a WebSocket at a URL, with more headers.
    pub async fn open(stream: S, url: &str, headers: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut request = url.into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().append(name.parse::<HeaderName>()?, value.parse()?);
        }
        let opened = timeout(ANSWER, tokio_tungstenite::client_async(request, stream)).await?;
        let (stream, answer) = opened.with_context(|| url.to_owned())?;
        Ok(Self { stream, handshake: answer.into_parts().0.headers })
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(timeout(ANSWER, self.stream.send(message)).await??)
    }

    /// The next message.
    pub async fn next(&mut self) -> anyhow::Result<Message> {
        let message = timeout(ANSWER, self.stream.next()).await.context("no message")?;
        Ok(message.context("the connection has ended")??)
    }

    /// Sends a message and gives the answer.
    pub async fn ask(&mut self, message: Message) -> anyhow::Result<Message> {
        self.send(message).await?;
        self.next().await
    }

    /// Sends a text to the demo application, which is to send it back.
    pub async fn echo(&mut self, text: &str) -> anyhow::Result<()> {
        match self.ask(Message::text(text)).await? {
            Message::Text(back) if back.as_str() == text => Ok(()),
            other => bail!("{text} came back as {other:?}"),
        }
    }

    /// The values of a header of the request, as the demo application got it.
    pub async fn received(&mut self, header: &str) -> anyhow::Result<Vec<String>> {
        let answer = self.ask(Message::text("headers")).await?;
        let pairs: Vec<(String, String)> = serde_json::from_str(answer.to_text()?)?;
        Ok(pairs.into_iter().filter(|(name, _)| name == header).map(|(_, value)| value).collect())
    }

    /// Waits for the end, and gives what the other side said at it.
    pub async fn closed(&mut self) -> anyhow::Result<Option<CloseFrame>> {
        loop {
            if let Message::Close(frame) = self.next().await? {
                return Ok(frame);
            }
        }
    }

    /// Waits until the connection is cut, without a word.
    pub async fn cut(&mut self) -> anyhow::Result<()> {
        match timeout(ANSWER, self.stream.next()).await.context("it is still open")? {
            None | Some(Err(_)) => Ok(()),
            Some(Ok(message)) => bail!("not cut, but told {message:?}"),
        }
    }
}

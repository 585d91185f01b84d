//! WebSocket, on any path: every message comes back.
//!
//! Two texts are commands: `headers` is answered with the request's headers, as `/headers` prints
//! them, and `close NNNN` ends the connection with that code.

use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::answer::{Reply, headers_as_json, text};

/// Takes a request that asks for a WebSocket; none if it does not.
pub(crate) fn accept(request: &mut Request<Incoming>) -> Option<Reply> {
    let is_asked_for = request
        .headers()
        .get(UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let key = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| is_asked_for)?;
    let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
    let headers = headers_as_json(request.headers());
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(stream) = upgrade.await else { return };
        let stream = TokioIo::new(stream);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        // A client that goes without a word is no fault of ours.
        let _either_side_left = echo(socket, headers).await;
    });
    let mut reply = text(String::new());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    reply.headers_mut().clear();
    for (name, value) in [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accepted),
    ] {
        reply.headers_mut().insert(name, value);
    }
    Some(reply)
}

/// Pings are answered by the library.
async fn echo<S>(mut socket: WebSocketStream<S>, headers: String) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = socket.next().await {
        let message = message?;
        match &message {
            Message::Text(text) if text.as_str() == "headers" => {
                socket.send(Message::text(headers.as_str())).await?;
            }
            Message::Text(text) => match text.strip_prefix("close ").map(str::parse::<u16>) {
                Some(Ok(code)) => {
                    let code = CloseCode::from(code);
                    let reason = "as you asked".into();
                    socket.close(Some(CloseFrame { code, reason })).await?;
                }
                _ => socket.send(message).await?,
            },
            Message::Binary(_) => socket.send(message).await?,
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }
    Ok(())
}

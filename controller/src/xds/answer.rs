//! The body of an HTTP response: messages, and how it ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt as _};
use hyper::HeaderMap;
use hyper::body::{Body, Bytes, Frame};
use tonic::Status;

use super::pieces::Pieces;

/// What a stream of messages is as the body of a gRPC response. The stream is only polled when all
/// of the last message was taken, so that a client that reads slowly makes no work.
#[derive(Debug)]
pub(super) struct Answer<S> {
    messages: S,
    state: State,
}

/// Where in its messages a body is.
#[derive(Debug)]
enum State {
    /// Before one, or before the end.
    Between,
    /// Some of it is left.
    Within(Pieces),
    /// Behind the trailers.
    Ended,
}

impl<S> Answer<S> {
    pub(super) fn new(messages: S) -> Self {
        Self { messages, state: State::Between }
    }
}

impl<S: Stream<Item = Result<Pieces, Status>> + Unpin> Body for Answer<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Within(pieces) => match pieces.next() {
                    Some(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                    None => self.state = State::Between,
                },
                State::Between => match ready!(self.messages.poll_next_unpin(context)) {
                    Some(Ok(pieces)) => self.state = State::Within(pieces),
                    ended => {
                        self.state = State::Ended;
                        let status = ended.and_then(Result::err);
                        let status = status.unwrap_or_else(|| Status::ok(""));
                        return Poll::Ready(Some(trailers(&status)));
                    }
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::stream;
    use http_body_util::BodyExt as _;

    use super::super::message::Response;
    use super::super::{fixtures, wire};
    use super::*;
    use crate::envoy::Kind;

    /// A response of more than one piece.
    fn message() -> Pieces {
        let resources = fixtures::resources("a/1/1 b/1/1").into_iter().map(Into::into);
        let removed = vec!["gone".to_owned(); 10_000];
        let (nonce, version) = ("1".into(), "1".into());
        let resources = resources.collect();
        let response = Response { kind: Kind::Cluster, nonce, version, resources, removed };
        wire::delta(response, "c").unwrap()
    }

    async fn trailers_of<S>(answer: &mut Answer<S>) -> HeaderMap
    where
        S: Stream<Item = Result<Pieces, Status>> + Unpin,
    {
        answer.frame().await.unwrap().unwrap().into_trailers().unwrap()
    }

    #[tokio::test]
    async fn the_next_message_is_asked_for_when_the_last_piece_was_taken() {
        let asked = Cell::new(0);
        let messages = stream::repeat_with(|| {
            asked.set(asked.get() + 1);
            Ok(message())
        });
        let mut answer = Answer::new(messages);
        let pieces = message().count();
        assert!(pieces > 1);
        for expected in 1..5 {
            for _ in 0..pieces {
                assert!(answer.frame().await.unwrap().unwrap().is_data());
                assert_eq!(asked.get(), expected);
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_ends_well() {
        let mut answer = Answer::new(stream::empty());
        assert!(!answer.is_end_stream());
        assert_eq!(trailers_of(&mut answer).await["grpc-status"], "0");
        assert!(answer.is_end_stream());
        assert!(answer.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_error_comes_behind_all_of_the_message_before_it_and_ends_the_stream() {
        let messages = [Ok(message()), Err(Status::unavailable("leaving")), Ok(message())];
        let mut answer = Answer::new(stream::iter(messages));
        for piece in message() {
            assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
        }
        let trailers = trailers_of(&mut answer).await;
        assert_eq!(
            (&trailers["grpc-status"], &trailers["grpc-message"]),
            (&"14".parse().unwrap(), &"leaving".parse().unwrap())
        );
        assert!(answer.frame().await.is_none());
    }
}

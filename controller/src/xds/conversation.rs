//! One stream's I/O: requests and snapshots in, responses out.

use std::future::ready;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::message::Response;
use super::observer::Connection;
use super::snapshot::Snapshot;
use super::snapshots::Snapshots;
use super::stream::{Heard, Stream};
use super::wire::Incoming;

/// A client's stream while it lasts. It is only worked on when the client can take a response: one
/// that reads slowly costs nothing, and gets the newest when it reads on.
pub(super) struct Conversation<Q> {
    connection: Connection,
    requests: Streaming<Q>,
    snapshots: watch::Receiver<Option<Arc<Snapshots>>>,
    shutdown: CancellationToken,
    stream: Stream,
    /// As the client says; none before its first request.
    node_cluster: Option<String>,
    /// The newest of its node cluster.
    newest: Option<Arc<Snapshot>>,
    /// There may be something to say.
    stirred: bool,
}

impl<Q: Incoming> Conversation<Q> {
    pub(super) fn new(
        connection: Connection,
        requests: Streaming<Q>,
        snapshots: watch::Receiver<Option<Arc<Snapshots>>>,
        shutdown: CancellationToken,
        nonce_prefix: String,
    ) -> Self {
        let stream = Stream::new(nonce_prefix);
        Self {
            connection,
            requests,
            snapshots,
            shutdown,
            stream,
            node_cluster: None,
            newest: None,
            stirred: false,
        }
    }

    /// The next response, when there is one. `None`: the client has left. Whatever has arrived
    /// already is heard first, so that only the newest is answered.
    pub(super) async fn next(&mut self) -> Option<Result<Response, Status>> {
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Some(Err(leaving())),
                request = self.requests.message() => match request {
                    Ok(Some(request)) => {
                        if let Err(status) = self.hear(request) {
                            return Some(Err(status));
                        }
                    }
                    Ok(None) => return None,
                    Err(status) => return Some(Err(status)),
                },
                changed = self.snapshots.changed() => match changed {
                    Ok(()) => self.look(),
                    Err(_) => return Some(Err(leaving())),
                },
                () = ready(()), if self.stirred => {
                    if let Some(response) = self.say() {
                        return Some(Ok(response));
                    }
                }
            }
        }
    }

    fn hear(&mut self, request: Q) -> Result<(), Status> {
        let (node, request) = request.read();
        if self.node_cluster.is_none() {
            let node = node.unwrap_or_default();
            self.connection.introduce(&node.id, &node.cluster);
            self.node_cluster = Some(node.cluster);
            self.look();
        }
        let heard = self.stream.request(request);
        match heard.map_err(|refused| Status::invalid_argument(refused.to_string()))? {
            Heard::Rejected(kind, rejection) => self.connection.rejected(kind, &rejection),
            Heard::UnknownType | Heard::Nothing => {}
        }
        self.stirred = true;
        Ok(())
    }

    /// Takes the newest snapshot. One of other node clusters alone makes no work.
    fn look(&mut self) {
        let snapshots = self.snapshots.borrow_and_update();
        let (Some(cluster), Some(snapshots)) = (&self.node_cluster, &*snapshots) else { return };
        let newest = snapshots.for_cluster(cluster);
        if !self.newest.as_ref().is_some_and(|last| Arc::ptr_eq(last, newest)) {
            self.newest = Some(newest.clone());
            self.stirred = true;
        }
    }

    fn say(&mut self) -> Option<Response> {
        let response = self.newest.as_ref().and_then(|newest| self.stream.next(newest));
        match &response {
            Some(response) => self.connection.sent(response.kind),
            None => self.stirred = false,
        }
        self.connection.follows(self.stream.status());
        response
    }
}

fn leaving() -> Status {
    Status::unavailable("this controller is shutting down")
}

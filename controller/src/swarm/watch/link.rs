//! Holds the watch open: after each end it is tried again, ever later, up to some seconds.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::line::Line;
use super::{Told, WatchCause, WatchError};
use crate::swarm::{Address, pace};

/// A watch that lived so long ended for a reason that is over.
const HEALTHY: Duration = Duration::from_secs(10);

/// A watch that is opened again whenever it ends; where no socket is named, one that never tells.
pub(in crate::swarm) struct Link {
    socket: Option<PathBuf>,
    docker: Address,
    timeout: Duration,
    stage: Stage,
    /// Ends in a row.
    failures: u32,
}

enum Stage {
    /// Until it is tried again.
    Waiting(Pin<Box<tokio::time::Sleep>>),
    /// Until the first message.
    Opening(BoxFuture<'static, Result<Line, WatchCause>>),
    /// Until it ends; since when.
    Open(Box<Line>, Instant),
}

impl Link {
    /// A watch by this socket of a manager of the Swarm that `docker` reads. `timeout` is how long
    /// it may take to begin.
    pub(in crate::swarm) fn new(
        socket: Option<PathBuf>,
        docker: Address,
        timeout: Duration,
    ) -> Self {
        let stage = Stage::Waiting(Box::pin(tokio::time::sleep(Duration::ZERO)));
        Self { socket, docker, timeout, stage, failures: 0 }
    }

    /// What comes next. It may be asked again after it was not waited for: nothing is lost.
    pub(in crate::swarm) async fn next(&mut self) -> Told {
        let Some(socket) = self.socket.clone() else { return std::future::pending().await };
        loop {
            match &mut self.stage {
                Stage::Waiting(pause) => {
                    pause.await;
                    let (docker, timeout) = (self.docker.clone(), self.timeout);
                    let socket = socket.clone();
                    let opening = async move { Line::open(&socket, &docker, timeout).await };
                    self.stage = Stage::Opening(opening.boxed());
                }
                Stage::Opening(opening) => match opening.await {
                    Ok(line) => {
                        self.stage = Stage::Open(Box::new(line), Instant::now());
                        return Told::Begun;
                    }
                    Err(cause) => return Told::Ended(self.end(cause)),
                },
                Stage::Open(line, since) => match line.next().await {
                    Ok(written) => return Told::Written(written),
                    Err(cause) => {
                        if since.elapsed() >= HEALTHY {
                            self.failures = 0;
                        }
                        return Told::Ended(self.end(cause));
                    }
                },
            }
        }
    }

    /// Ends the watch, for what it told or did not tell.
    pub(in crate::swarm) fn end(&mut self, cause: WatchCause) -> WatchError {
        self.failures = self.failures.saturating_add(1);
        let pause = pace::retry(pace::Failed::Listening, self.failures, pace::jitter());
        self.stage = Stage::Waiting(Box::pin(tokio::time::sleep(pause)));
        WatchError { socket: self.socket.clone().unwrap_or_default(), cause }
    }
}

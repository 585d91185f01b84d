//! Requests that go on while something happens, none of which may fail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::client::{Answer, Client, Jar};
use crate::program::eventually;

/// How long one request may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Requests without end, as several clients, each one after the other.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts it, of four clients; call it where a runtime is.
    pub fn start(client: &Client, host: &'static str) -> Self {
        let ask = async |client: &Client| client.get(host, "/ping").await;
        let answers = |client: Client| {
            stream::unfold(client, move |client| async move { Some((ask(&client).await, client)) })
        };
        Self::of((0..4).map(|_| answers(client.clone()).boxed()))
    }

    /// Starts it, with these clients: each asks when its next answer is wanted.
    pub fn of(
        clients: impl IntoIterator<Item = BoxStream<'static, anyhow::Result<Answer>>>,
    ) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = clients
            .into_iter()
            .map(|mut client| {
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut failed = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        match timeout(ANSWER, client.next()).await {
                            Ok(Some(Ok(answer))) if answer.status == 200 => {}
                            other => failed.push(format!("{other:?}")),
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                        sleep(Duration::from_millis(2)).await;
                    }
                    failed
                })
            })
            .collect();
        Self { stop, done, clients }
    }

    /// Waits until so many more requests are answered.
    pub async fn go_on(&self, requests: u64) -> anyhow::Result<()> {
        let goal = self.done.load(Ordering::Relaxed) + requests;
        let enough = || (self.done.load(Ordering::Relaxed) >= goal).then_some(());
        eventually("the load goes on", async || Ok(enough())).await
    }

    /// Ends it, and fails if any request failed.
    pub async fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        for client in self.clients {
            failed.extend(client.await?);
        }
        let all = self.done.load(Ordering::Relaxed);
        ensure!(failed.is_empty(), "{} of {all} failed: {:?}", failed.len(), failed.first());
        Ok(())
    }
}

/// Answers of a host without end, to one session, by these proxies in turn. The application must set
/// no cookie there: an answer after the first that sets one has moved the session, and is an error.
pub fn session(
    proxies: Vec<Client>,
    host: &'static str,
    path: &'static str,
) -> BoxStream<'static, anyhow::Result<Answer>> {
    let ask = async |proxy: &Client, jar: &mut Jar| {
        let begins = jar.line().is_empty();
        let answer = proxy.get_as(jar, host, path).await?;
        let cookies = answer.set_cookies().len();
        ensure!(cookies == usize::from(begins), "{cookies} new cookies in {answer:?}");
        Ok(answer)
    };
    let start = (VecDeque::from(proxies), Jar::default());
    stream::unfold(start, move |(mut proxies, mut jar)| async move {
        let proxy = proxies.pop_front()?;
        let answer = ask(&proxy, &mut jar).await;
        proxies.push_back(proxy);
        Some((answer, (proxies, jar)))
    })
    .boxed()
}

//! Clients with sessions, which ask without end while something changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;
use waggle_tests::client::{Client, Jar};
use waggle_tests::program::eventually;

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(20);

/// Clients, each with its own cookies.
pub(crate) struct Sessions {
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: JoinSet<Session>,
}

/// What one client has met.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// The tasks that answered, one after the other: one, if it never moved.
    pub(crate) tasks: Vec<String>,
    /// What failed.
    pub(crate) failed: Vec<String>,
}

impl Sessions {
    /// So many clients begin to ask `/ping` of a host; returns when each has its session.
    pub(crate) async fn begin(client: &Client, host: &'static str, count: u64) -> Result<Self> {
        let (ended, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut clients = JoinSet::new();
        for _ in 0..count {
            let (client, ended, answered) =
                (client.clone(), Arc::clone(&ended), Arc::clone(&answered));
            clients.spawn(async move {
                let (mut jar, mut session) = (Jar::default(), Session::default());
                while !ended.load(Ordering::Relaxed) {
                    session.ask(&client, &mut jar, host).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
                session
            });
        }
        let sessions = Self { ended, answered, clients };
        sessions.go_on(5 * count).await?;
        Ok(sessions)
    }

    /// Waits for so many more answers.
    pub(crate) async fn go_on(&self, answers: u64) -> Result<()> {
        let goal = self.answered.load(Ordering::Relaxed) + answers;
        let reached = || (self.answered.load(Ordering::Relaxed) >= goal).then_some(());
        eventually("the clients go on", async || Ok(reached())).await
    }

    /// Ends them; tells how many answers there were, and what each client has met.
    pub(crate) async fn end(self) -> (u64, Vec<Session>) {
        self.ended.store(true, Ordering::Relaxed);
        let sessions = self.clients.join_all().await;
        (self.answered.load(Ordering::Relaxed), sessions)
    }
}

impl Session {
    async fn ask(&mut self, client: &Client, jar: &mut Jar, host: &str) {
        let answer = client.get_as(jar, host, "/ping").await;
        match answer.and_then(|answer| answer.instance()) {
            Ok(task) if self.tasks.last() == Some(&task) => {}
            Ok(task) => self.tasks.push(task),
            Err(error) => self.failed.push(format!("{error:#}")),
        }
    }
}

//! A Swarm source within the test, and what it tells.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use waggle_controller::swarm::{
    self, Health, Observed, Picture, Secrets, Settings, TaskState, Via,
};

/// For whatever must come at some time.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long a real Swarm may take to do what it was told, such as to update a service.
const AGREEMENT: Duration = Duration::from_mins(1);

/// How an engine is read: each call within a second, and by no watch.
pub fn settings(url: &str, secrets: Secrets) -> Result<Settings> {
    Ok(Settings { docker: url.parse()?, timeout: Duration::from_secs(1), secrets, watch: None })
}

/// A running source.
pub struct Source {
    /// The pictures that it tells.
    pub observed: watch::Receiver<Option<Observed>>,
    /// How it goes.
    pub health: watch::Receiver<Health>,
    _shutdown: DropGuard,
}

impl Source {
    /// Reads everything of an engine, by polling.
    pub fn of(url: &str) -> Result<Self> {
        Ok(Self::start(settings(url, Secrets::Read)?, None))
    }

    /// Reads everything of an engine, and watches by a manager's control socket.
    pub fn watching(url: &str, socket: &Path) -> Result<Self> {
        let settings = settings(url, Secrets::Read)?;
        Ok(Self::start(Settings { watch: Some(socket.to_owned()), ..settings }, None))
    }

    /// Starts a source with a picture that an earlier one kept.
    pub fn start(settings: Settings, kept: Option<Picture>) -> Self {
        let (observed_tx, observed) = watch::channel(None);
        let (health_tx, health) = watch::channel(Health::default());
        let shutdown = CancellationToken::new();
        tokio::spawn(swarm::run(settings, kept, observed_tx, health_tx, shutdown.clone()));
        Self { observed, health, _shutdown: shutdown.drop_guard() }
    }

    /// Waits until the picture is as claimed, and gives it.
    pub async fn until(
        &mut self,
        claim: &str,
        holds: impl Fn(&Picture) -> bool,
    ) -> Result<Picture> {
        let found = tokio::time::timeout(
            DEADLINE,
            self.observed.wait_for(|observed| {
                observed.as_ref().is_some_and(|observed| holds(&observed.picture))
            }),
        );
        if let Ok(Ok(observed)) = found.await {
            return Ok(observed.as_ref().map(|it| it.picture.as_ref().clone()).unwrap_or_default());
        }
        Err(anyhow!("never: {claim}\nlast: {:#?}\n{:#?}", self.observed, self.health))
    }

    /// Waits until its health is as claimed, and gives it.
    pub async fn until_health(
        &mut self,
        claim: &str,
        holds: impl Fn(&Health) -> bool,
    ) -> Result<Health> {
        let found = tokio::time::timeout(DEADLINE, self.health.wait_for(holds));
        if let Ok(Ok(health)) = found.await {
            return Ok(health.clone());
        }
        Err(anyhow!("never: {claim}\nlast: {:#?}", self.health))
    }

    /// Waits until changes come in this way.
    pub async fn until_via(&mut self, via: Via) -> Result<Health> {
        self.until_health(&format!("{via:?}"), |health| health.via == via).await
    }

    /// Waits until so many further cycles were complete.
    pub async fn cycles(&mut self, more: u64) -> Result<()> {
        let past = self.health.borrow().complete_cycles + more;
        self.until_health("more complete cycles", |it| it.complete_cycles >= past).await.map(drop)
    }

    /// Whether a picture came that was not looked at yet.
    pub fn told_anew(&mut self) -> bool {
        self.observed.has_changed().unwrap_or(false)
    }

    /// Takes all that came for looked at.
    pub fn forget_news(&mut self) {
        self.observed.mark_unchanged();
    }
}

/// Waits until both show the same, byte for byte, and that as claimed.
pub async fn agree(
    polled: &mut Source,
    pushed: &Source,
    claim: &str,
    holds: impl Fn(&Picture) -> bool,
) -> Result<()> {
    let began = Instant::now();
    let shown = |source: &Source| source.observed.borrow().clone().map(|it| it.picture);
    loop {
        let (by_poll, by_watch) = (shown(polled), shown(pushed));
        let same =
            serde_json::to_vec(&by_poll.as_deref())? == serde_json::to_vec(&by_watch.as_deref())?;
        if same && by_poll.as_deref().is_some_and(&holds) {
            return Ok(());
        }
        let late = began.elapsed() > AGREEMENT;
        ensure!(!late, "{claim}\npolled: {by_poll:#?}\npushed: {by_watch:#?}");
        polled.cycles(1).await?;
    }
}

/// How many tasks of a picture run.
pub fn running(picture: &Picture) -> usize {
    picture.tasks.values().filter(|task| task.state == TaskState::Running).count()
}

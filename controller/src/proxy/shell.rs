//! The care of one proxy service, as it runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::door::{Door, DoorError};
use super::keeper::{Keeper, Verdict};
use super::plan::{Update, Wanted};
use super::{Care, Inlets, Needs, Settings, Status, Statuses};
use crate::labels::NodeCluster;
use crate::swarm::{Freshness, Picture, ServiceName};

/// An update is planned anew so often when somebody else changed the service in between.
const CONFLICTS: u32 = 5;
/// Between two tries, times their number.
const PAUSE: Duration = Duration::from_millis(100);

/// The care of one proxy service.
pub(super) struct Shell {
    name: ServiceName,
    status: Status,
    inlets: Inlets,
    statuses: watch::Sender<Statuses>,
    keeper: Keeper,
    door: Door,
}

impl Shell {
    pub(super) fn new(
        name: ServiceName,
        care: Care,
        clusters: BTreeSet<NodeCluster>,
        settings: &Settings,
        inlets: Inlets,
        statuses: watch::Sender<Statuses>,
    ) -> Self {
        Self {
            keeper: Keeper::new(settings.grace),
            door: Door::new(settings.docker.clone(), settings.timeout, name.clone()),
            status: Status::new(clusters, care),
            name,
            inlets,
            statuses,
        }
    }

    /// Looks after the service until the pictures end.
    pub(super) async fn run(mut self) {
        loop {
            self.see();
            self.publish();
            if self.keeper.due().is_some_and(|due| due <= now()) {
                self.act().await;
                continue;
            }
            tokio::select! {
                changed = self.inlets.pictures.changed() => if changed.is_err() { return },
                changed = self.inlets.needs.changed() => if changed.is_err() { return },
                () = sleep_until(self.keeper.due()) => {}
            }
        }
    }

    /// Takes the last picture and the last needs in.
    fn see(&mut self) {
        let needs = self.needs();
        let Some(picture) = self.picture() else { return };
        let wanted = Wanted::new(needs, &picture);
        let service = picture.services.values().find(|service| service.name == self.name);
        self.status.show(service, &wanted, &picture);
        match service {
            Some(service) if self.status.care == Care::Controller => {
                self.keeper.see(service.version, wanted, now());
            }
            Some(_) => self.tell(None),
            None => {
                self.keeper.miss();
                self.tell(Some(format!(
                    "there is no service of the name {}; create it, or correct the name",
                    self.name
                )));
            }
        }
    }

    /// The last picture, if it was read in this run.
    fn picture(&mut self) -> Option<Arc<Picture>> {
        let observed = self.inlets.pictures.borrow_and_update();
        let live = observed.as_ref().filter(|observed| observed.freshness == Freshness::Live);
        live.map(|observed| Arc::clone(&observed.picture))
    }

    /// What the clusters of the service need, all together.
    fn needs(&mut self) -> Needs {
        let by_cluster = self.inlets.needs.borrow_and_update();
        let mut all = Needs::default();
        for needs in self.status.clusters.iter().filter_map(|cluster| by_cluster.get(cluster)) {
            all.networks.extend(needs.networks.iter().cloned());
            all.secrets.extend(needs.secrets.iter().cloned());
        }
        all
    }

    /// Reads the service, and updates it if it is to be.
    async fn act(&mut self) {
        match self.attempt().await {
            Ok(trouble) => self.tell(trouble),
            Err(error) => {
                self.status.failures += 1;
                self.keeper.failed(now());
                self.tell(Some(error));
            }
        }
    }

    async fn attempt(&mut self) -> Result<Option<String>, String> {
        let mut tries = 1;
        loop {
            let revision = self.door.read().await.map_err(|error| error.to_string())?;
            let verdict = self.keeper.look(&revision, now());
            let Verdict { update, trouble } =
                verdict.map_err(|error| format!("its specification is odd: {error}"))?;
            let Some(update) = update else { return Ok(trouble) };
            let items = update.items();
            let Update { spec, attached, detached } = update;
            match self.door.write(&revision, spec).await {
                Ok(()) => {
                    self.keeper.made(items);
                    self.status.updates += 1;
                    self.status.last_update = Some(now());
                    tracing::info!(
                        service = %self.name,
                        attached = %words(&attached),
                        detached = %words(&detached),
                        "the proxy service was updated; Swarm replaces its tasks"
                    );
                    return Ok(trouble);
                }
                Err(error) if error.is_conflict() && tries < CONFLICTS => {
                    tokio::time::sleep(PAUSE * tries).await;
                    tries += 1;
                }
                Err(error) => return Err(told(&error, &attached)),
            }
        }
    }

    /// Notes what is wrong, and logs it once.
    fn tell(&mut self, failing: Option<String>) {
        if self.status.failing != failing {
            if let Some(failing) = &failing {
                tracing::warn!(service = %self.name, "the proxy service: {failing}");
            } else {
                tracing::info!(service = %self.name, "the proxy service is well again");
            }
        }
        self.status.failing = failing;
    }

    fn publish(&self) {
        self.statuses.send_if_modified(|statuses| {
            let new = statuses.get(&self.name) != Some(&self.status);
            if new {
                statuses.insert(self.name.clone(), self.status.clone());
            }
            new
        });
    }
}

/// A failed update, with what it was for.
fn told(error: &DoorError, attached: &Needs) -> String {
    format!("{error}; it was to attach {}, and is tried again", words(attached))
}

fn words(needs: &Needs) -> String {
    let words: Vec<_> = needs.items().map(|item| item.to_string()).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Sleeps until a moment; for ever without one.
async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

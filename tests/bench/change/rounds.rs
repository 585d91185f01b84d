//! A service that is scaled up and down, and everything around it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;
use waggle_tests::controller::Controller;
use waggle_tests::crowd::NETWORK;
use waggle_tests::envoy::Envoy;
use waggle_tests::private_swarm::{Image, PrivateSwarm};
use waggle_tests::program::free_address;
use waggle_tests::times::{Times, ms};

use super::record::{Record, Sample};
use super::store::Store;
use super::{Direction, Source};
use crate::members::Members;

/// The service that changes, and its pool in Envoy.
const NAME: &str = "change";

/// Its tasks at rest: never none, as the last one is kept on purpose.
const BASE: usize = 2;

/// How many come and go in a round.
const STEP: usize = 10;

/// How long all changes of half a round may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at what was recorded.
const PAUSE: Duration = Duration::from_millis(20);

/// Before each half of a round. The engine still stops what went, or starts what came, when the next
/// half begins; and halves are not to fall into step with the controller's reads.
const REST: (Duration, Duration) = (Duration::from_millis(700), Duration::from_millis(37));

/// What came of one source.
#[derive(Debug)]
pub(super) struct Measured {
    /// All changes.
    pub(super) samples: Vec<Sample>,
    /// Between two looks at Envoy.
    pub(super) gaps: Vec<Duration>,
}

/// A Swarm that is ready to be measured.
pub(super) struct Rounds<'a> {
    swarm: &'a PrivateSwarm,
    runtime: Runtime,
    service: String,
    authority: String,
}

impl<'a> Rounds<'a> {
    /// Creates the service. Threads start here, in the sandbox of the Swarm.
    pub(super) fn prepare(swarm: &'a PrivateSwarm) -> Result<Self> {
        let create = "service create --detach --no-resolve-image --label com.docker.lb.port=8080 \
                      --label com.docker.lb.hosts=change.local";
        let create = format!(
            "{create} --name {NAME} --network {NETWORK} --replicas {BASE} {}",
            Image::demo().name()
        );
        let service = swarm.docker(create.split_whitespace())?;
        swarm.wait_running(NAME, BASE)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { swarm, runtime, service, authority: swarm.docker(["swarm", "ca"])? })
    }

    /// So many changes, through a controller and an Envoy of their own.
    pub(super) fn play(&self, source: Source, changes: usize) -> Result<Measured> {
        let docker = format!("unix://{}", self.swarm.socket().display());
        let watch = self.swarm.control_socket().display().to_string();
        let more: &[&str] = match source {
            Source::Polled => &[],
            Source::Pushed => &["--watch-socket", &watch],
        };
        let mut controller = Controller::start(&docker, free_address()?.port(), more)?;
        let by_source = |status: &serde_json::Value| status["swarm"]["changes"] == source.name();
        self.runtime.block_on(controller.wait_status(source.name(), by_source))?;
        let mut envoy = Envoy::start(controller.xds(), "bench", 1)?;
        envoy.wait_ready()?;
        let recording = self.record(Members::of(envoy.admin(), NAME))?;
        recording.wait("its members", |record| record.members() == BASE)?;
        recording.record().begin();
        for round in 0..changes.div_ceil(2 * STEP) {
            self.half(&recording, round, Direction::In)?;
            self.half(&recording, round, Direction::Out)?;
            recording.tell(source, changes);
        }
        let record = recording.record();
        Ok(Measured { samples: record.samples(), gaps: record.gaps().to_vec() })
    }

    /// Scales, and waits until Envoy has all of it.
    fn half(&self, recording: &Recording, round: usize, direction: Direction) -> Result<()> {
        thread::sleep(REST.0 + REST.1 * u32::try_from(round % 14)?);
        let expected = recording.record().samples().len() + STEP;
        let tasks = match direction {
            Direction::In => BASE + STEP,
            Direction::Out => BASE,
        };
        self.swarm.docker(["service", "scale", "--detach", &format!("{NAME}={tasks}")])?;
        let what = format!("all changes {} of round {round}", direction.name());
        recording
            .wait(&what, |record| record.members() == tasks && record.samples().len() >= expected)
    }

    /// Records what the store and Envoy tell.
    fn record(&self, members: Members) -> Result<Recording> {
        let socket = self.swarm.control_socket();
        let watching = Store::watch(socket, &self.authority, &self.service);
        let mut store = self.runtime.block_on(watching)?;
        let record = Arc::new(Mutex::new(Record::default()));
        let (written, looked) = (Arc::clone(&record), Arc::clone(&record));
        let recording = self.runtime.spawn(async move {
            let writes = async {
                loop {
                    let writes = store.next().await?;
                    lock(&written).write(writes);
                }
            };
            let looks = async {
                loop {
                    let look = members.look().await?;
                    lock(&looked).look(look);
                }
            };
            tokio::select! { ended = writes => ended, ended = looks => ended }
        });
        Ok(Recording { record, recording: AbortOnDropHandle::new(recording) })
    }
}

/// A record that grows by itself.
struct Recording {
    record: Arc<Mutex<Record>>,
    recording: AbortOnDropHandle<Result<()>>,
}

impl Recording {
    fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    /// Waits until the record shows something.
    fn wait(&self, what: &str, shows: impl Fn(&Record) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !shows(&self.record()) {
            ensure!(!self.recording.is_finished(), "the store or Envoy tells no more");
            if Instant::now() > deadline {
                bail!("not within {PATIENCE:?}: {what}; recorded: {:#?}", self.record());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// How it goes.
    fn tell(&self, source: Source, changes: usize) {
        let samples = self.record().samples();
        let so_far = Direction::ALL.map(|direction| {
            let own = samples.iter().filter(|sample| sample.direction == direction);
            let times = Times::new(own.map(|sample| sample.took).collect());
            format!("{} {} to {}", direction.name(), ms(times.at(50)), ms(times.at(100)))
        });
        let (done, source) = (samples.len(), source.name());
        eprintln!("{source}: {done} of {changes} changes; {}", so_far.join(", "));
    }
}

/// Nothing that is written to a record panics halfway.
fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

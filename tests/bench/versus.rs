//! Waggle beside Traefik: the same Swarm, application, load and updates for each, in turn.
//!
//! ```text
//! for each run, each contender:   it comes ─▶ a service is created ─▶ two are updated under load ─▶ it goes
//! beside a crowd, each contender: it comes ─▶ nothing happens: what does dockerd use? ─▶ it goes
//! ```

mod contender;
mod figure;
mod idle;
mod newcomer;
mod progress;
mod settings;
mod table;
mod update;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use waggle_tests::crowd;

use contender::Contender;
use idle::Idle;
use newcomer::Newcomer;
use progress::Progress;
pub(crate) use settings::Settings;
use settings::{Part, START};
use update::Update;
use world::{Programs, World};

/// What one run of one contender gave.
#[derive(Debug)]
struct Turn {
    newcomer: Newcomer,
    /// In the order of [`update::SERVICES`].
    updates: Vec<Update>,
}

impl fmt::Display for Turn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "  {}", self.newcomer)?;
        let updates = update::SERVICES.iter().zip(&self.updates);
        updates.into_iter().try_for_each(|(name, update)| write!(out, "\n  {name}: {update}"))
    }
}

/// Measures, prints tables and draws plots.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let programs = Programs::fetch()?;
    let mut progress = Progress::new(settings.expected());
    if settings.only != Some(Part::Idle) {
        let (of, programs) = (settings.clone(), programs.clone());
        let (turns, after) = in_a_sandbox(move || updates(&of, &programs, progress))?;
        progress = after;
        print!("{}", table::updates(&turns));
        print!("\n{}", table::newcomers(&turns));
        figure::draw(&settings.plots, &turns)?;
    }
    if settings.only != Some(Part::Updates) {
        let (crowd, idle) = in_a_sandbox(move || idles(&settings, &programs, progress))?;
        print!("\n{}", table::idle(crowd, &idle));
    }
    Ok(())
}

/// A sandbox is for ever: each has a thread of its own.
fn in_a_sandbox<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    thread::spawn(act).join().map_err(|_| anyhow!("the measurement has panicked"))?
}

type Turns = BTreeMap<Contender, Vec<Turn>>;

fn updates(
    settings: &Settings,
    programs: &Programs,
    mut progress: Progress,
) -> Result<(Turns, Progress)> {
    progress.begin("a Swarm for updates", START);
    let world = World::start(programs, "apps")?;
    world.docker("network create --driver overlay apps")?;
    update::prepare(&world)?;
    let mut turns = Turns::new();
    for run in 0..settings.runs {
        for contender in Contender::ALL {
            progress.begin(&format!("run {}, {contender}: updates", run + 1), settings.turn(run));
            let turn = world.with(contender, &update::SERVICES, |proxy| {
                thread::sleep(settings.pause(run));
                let newcomer = newcomer::measure(&world, proxy)?;
                let updates =
                    update::measure(&world, proxy, Duration::from_secs(settings.seconds))?;
                world.docker(&format!("service rm {}", newcomer::NAME))?;
                Ok(Turn { newcomer, updates })
            });
            let turn = turn.with_context(|| format!("run {}, {contender}", run + 1))?;
            eprintln!("{turn}");
            turns.entry(contender).or_default().push(turn);
        }
    }
    Ok((turns, progress))
}

/// By contender; without one, what the engine uses by itself.
type Idles = BTreeMap<Option<Contender>, Vec<Idle>>;

fn idles(
    settings: &Settings,
    programs: &Programs,
    mut progress: Progress,
) -> Result<(crowd::Crowd, Idles)> {
    progress.begin("a Swarm with a crowd", START + settings.crowd());
    let world = World::start(programs, crowd::NETWORK)?;
    let crowd = crowd::raise_labelled(&world.swarm, settings.services, contender::labels)?;
    let window = Duration::from_secs(settings.idle);
    let mut idles = Idles::new();
    // Nobody reads; then each in turn. Their runs follow each other, as each has to come to rest first.
    for contender in [None].into_iter().chain(Contender::ALL.map(Some)) {
        let name = contender.map_or_else(|| "nobody".to_owned(), |it| it.to_string());
        progress.begin(&format!("{name}: idle"), settings.rest());
        let measure = || {
            thread::sleep(idle::CALM);
            (0..settings.runs).map(|_| idle::measure(&world, window)).collect::<Result<Vec<_>>>()
        };
        let measured = match contender {
            Some(contender) => world.with(contender, &["crowd-1"], |_| measure()),
            None => measure(),
        };
        let measured = measured.with_context(|| name)?;
        measured.iter().for_each(|idle| eprintln!("  {idle}"));
        idles.insert(contender, measured);
    }
    Ok((crowd, idles))
}

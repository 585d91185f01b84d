//! What the filter costs: one Envoy with a listener for each way to do the job, one worker on a core
//! of its own, asked in turn.

mod case;
mod cpu;
mod listeners;
mod load;
mod table;

use anyhow::{Context, Result};
use tokio::runtime;
use waggle_tests::envoy::{Envoy, binary};
use waggle_tests::program::free_address;
use waggle_tests::usage;

use case::Case;
use listeners::Listeners;
use load::Client;

/// How it is measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; each asks every listener once, and the medians over them count.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Requests to a listener in a round.
    #[arg(long, default_value_t = 40_000)]
    requests: u32,
    /// Only these cases, by a part of their names.
    #[arg(long)]
    only: Vec<String>,
    /// What single calls of Envoy cost, instead: each twenty times in a request.
    #[arg(long)]
    calls: bool,
}

/// The calls that `filter/examples/probe.rs` knows.
const CALLS: [&str; 9] = [
    "nothing",
    "clock",
    "route name",
    "joined cookies",
    "header",
    "missing header",
    "all headers",
    "set header",
    "remove missing header",
];

/// One round of one case.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// CPU time of the Envoy process, in microseconds a request.
    cpu: f64,
    /// Requests in a second.
    throughput: f64,
}

/// Measures and prints the table.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let all: Vec<Case> = if arguments.calls {
        [Case::Plain].into_iter().chain(CALLS.map(Case::Probe)).collect()
    } else {
        Case::ALL.into()
    };
    let is_wanted = |case: &Case| {
        let only = &arguments.only;
        only.is_empty() || *case == Case::Plain || only.iter().any(|it| case.name().contains(it))
    };
    let cases: Vec<Case> = all.into_iter().filter(is_wanted).collect();
    let bench = Bench::start(&cases)?;
    let mut samples = vec![Vec::new(); cases.len()];
    // The first round warms caches and compilers, and does not count.
    for round in 0..=arguments.rounds {
        for (number, (case, own)) in cases.iter().zip(&mut samples).enumerate() {
            eprint!("\rround {round} of {}: {:<45}", arguments.rounds, case.name());
            let sample = bench.ask(number, arguments.requests)?;
            if round > 0 {
                own.push(sample);
            }
        }
    }
    eprintln!();
    print!("{}", table::of(&cases, &samples));
    Ok(())
}

/// How much more memory Envoy may have in the end than after a warm-up, in percent.
const FLAT: f64 = 2.0;

/// Measures what Envoy's memory does over many requests with sessions.
pub(crate) fn memory(requests: u32) -> Result<()> {
    let cases = [Case::HeadersMany, Case::HeadersNew];
    let bench = Bench::start(&cases)?;
    let part = requests / 20;
    let ask = || (0..cases.len()).try_for_each(|case| bench.ask(case, part / 2).map(drop));
    (0..4).try_for_each(|_| ask())?;
    let resident = || anyhow::Ok(u32::try_from(usage::memory(bench.envoy.id())?.resident >> 10)?);
    let before = resident()?;
    for turn in 1..=20 {
        ask()?;
        eprint!("\r{} of {requests} requests", turn * part);
    }
    let after = resident()?;
    let growth = (f64::from(after) / f64::from(before) - 1.0) * 100.0;
    println!(
        "\nRSS of Envoy: {before} KiB after a warm-up, {after} KiB after {requests} requests more ({growth:+.1} %)"
    );
    anyhow::ensure!(growth <= FLAT, "it grew by more than {FLAT} %");
    Ok(())
}

/// An Envoy with a listener a case, and its clients.
struct Bench {
    runtime: runtime::Runtime,
    clients: Vec<Client>,
    envoy: Envoy,
}

impl Bench {
    fn start(cases: &[Case]) -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let backends = runtime.block_on(load::backends(4))?;
        let admin = free_address()?;
        let listeners = Listeners::new(cases, &backends, admin)?;
        let _installed = binary()?;
        // A child has the core of the thread that starts it.
        cpu::stay_on(1)?;
        let mut envoy = Envoy::start_encoded(&listeners.bootstrap, admin, "bench", 1)?;
        cpu::stay_on(0)?;
        envoy.wait_ready()?;
        let mut clients = Vec::new();
        for (case, address) in cases.iter().zip(&listeners.addresses) {
            let client = runtime.block_on(Client::meet(*case, *address));
            clients.push(client.with_context(|| case.name())?);
        }
        Ok(Self { runtime, clients, envoy })
    }

    /// So many requests to the listener of a case.
    fn ask(&self, case: usize, requests: u32) -> Result<Sample> {
        let client = self.clients.get(case).context("a case")?;
        let before = usage::running_time(self.envoy.id())?;
        let time = self.runtime.block_on(client.ask(requests))?;
        let used = usage::running_time(self.envoy.id())?.saturating_sub(before);
        let requests = f64::from(requests);
        Ok(Sample {
            cpu: used.as_secs_f64() * 1e6 / requests,
            throughput: requests / time.as_secs_f64(),
        })
    }
}

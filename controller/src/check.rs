//! `waggle check`: the labels of Compose files, judged by the code that routes.
//!
//! ```text
//! files ─▶ yaml ─▶ compose ─▶ deploy ─▶ routing::route ─▶ Finding ─▶ print
//!                variables       ▲
//!                      a running Swarm
//! ```
//!
//! It knows no label: what is wrong with one comes from [`crate::labels`] and [`crate::routing`],
//! and gets the line where it is written.

use std::io::{self, Read as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::labels::{Care, NodeCluster, ProxyOf, ProxyService, Severity};
use crate::routing::{self, ShareHosts, Turn};
use crate::swarm::{self, Picture};

mod compose;
mod deploy;
mod edits;
mod finding;
mod print;
mod stack;
mod variables;
mod yaml;

use compose::Source;
use deploy::Files;
use finding::{Finding, Place};
use stack::Stack;
use yaml::Unreadable;

/// How long a call to Docker may take.
const DOCKER_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The exit status where a file cannot be read, is no Compose file, or Docker does not answer.
const UNREADABLE: u8 = 2;

/// The settings of `waggle check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 without problems, 1 with errors or warnings, 2 if a file \
                        cannot be read or is no Compose file.")]
pub struct CheckArgs {
    /// Compose files, as `docker stack deploy` takes them; `-` is the standard input. All of them
    /// together make one Swarm
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,

    /// The name of the stack that all files make together
    /// [default: each file is a stack, named by its `name`, its file or its folder]
    #[arg(long, value_name = "NAME")]
    pub stack: Option<String>,

    /// How problems are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Look at the running Swarm too: its networks, secrets and hosts. Without URL (then behind the
    /// files) as `waggle serve` finds Docker
    #[arg(long, value_name = "URL")]
    pub docker: Option<Option<String>>,

    /// Networks that Envoy is on, by name or ID, as for `waggle serve`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub proxy_network: Vec<String>,

    /// The services that run the proxies, as for `waggle serve`: what they lack is told
    #[arg(long, value_name = "[CLUSTER=]NAME", value_delimiter = ',')]
    pub proxy_service: Vec<ProxyOf>,

    /// Whose services may join a host that another service holds, as for `waggle serve`
    #[arg(long, value_enum, default_value_t)]
    pub share_hosts: ShareHosts,
}

/// How problems are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; in colours on a terminal.
    #[default]
    Text,
    /// One array.
    Json,
    /// Annotations of GitHub's workflows.
    Github,
}

/// Checks the files and prints what is wrong with them.
pub async fn check(args: &CheckArgs) -> ExitCode {
    match run(args).await {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Problems) => ExitCode::FAILURE,
        Ok(Verdict::Unreadable) => ExitCode::from(UNREADABLE),
        Err(error) => {
            eprintln!("waggle: {error:#}");
            ExitCode::from(UNREADABLE)
        }
    }
}

/// What the files are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Clean,
    Problems,
    Unreadable,
}

async fn run(args: &CheckArgs) -> anyhow::Result<Verdict> {
    let running = match &args.docker {
        Some(url) => Some(read_swarm(url.as_deref()).await?),
        None => None,
    };
    let environment = |name: &str| std::env::var(name).ok();
    let stack = args.stack.as_deref();
    let mut findings = Vec::new();
    let mut stacks = Vec::new();
    for name in &args.files {
        let read = read(name).and_then(|source| compose::read(&source, stack, &environment));
        match read {
            Ok(stack) => stacks.push(stack),
            Err(unreadable) => findings.push(refused(name, unreadable)),
        }
    }
    let unreadable = !findings.is_empty();
    let files = if stack.is_some() { Files::OneStack } else { Files::StackEach };
    let settings = routing::Settings {
        share_hosts: args.share_hosts,
        proxy_networks: args.proxy_network.iter().cloned().collect(),
        proxies: args.proxy_service.iter().map(proxy).collect(),
        linger: Duration::ZERO,
    };
    let (routed, found) = examine(stacks, files, running, &settings);
    findings.extend(found);
    findings.sort();
    let summary = print::Summary { files: args.files.len(), services: routed };
    print::print(args.format, &findings, summary, &mut anstream::stdout().lock())
        .context("cannot print")?;
    let worst = findings.iter().map(|finding| finding.severity).min();
    Ok(match worst {
        _ if unreadable => Verdict::Unreadable,
        Some(Severity::Error | Severity::Warning) => Verdict::Problems,
        Some(Severity::Information) | None => Verdict::Clean,
    })
}

fn proxy(ProxyOf { cluster, service }: &ProxyOf) -> (NodeCluster, ProxyService) {
    (cluster.clone(), ProxyService { name: service.clone(), care: Care::Owner })
}

/// What is wrong with the stacks in this Swarm, and how many of their services carry labels.
fn examine(
    stacks: Vec<Stack>,
    files: Files,
    running: Option<Picture>,
    settings: &routing::Settings,
) -> (usize, Vec<Finding>) {
    // Nothing lingers: the time does not matter.
    let now = SystemTime::UNIX_EPOCH;
    // The services that run hold their hosts, and their last valid labels.
    let before = running
        .as_ref()
        .map(|picture| routing::route(picture, settings, &Turn::default(), now))
        .unwrap_or_default();
    let deployed = deploy::deploy(stacks, files, running);
    let turn = routing::route(&deployed.picture, settings, &before, now);
    let services = &turn.routing.services;
    let labelled = deployed.written.keys().filter(|id| services.contains_key(*id)).count();
    let relevant = |id: &Option<_>| id.as_ref().is_none_or(|id| services.contains_key(id));
    let own = deployed.findings.into_iter().filter(|(id, _)| relevant(id));
    let mut findings: Vec<_> = own.map(|(_, finding)| finding).collect();
    for (id, written) in &deployed.written {
        let problems = services.get(id).map(|outcome| outcome.problems.clone());
        findings.extend(problems.into_iter().flatten().map(|problem| {
            let place = written.place(problem.label.as_deref());
            Finding::from_problem(problem, place)
        }));
    }
    (labelled, findings)
}

fn read(name: &str) -> Result<Source, Unreadable> {
    let unreadable = |error: io::Error| Unreadable::whole(error.to_string());
    let mut bytes = Vec::new();
    let reader: Box<dyn io::Read> = match name {
        "-" => Box::new(io::stdin()),
        path => Box::new(std::fs::File::open(path).map_err(unreadable)?),
    };
    reader.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Unreadable::whole("larger than 1 MiB: no Compose file"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = line.filter(|byte| **byte == b'\n').count() + 1;
        Unreadable::at(line, "not UTF-8: no Compose file")
    })?;
    Ok(Source { name: name.into(), text })
}

fn refused(name: &str, Unreadable { line, message }: Unreadable) -> Finding {
    let place = Place { file: Rc::from(name), line };
    let fix = "give a file that `docker stack deploy` takes";
    Finding::new(place, "unreadable-file", Severity::Error, message, fix)
}

/// One complete read of the running Swarm, or why there is none.
async fn read_swarm(url: Option<&str>) -> anyhow::Result<Picture> {
    let from_environment = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let written = url.or(from_environment.as_deref()).unwrap_or("unix:///var/run/docker.sock");
    let docker = written.parse().with_context(|| format!("--docker {written}"))?;
    let (pictures, mut seen) = watch::channel(None);
    let (health, mut troubles) = watch::channel(swarm::Health::default());
    let done = CancellationToken::new();
    let _stop = done.clone().drop_guard();
    let settings = swarm::Settings {
        docker,
        timeout: DOCKER_TIMEOUT,
        secrets: swarm::Secrets::Read,
        watch: None,
    };
    tokio::spawn(swarm::run(settings, None, pictures, health, done));
    tokio::select! {
        observed = seen.wait_for(Option::is_some) => {
            let observed = observed.context("the reading of the Swarm ended")?;
            let picture = observed.as_ref().map(|observed| Picture::clone(&observed.picture));
            picture.context("no picture of the Swarm")
        }
        health = troubles.wait_for(|health| health.failing.is_some()) => {
            let health = health.context("the reading of the Swarm ended")?;
            anyhow::bail!("{}", health.failing.as_deref().unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests;

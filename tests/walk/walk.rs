//! What every step does: type a command, show its answer, ask many times, claim.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use waggle_tests::client::{Answer, Client};
use waggle_tests::controller::responses;
use waggle_tests::sandbox::run;

use super::command::{Docker, Line};
use super::page::{self, Page};
use super::world::World;

/// Clients that ask at the same time.
const CLIENTS: u32 = 8;

/// The walk, as far as it has come.
pub(crate) struct Walk {
    /// Where it goes.
    pub(crate) world: World,
    /// What it shows.
    pub(crate) page: Page,
    /// For the many requests that no one wants to see.
    pub(crate) client: Client,
    /// Where `curl` keeps its cookies.
    folder: TempDir,
}

/// What an answer is counted by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    /// The endpoint that Envoy chose: `x-upstream-addr`.
    Endpoint,
    /// The application's replica.
    Instance,
    /// The application's text: the name of its service.
    Service,
}

impl By {
    fn of(self, answer: &Answer) -> Result<String> {
        let text = |name: &str| Ok(answer.json()?[name].as_str().unwrap_or_default().to_owned());
        match self {
            Self::Endpoint => Ok(answer.header("x-upstream-addr").to_owned()),
            Self::Instance => text("instance"),
            Self::Service => text("metadata"),
        }
    }
}

impl Walk {
    /// Nothing has been shown yet.
    pub(crate) fn new(world: World) -> Result<Self> {
        let client = Client::new(world.proxy());
        Ok(Self { world, page: Page::default(), client, folder: tempfile::tempdir()? })
    }

    /// Types a command, and waits until Envoy has what comes of it.
    pub(crate) async fn docker(&mut self, command: Docker) -> Result<()> {
        self.page.command(&command.line());
        self.world.obey(&command).await?;
        self.world.settle().await
    }

    /// Types `curl` for `/ping` of a host, and shows of the answer the status, the body, and the
    /// headers whose names begin so.
    pub(crate) fn curl(&mut self, options: &str, host: &str, shown: &[&str]) -> Result<Answer> {
        let proxy = self.world.proxy().to_string();
        let url = format!("http://{}/ping", proxy.trim_end_matches(":80"));
        let line = Line::curl(options, host, &url);
        self.page.command(&line);
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "20"]);
        let text = run(curl.args(line.arguments()).current_dir(self.folder.path()))?;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let is_shown = |line: &&str| shown.iter().any(|start| line.starts_with(start));
        for line in head.lines().take(1).chain(head.lines().filter(is_shown)) {
            page::answer(line);
        }
        page::answer(body.trim_end());
        parsed(head, body)
    }

    /// The virtual IP of a service, with its port, after showing how to get it.
    pub(crate) fn inspect_vip(&mut self, service: &str) -> Result<SocketAddr> {
        self.page.command(&Line::inspect_vip(service));
        let vip = self.world.vip(service)?;
        page::answer(&vip.ip().to_string());
        Ok(vip)
    }

    /// Asks `/ping` of a host so many times over kept connections, and shows who answered.
    pub(crate) async fn ask(
        &mut self,
        host: &'static str,
        times: u32,
        by: By,
    ) -> Result<BTreeMap<String, u32>> {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let client = self.client.clone();
            clients.spawn(async move {
                let mut counted: BTreeMap<String, u32> = BTreeMap::new();
                for _ in 0..times / CLIENTS {
                    let answer = client.get(host, "/ping").await?;
                    ensure!(answer.status == StatusCode::OK, "{host} answered {answer:?}");
                    *counted.entry(by.of(&answer)?).or_default() += 1;
                }
                anyhow::Ok(counted)
            });
        }
        let mut counted = BTreeMap::new();
        while let Some(part) = clients.join_next().await {
            for (name, count) in part?? {
                *counted.entry(name).or_default() += count;
            }
        }
        let by = match by {
            By::Endpoint => "endpoint (x-upstream-addr)",
            By::Instance => "task",
            By::Service => "service",
        };
        self.page.shares(&format!("{times} requests for {host}, by {by}:"), &counted);
        Ok(counted)
    }

    /// A service's part of the controller's status, after showing how to get it.
    pub(crate) fn look_up(&mut self, service: &str) -> Result<Value> {
        self.page
            .command(&Line::of(&format!("curl http://{}/status", self.world.status_address())));
        let status = self.world.status()?;
        let part = waggle_tests::controller::service(&status, service).cloned();
        part.with_context(|| format!("no {service} in {status:#}"))
    }

    /// How often Envoy has been told something: by the controller's count, and by Envoy's own. It
    /// looks the controller's address up by itself.
    pub(crate) fn told(&self) -> Result<(u64, u64)> {
        let stats = self.world.envoy("/stats?filter=update_success")?;
        let count = |line: &str| -> Option<u64> { line.split_once(": ")?.1.trim().parse().ok() };
        let told = stats.lines().filter(|line| !line.starts_with("cluster.xds."));
        Ok((responses(&self.world.status()?), told.filter_map(count).sum()))
    }

    /// Checks what was found, and shows the claim with the outcome.
    pub(crate) fn claim<T: Debug>(
        &mut self,
        claim: &str,
        found: T,
        holds: impl FnOnce(&T) -> bool,
    ) {
        self.page.claim(claim, found, holds);
    }
}

fn parsed(head: &str, body: &str) -> Result<Answer> {
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("an answer")?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(name.parse::<HeaderName>()?, HeaderValue::from_str(value)?);
    }
    let (status, body) = (status.parse()?, body.to_owned().into());
    Ok(Answer { status, headers, body, trailers: HeaderMap::new() })
}

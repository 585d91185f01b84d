//! The real Swarm: one node in a private engine, with the example stack.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use waggle_tests::controller;
use waggle_tests::envoy;
use waggle_tests::private_swarm::{Image, PrivateSwarm, VipForwarding};
use waggle_tests::program::eventually;
use waggle_tests::sandbox::run;

use crate::command::{Docker, Line, NETWORK, PORT, Service};
use crate::world::Task;

pub(super) const INTRODUCTION: &str = "On a real Swarm of one node, in a Docker engine of its own, \
    out of reach of this machine's. examples/stack.yml is deployed on it: the controller, and Envoy \
    with the filter. The engine reaches no registry, so docker gets --no-resolve-image too; the \
    controller's status is asked in the controller's own network.";

pub(super) const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
pub(super) const STATUS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18080);
const CONTROLLER: &str = "waggle_controller";
const ENVOY: &str = "waggle_envoy";

pub(crate) struct Swarm {
    vips: VipForwarding,
    swarm: PrivateSwarm,
}

impl Swarm {
    pub(super) async fn start(swarm: PrivateSwarm) -> Result<Self> {
        for image in [Image::demo(), Image::controller(), Image::envoy(envoy::binary()?)?] {
            swarm.import(&image)?;
        }
        let stack = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples/stack.yml");
        let deploy = format!("stack deploy --resolve-image never -c {} waggle", stack.display());
        swarm.docker(deploy.split(' '))?;
        swarm.wait_running(CONTROLLER, 1)?;
        swarm.wait_running(ENVOY, 1)?;
        let this = Self { vips: swarm.forward_vips(ENVOY)?, swarm };
        eventually("the proxy answers", async || {
            let mut curl = Command::new("curl");
            let url = format!("http://{PROXY}/ping");
            curl.args(["--silent", "--fail", "-H", "Host: demo.local", &url]);
            Ok(run(&mut curl).ok())
        })
        .await?;
        Ok(this)
    }

    pub(super) fn obey(&self, command: &Docker) -> Result<()> {
        let line = command.line();
        let (what, how) = line.arguments().split_at(2);
        let unseen: &[&str] = match command {
            Docker::Scale(..) => &["--detach"],
            _ => &["--detach", "--no-resolve-image"],
        };
        let unseen = unseen.iter().copied();
        let words = what.iter().map(String::as_str).chain(unseen);
        self.swarm.docker(words.chain(how.iter().map(String::as_str)))?;
        if let Docker::Create(Service { name, replicas, .. }) | Docker::Scale(name, replicas) =
            command
        {
            self.swarm.wait_running(name, usize::try_from(*replicas)?)?;
        }
        self.vips.refresh()
    }

    pub(super) async fn settle(&self) -> Result<()> {
        let reads = || anyhow::Ok(controller::complete_reads(&self.status()?));
        let before = reads()?;
        eventually("two complete reads", async || Ok((reads()? >= before + 2).then_some(())))
            .await?;
        eventually("Envoy has the endpoints that the controller tells", async || {
            let told = controller::endpoints(&self.status()?);
            Ok((told == envoy::members(&self.envoy("/clusters")?)).then_some(()))
        })
        .await
    }

    pub(super) async fn ended(&self, service: &str) -> Result<()> {
        let filters = json!({ "service": [service] });
        eventually("the tasks that are to stop have ended", async || {
            let tasks: Vec<Value> = self.swarm.get("/tasks", &filters)?;
            let ends = |task: &&Value| {
                task["DesiredState"] != "running" && task["Status"]["State"] == "running"
            };
            Ok(tasks.iter().find(ends).is_none().then_some(()))
        })
        .await
    }

    pub(super) fn tasks(&self, service: &str) -> Result<Vec<Task>> {
        let task = |task: &waggle_tests::private_swarm::Task| {
            let address = *task.addresses.get(NETWORK)?;
            let instance = task.container.as_ref()?.get(..12)?.to_owned();
            Some(Task { address: SocketAddr::new(address, PORT), instance })
        };
        let tasks = self.swarm.tasks(service)?;
        let known: Option<Vec<Task>> = tasks.iter().map(task).collect();
        known.with_context(|| format!("a task of {service} has no address or container: {tasks:?}"))
    }

    pub(super) fn vip(&self, service: &str) -> Result<SocketAddr> {
        let written = self.swarm.docker(Line::inspect_vip(service).arguments())?;
        let address = written.split('/').next().unwrap_or_default();
        Ok(SocketAddr::new(address.parse().context(written.clone())?, PORT))
    }

    pub(super) fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&run(&mut self.status_command()?)?)?)
    }

    fn status_command(&self) -> Result<Command> {
        self.curl_inside(CONTROLLER, &format!("http://{STATUS}/status"))
    }

    pub(super) fn envoy(&self, path: &str) -> Result<String> {
        run(&mut self.curl_inside(ENVOY, &format!("http://127.0.0.1:9901{path}"))?)
    }

    /// `curl` in the network of a service's one task.
    fn curl_inside(&self, service: &str, url: &str) -> Result<Command> {
        let tasks = self.swarm.tasks(service)?;
        let container = tasks.iter().find_map(|task| task.container.as_deref());
        let container = container.with_context(|| format!("{service} has no container"))?;
        let mut curl = self.swarm.inside(container, "curl")?;
        curl.args(["-sS", "--max-time", "20", url]);
        Ok(curl)
    }

    pub(super) fn addresses(&self) -> Vec<(&'static str, String)> {
        let enter = format!("sudo nsenter --target {} --net", std::process::id());
        let docker = self.swarm.client();
        let docker = docker.get_program().display();
        let host = format!("env DOCKER_HOST=unix://{}", self.swarm.socket().display());
        let status = self.status_command().map_or_else(|error| error.to_string(), |it| shown(&it));
        vec![
            ("the proxy", format!("{enter} curl -i -H 'Host: web.local' http://127.0.0.1/ping")),
            ("the engine", format!("{enter} --mount {host} {docker} service ls")),
            ("the controller: what is routed where, and what is wrong", format!("sudo {status}")),
        ]
    }
}

/// A command of plain words, as it is typed.
fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

//! The example stack on a Swarm of the test's own, used as its users do: by Docker's command line
//! and by HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::runtime::Runtime;
use waggle_tests::client::{Answer, Client, Jar};
use waggle_tests::controller::{endpoints, problem_codes, service};
use waggle_tests::envoy;
use waggle_tests::private_swarm::{Image, PrivateSwarm, Task, VipForwarding};
use waggle_tests::sandbox::run;

pub(crate) use start::{on_nodes, on_stack};
pub(crate) use waggle_tests::wait::{wait, wait_for};

use start::deploy;

mod start;

/// Where applications listen in their containers.
pub(crate) const APP_PORT: u16 = 8080;
/// The network that Envoy and the applications share.
pub(crate) const APPS: &str = "waggle-apps";

const CONTROLLER: &str = "waggle_controller";
/// The service that runs the proxies.
pub(crate) const ENVOY: &str = "waggle_envoy";
/// How long a request may take.
const ANSWER: Duration = Duration::from_secs(10);

/// A Swarm with the example stack.
pub(crate) struct World {
    vips: VipForwarding,
    pub(crate) swarm: PrivateSwarm,
    pub(crate) runtime: Runtime,
    /// A client of Envoy's published port.
    pub(crate) client: Client,
}

impl World {
    /// Deploys another file of `examples/` as a stack of the same name.
    pub(crate) fn deploy(&self, example: &str) -> Result<()> {
        deploy(&self.swarm, &[&format!("examples/{example}.yml")], example)
    }

    /// Runs a command of Docker's, as it is typed.
    pub(crate) fn docker(&self, command: &str) -> Result<String> {
        self.swarm.docker(command.split_whitespace())
    }

    /// Runs a command line, as it is typed.
    pub(crate) fn shell(&self, line: &str) -> Result<String> {
        self.swarm.shell(line)
    }

    /// Creates a secret.
    pub(crate) fn secret(&self, name: &str, content: &str) -> Result<()> {
        let file = Path::new("/run").join(name);
        fs::write(&file, content)?;
        self.docker(&format!("secret create {name} {}", file.display())).map(drop)
    }

    /// Creates a service of the demo application on the shared network, and waits until its tasks
    /// run and Envoy knows.
    pub(crate) fn create(&self, name: &str, replicas: usize, options: &str) -> Result<Vec<Task>> {
        self.docker(&format!(
            "service create --detach --no-resolve-image --name {name} --replicas {replicas} \
             --network {APPS} --env METADATA={name} {options} {}",
            Image::demo().name()
        ))?;
        self.settle(name, replicas)
    }

    /// Waits until a service's tasks run, the controller has seen that, and Envoy knows.
    pub(crate) fn settle(&self, name: &str, replicas: usize) -> Result<Vec<Task>> {
        let tasks = self.swarm.wait_running(name, replicas)?;
        self.vips.refresh()?;
        self.wait_read()?;
        self.wait_told()?;
        Ok(tasks)
    }

    /// Waits until the controller has read the Swarm wholly, twice since now.
    pub(crate) fn wait_read(&self) -> Result<()> {
        let reads = || Ok::<_, anyhow::Error>(self.status()?["swarm"]["complete_reads"].as_u64());
        let before = reads()?;
        wait("two complete reads", || Ok((reads()? >= before.map(|it| it + 2)).then_some(())))
    }

    /// Waits until Envoy has the endpoints that the controller tells.
    pub(crate) fn wait_told(&self) -> Result<()> {
        wait("Envoy has the endpoints that the controller tells", || {
            let has = envoy::members(&self.envoy("/clusters")?);
            Ok((has == endpoints(&self.status()?)).then_some(()))
        })
    }

    /// The controller's `GET /status`.
    pub(crate) fn status(&self) -> Result<Value> {
        let url = "http://127.0.0.1:18080/status";
        Ok(serde_json::from_str(&self.inside(CONTROLLER, &["curl", "-sSf", url])?)?)
    }

    /// A service's part of the status.
    pub(crate) fn status_of(&self, name: &str) -> Result<Value> {
        let status = self.status()?;
        service(&status, name).cloned().with_context(|| format!("no {name} in {status:#}"))
    }

    /// Waits until a service has exactly these problems, and returns them.
    pub(crate) fn wait_problems(&self, name: &str, codes: &[&str]) -> Result<Vec<Value>> {
        wait(&format!("the problems {codes:?} of {name}"), || {
            let status = self.status()?;
            ensure!(problem_codes(&status, name) == codes, "{:#?}", service(&status, name));
            Ok(service(&status, name).and_then(|it| it["problems"].as_array().cloned()))
        })
    }

    /// A page of Envoy's admin interface.
    pub(crate) fn envoy(&self, path: &str) -> Result<String> {
        self.envoy_of(ENVOY, path)
    }

    /// The same of another service's Envoy.
    pub(crate) fn envoy_of(&self, service: &str, path: &str) -> Result<String> {
        self.inside(service, &["curl", "-sSf", &format!("http://127.0.0.1:9901{path}")])
    }

    /// Envoy's counters and gauges.
    pub(crate) fn stats(&self) -> Result<BTreeMap<String, u64>> {
        Ok(envoy::numbers(&self.envoy("/stats")?))
    }

    /// Runs a program of the machine in the network of a service's first task.
    pub(crate) fn inside(&self, service: &str, command: &[&str]) -> Result<String> {
        let (program, arguments) = command.split_first().context("a command has a program")?;
        run(self.swarm.inside(&self.container(service)?, program)?.args(arguments))
    }

    /// The container of a service's first task.
    pub(crate) fn container(&self, service: &str) -> Result<String> {
        let tasks = self.swarm.tasks(service)?;
        let container = tasks.iter().find_map(|task| task.container.clone());
        container.with_context(|| format!("{service} has no container: {tasks:?}"))
    }

    /// What all containers of a service have logged, those that ended too.
    pub(crate) fn log(&self, service: &str) -> Result<String> {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        let mut log = String::new();
        for container in self.docker(&format!("ps --all --quiet --filter {filter}"))?.lines().rev()
        {
            let output = self.swarm.client().args(["logs", container]).output()?;
            log += &String::from_utf8_lossy(&output.stdout);
            log += &String::from_utf8_lossy(&output.stderr);
        }
        Ok(log)
    }

    /// What the controller has logged, in all its lives.
    pub(crate) fn controller_log(&self) -> Result<String> {
        self.log(CONTROLLER)
    }

    /// `GET` of a path of a host.
    pub(crate) fn get(&self, host: &str, path: &str) -> Result<Answer> {
        self.get_with(host, path, &[])
    }

    /// `GET` with more headers.
    pub(crate) fn get_with(
        &self,
        host: &str,
        path: &str,
        headers: &[(&str, &[u8])],
    ) -> Result<Answer> {
        self.answer(host, self.client.get_with(host, path, headers))
    }

    /// `GET` by another proxy's client.
    pub(crate) fn get_by(&self, client: &Client, host: &str, path: &str) -> Result<Answer> {
        self.answer(host, client.get(host, path))
    }

    /// Waits for what is asked of a host, and not for ever.
    pub(crate) fn answer<T>(
        &self,
        host: &str,
        asked: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(ANSWER, asked).await });
        answer.with_context(|| format!("{host}: no answer within {ANSWER:?}"))?
    }

    /// Waits until a host's `/ping` answers with this status.
    pub(crate) fn wait_answer(&self, host: &str, status: u16) -> Result<Answer> {
        wait(&format!("{status} from {host}"), || {
            let answer = self.get(host, "/ping")?;
            ensure!(answer.status == status, "{answer:?}");
            Ok(Some(answer))
        })
    }

    /// `GET` with a jar of cookies; the answer has to be a 200.
    pub(crate) fn get_as(&self, jar: &mut Jar, host: &str, path: &str) -> Result<Answer> {
        let sent = jar.line();
        let answer = self.get_with(host, path, &[("cookie", sent.as_bytes())])?;
        ensure!(answer.status == 200, "{host}{path} with cookies `{sent}`: {answer:?}");
        jar.take(&answer);
        Ok(answer)
    }

    /// Asks a host's `/ping` so many times, one request after the other, and counts what `key` says
    /// of the answers, which have to be 200s.
    pub(crate) fn count(
        &self,
        host: &str,
        times: u32,
        key: impl Fn(&Answer) -> String,
    ) -> Result<BTreeMap<String, u32>> {
        let mut counted = BTreeMap::new();
        for request in 0..times {
            let answer = self.get(host, "/ping")?;
            ensure!(answer.status == 200, "{host}, request {request}: {answer:?}");
            *counted.entry(key(&answer)).or_default() += 1;
        }
        Ok(counted)
    }

    /// A service's virtual IP on a network, as `docker service inspect` shows it.
    pub(crate) fn vip(&self, service: &str, network: &str) -> Result<SocketAddr> {
        let network = self.docker(&format!("network inspect --format {{{{.ID}}}} {network}"))?;
        let shown = ["service", "inspect", "--format", "{{json .Endpoint.VirtualIPs}}", service];
        let vips: Vec<Value> = serde_json::from_str(&self.swarm.docker(shown)?)?;
        let vip = vips.iter().find(|vip| vip["NetworkID"] == network.as_str());
        let address = vip.and_then(|vip| vip["Addr"].as_str()?.split('/').next()?.parse().ok());
        let address: IpAddr = address.with_context(|| format!("{network} is not in {vips:?}"))?;
        Ok(SocketAddr::new(address, APP_PORT))
    }

    /// How the product stands, for a test that failed.
    fn account(&self) -> String {
        let or_error = |text: Result<String>| text.unwrap_or_else(|error| format!("{error:#}"));
        let tail = |log: String| {
            // Envoy tells all about itself when it starts.
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("[info]")).collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        format!(
            "how it stood\n--- /status\n{}\n--- the controller's log\n{}\n--- Envoy's log\n{}\n\
             --- services\n{}",
            or_error(self.status().map(|status| format!("{status:#}"))),
            tail(or_error(self.log(CONTROLLER))),
            tail(or_error(self.log(ENVOY))),
            or_error(self.docker("service ls")),
        )
    }
}

/// Where a task of the shared network listens.
pub(crate) fn address(task: &Task) -> Result<SocketAddr> {
    let address = task.addresses.get(APPS).with_context(|| format!("{task:?} is not on {APPS}"))?;
    Ok(SocketAddr::new(*address, APP_PORT))
}

/// Which endpoint an answer says that it is from.
pub(crate) fn upstream(answer: &Answer) -> String {
    answer.header("x-upstream-addr").to_owned()
}

/// Which service an answer of `/ping` is from, by its `METADATA`; empty if it is another answer.
pub(crate) fn metadata(answer: &Answer) -> String {
    let answer = answer.json().unwrap_or_default();
    answer["metadata"].as_str().unwrap_or_default().to_owned()
}

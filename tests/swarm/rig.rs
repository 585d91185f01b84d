//! The rig itself: it works, and it leaves nothing behind.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, gettid};
use waggle_tests::private_swarm::{Engine, Image, Managers, PrivateSwarm, Task};
use waggle_tests::sandbox::run;

/// Tells a test of this binary that it is the subject of another one.
const SUBJECT: &str = "WAGGLE_RIG_SUBJECT";

fn swarm_with_demo() -> Result<PrivateSwarm> {
    with_demo(PrivateSwarm::start()?)
}

fn with_demo(swarm: PrivateSwarm) -> Result<PrivateSwarm> {
    for engine in swarm.engines() {
        engine.import(&Image::demo())?;
    }
    swarm.docker(["network", "create", "--driver", "overlay", "web"])?;
    let create = "service create --detach --no-resolve-image --network web";
    swarm.docker(create.split(' ').chain([
        "--name",
        "demo",
        "--replicas",
        "2",
        Image::demo().name(),
    ]))?;
    let publish = ["--publish", "mode=host,target=8080,published=80"];
    swarm.docker(
        create.split(' ').chain(["--name", "front"]).chain(publish).chain([Image::demo().name()]),
    )?;
    swarm.wait_running("demo", 2)?;
    swarm.wait_running("front", 1)?;
    Ok(swarm)
}

fn container(task: &Task) -> Result<&str> {
    task.container.as_deref().with_context(|| format!("{task:?} has no container"))
}

/// The first 12 characters of a container's ID are its host name.
fn instance(container: &str) -> String {
    format!("\"instance\":\"{}\"", &container[..12])
}

fn ping(swarm: &PrivateSwarm, client: &Task, address: &str) -> Result<String> {
    let url = format!("http://{address}:8080/ping");
    run(swarm.inside(container(client)?, "curl")?.args(["--silent", "--max-time", "5", &url]))
}

#[test]
fn a_task_reaches_the_tasks_of_another_service_over_an_overlay() -> Result<()> {
    let swarm = swarm_with_demo()?;
    let front = &swarm.tasks("front")?[0];
    for task in swarm.tasks("demo")? {
        let container = container(&task)?;
        let format = "{{.NetworkSettings.Networks.web.IPAddress}}";
        let address = swarm.docker(["inspect", "--format", format, container])?;
        assert_eq!(task.addresses["web"].to_string(), address);
        let answer = ping(&swarm, front, &address)?;
        assert!(answer.contains(&instance(container)), "{container} answered {answer}");
    }
    Ok(())
}

#[test]
fn a_port_published_in_host_mode_is_reached_from_the_test() -> Result<()> {
    let swarm = swarm_with_demo()?;
    let front = &swarm.tasks("front")?[0];
    for address in ["127.0.0.1", "10.200.0.1"] {
        let answer = run(Command::new("curl").args(["--silent", &format!("{address}/ping")]))?;
        assert!(answer.contains(&instance(container(front)?)), "{address} answered {answer}");
    }
    Ok(())
}

#[test]
fn connections_to_a_vip_reach_every_task_that_runs_now() -> Result<()> {
    let swarm = swarm_with_demo()?;
    let front = &swarm.tasks("front")?[0];
    let vips = swarm.forward_vips("front")?;
    let format = "{{(index .Endpoint.VirtualIPs 0).Addr}}";
    let vip = swarm.docker(["service", "inspect", "--format", format, "demo"])?;
    let vip = vip.split('/').next().context("a VIP has a prefix length")?;
    for replicas in [2, 4, 1] {
        swarm.docker(["service", "scale", "--detach", &format!("demo={replicas}")])?;
        let tasks = swarm.wait_running("demo", replicas)?;
        vips.refresh()?;
        let answers = (0..4 * replicas).map(|_| ping(&swarm, front, vip));
        let reached: BTreeSet<String> = answers
            .map(|answer| Ok(answer?.split_inclusive(',').next().unwrap_or_default().to_owned()))
            .collect::<Result<_>>()?;
        let running: BTreeSet<String> = tasks
            .iter()
            .map(|task| Ok(format!("{{{},", instance(container(task)?))))
            .collect::<Result<_>>()?;
        assert_eq!(reached, running);
    }
    Ok(())
}

#[test]
fn nothing_is_left_when_a_swarm_is_dropped() -> Result<()> {
    let mut subject = Subject::start()?;
    ensure!(!subject.traces.found()?.is_empty(), "the subject shows no traces while it lives");
    drop(subject.process.stdin.take());
    subject.stdout.read_to_end(&mut Vec::new())?;
    assert!(subject.process.wait()?.success());
    assert_eq!(subject.traces.found()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn nothing_is_left_when_the_test_is_killed() -> Result<()> {
    let mut subject = Subject::start()?;
    subject.process.kill()?;
    assert_eq!(subject.process.wait()?.signal(), Some(Signal::SIGKILL as i32));
    wait_none(|| subject.traces.found())
}

#[test]
fn what_a_killed_rig_leaves_goes_with_the_next_start() -> Result<()> {
    let mut subject = Subject::start()?;
    let (process, thread) = (subject.process.id(), &subject.traces.thread);
    let keepers = fs::read_to_string(format!("/proc/{process}/task/{thread}/children"))?;
    for keeper in keepers.split_whitespace() {
        kill(Pid::from_raw(keeper.parse()?), Signal::SIGKILL)?;
    }
    subject.process.kill()?;
    subject.process.wait()?;
    wait_none(|| subject.traces.processes())?;
    ensure!(!subject.traces.cgroups()?.is_empty(), "there is nothing to sweep");
    let _swarm = PrivateSwarm::start()?;
    assert_eq!(subject.traces.cgroups()?, Vec::<String>::new());
    Ok(())
}

/// This binary, started again to hold a Swarm of three nodes until its standard input ends.
struct Subject {
    process: Child,
    stdout: BufReader<ChildStdout>,
    traces: Traces,
}

impl Subject {
    fn start() -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(["--exact", "rig::subject_holds_a_swarm", "--ignored", "--nocapture"])
            .env(SUBJECT, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut lines = stdout.by_ref().lines().map_while(Result::ok);
        let traces = lines.find_map(|line| Some(line.split_once(SUBJECT)?.1.to_owned()));
        let traces = traces.context("the subject did not come up; its errors are above")?;
        let mut words = traces.split_whitespace().map(str::to_owned);
        let mut next = || words.next().context("a trace is missing");
        let (thread, cgroup) = (next()?, next()?);
        let traces = Traces { thread, cgroup, namespaces: words.collect() };
        Ok(Self { process, stdout, traces })
    }
}

#[test]
#[ignore = "the subject of the tests above, which start it"]
fn subject_holds_a_swarm() -> Result<()> {
    ensure!(env::var_os(SUBJECT).is_some(), "other tests start this one");
    let swarm = with_demo(PrivateSwarm::start_three(Managers::First)?)?;
    let mut namespaces = vec![namespace("thread-self", "net")?, namespace("thread-self", "mnt")?];
    for process in swarm.engines().map(Engine::process) {
        let process = process.to_string();
        namespaces.extend([namespace(&process, "net")?, namespace(&process, "mnt")?]);
    }
    println!("{SUBJECT} {} {} {}", gettid(), swarm.cgroup(), namespaces.join(" "));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A namespace of a process, by the name that the kernel gives it.
fn namespace(process: &str, kind: &str) -> Result<String> {
    Ok(fs::read_link(format!("/proc/{process}/ns/{kind}"))?.display().to_string())
}

/// What shows on the machine that a rig lives, or lived.
struct Traces {
    thread: String,
    cgroup: String,
    /// Of the test, and of each engine.
    namespaces: Vec<String>,
}

impl Traces {
    fn found(&self) -> Result<Vec<String>> {
        let mut found = self.processes()?;
        found.extend(self.cgroups()?);
        let mounts = fs::read_to_string("/proc/thread-self/mounts")?;
        let ours = mounts.lines().filter(|line| line.starts_with("waggle "));
        found.extend(ours.map(str::to_owned));
        Ok(found)
    }

    /// The rig's cgroup wherever it is: once where all controllers share one tree, else once in each.
    /// Asked for by its name, since a walk through the trees trips over what goes meanwhile.
    fn cgroups(&self) -> Result<Vec<String>> {
        let mut trees = vec![PathBuf::from("/sys/fs/cgroup")];
        for tree in fs::read_dir("/sys/fs/cgroup")? {
            trees.push(tree?.path());
        }
        let cgroups = trees.iter().map(|tree| tree.join(&self.cgroup)).filter(|path| path.exists());
        Ok(cgroups.map(|cgroup| cgroup.display().to_string()).collect())
    }

    /// The processes in the rig's namespaces. Those of its tasks are in namespaces below; they are
    /// in its cgroup too, which goes only when they are gone.
    fn processes(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for process in fs::read_dir("/proc")? {
            let process = process?.path();
            let lives_in = |kind| fs::read_link(process.join("ns").join(kind)).ok();
            let here = |kind| {
                lives_in(kind).is_some_and(|ns| self.namespaces.contains(&ns.display().to_string()))
            };
            if here("net") || here("mnt") {
                let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
                found.push(format!("{}: {}", process.display(), command.replace('\0', " ")));
            }
        }
        Ok(found)
    }
}

/// Waits until nothing is left; the error tells what is.
fn wait_none(left: impl Fn() -> Result<Vec<String>>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left = left()?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left behind:\n{}", left.join("\n"));
        thread::sleep(Duration::from_millis(50));
    }
}

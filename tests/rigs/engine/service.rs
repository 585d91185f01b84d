//! What a test holds in its hand: the builder of a service, the service, its tasks, its rollouts.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use super::json;
use super::server::Server;
use super::world::{self, Mode, Order, Spec, State};

/// A service that is not created yet. Begins as one replica on no network, with endpoint mode
/// `vip`, whose tasks run from the start.
#[must_use = "a service exists once `create` is called"]
pub struct Builder {
    server: Arc<Server>,
    spec: Spec,
    begin_as: State,
    given: VecDeque<IpAddr>,
    vip: Option<IpAddr>,
}

impl Builder {
    pub(super) fn new(server: Arc<Server>, name: &str) -> Self {
        let spec = Spec {
            name: name.into(),
            labels: BTreeMap::new(),
            container_labels: BTreeMap::new(),
            image: "demo:1".into(),
            env: Vec::new(),
            networks: Vec::new(),
            mode: Mode::Replicated(1),
            endpoint_mode: "vip",
            published: Vec::new(),
            order: Order::StopFirst,
            secrets: Vec::new(),
            written: None,
        };
        Self { server, spec, begin_as: State::Running, given: VecDeque::new(), vip: None }
    }

    /// A label of the service.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.spec.labels.insert(key.into(), value.into());
        self
    }

    /// A label of the service's containers.
    pub fn container_label(mut self, key: &str, value: &str) -> Self {
        self.spec.container_labels.insert(key.into(), value.into());
        self
    }

    /// Attaches it to the network of that name, which is made if need be.
    pub fn network(mut self, name: &str) -> Self {
        let id = self.server.write(|world| world.network(name));
        self.spec.networks.push(id);
        self
    }

    /// Attaches it by a target that is written as given: a name, or something that does not exist.
    pub fn network_target(mut self, target: &str) -> Self {
        self.spec.networks.push(target.into());
        self
    }

    /// This many tasks.
    pub fn replicas(mut self, count: u64) -> Self {
        self.spec.mode = Mode::Replicated(count);
        self
    }

    /// One task on each node.
    pub fn global(mut self) -> Self {
        self.spec.mode = Mode::Global;
        self
    }

    /// The virtual IP on the first network; otherwise one is chosen.
    pub fn vip(mut self, address: IpAddr) -> Self {
        self.vip = Some(address);
        self
    }

    /// No virtual IP.
    pub fn dnsrr(mut self) -> Self {
        self.spec.endpoint_mode = "dnsrr";
        self
    }

    /// Publishes a port on the ingress network: tasks get an address there too.
    pub fn publish(mut self, port: u16) -> Self {
        self.spec.published.push(port);
        self
    }

    /// An environment variable of its containers.
    pub fn env(mut self, variable: &str) -> Self {
        self.spec.env.push(variable.into());
        self
    }

    /// Mounts the secret of that name, which is made if need be, as `/run/secrets/NAME`.
    pub fn secret(self, name: &str) -> Self {
        self.secret_at(name, name)
    }

    /// Mounts the secret of that name, which is made if need be, as this file.
    pub fn secret_at(mut self, name: &str, target: &str) -> Self {
        let secret = self.server.write(|world| world.mount(name, target));
        self.spec.secrets.push(secret);
        self
    }

    /// Rewrites the text of its specification, as a client of a later version would have written
    /// it; it is shown byte for byte until somebody updates the service. Call it last.
    pub fn written(mut self, rewrite: impl FnOnce(String) -> String) -> Self {
        self.spec.written = Some(rewrite(json::spec(&self.spec).to_string()));
        self
    }

    /// New tasks run before old ones stop (`--update-order start-first`).
    pub fn start_first(mut self) -> Self {
        self.spec.order = Order::StartFirst;
        self
    }

    /// The state in which tasks begin, now and later; otherwise they run at once.
    pub fn begin_as(mut self, state: State) -> Self {
        self.begin_as = state;
        self
    }

    /// The addresses of its tasks on its first network, in order; the tasks beyond get addresses
    /// of the engine's own.
    pub fn addresses(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.given.extend(addresses);
        self
    }

    /// Creates the service and its tasks.
    pub fn create(self) -> Service {
        let Self { server, spec, begin_as, given, vip } = self;
        let name = spec.name.clone();
        let id = server.write(|world| world.create(spec, begin_as, given, vip));
        Service { server, id, name }
    }
}

/// A service of the simulated Swarm. Its methods panic once it is removed, except those that read.
#[derive(Clone)]
pub struct Service {
    server: Arc<Server>,
    id: String,
    name: String,
}

impl Service {
    /// Its ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its specification, as a client reads it.
    pub fn spec(&self) -> String {
        self.server.read(|world| json::written_spec(&world.services[&self.id].spec))
    }

    /// Its `Version.Index`.
    pub fn version(&self) -> u64 {
        self.server.read(|world| world.services[&self.id].index)
    }

    /// Sets what became of its last update, as Swarm does after tasks were replaced or failed.
    pub fn update_ended(&self, state: &'static str) {
        self.server.write(|world| world.set_update_status(&self.id, state));
    }

    /// Its tasks whose desired state is `running`, by slot.
    pub fn tasks(&self) -> Vec<Task> {
        let mut tasks = self.all_tasks();
        tasks.retain(|task| task.read(|task| task.desired == State::Running));
        tasks.sort_by_key(|task| task.slot);
        tasks
    }

    /// Its tasks, with those that shall stop and are not gone yet.
    pub fn all_tasks(&self) -> Vec<Task> {
        self.server.read(|world| {
            let tasks = world.tasks.values().filter(|task| task.service == self.id);
            tasks.map(|task| Task::of(&self.server, task)).collect()
        })
    }

    /// Its virtual IP on a network.
    pub fn vip(&self, network: &str) -> Option<IpAddr> {
        self.server.read(|world| {
            let network = world.networks.values().find(|known| known.name == network)?;
            world.services.get(&self.id)?.vips.get(&network.id).copied()
        })
    }

    /// Asks for another number of tasks. Up: they begin. Down: the highest slots shall stop.
    pub fn scale(&self, count: u64) {
        self.update(|spec| spec.mode = Mode::Replicated(count));
    }

    /// Mounts one more secret as this file; its tasks have it at once, which a real Swarm would
    /// replace.
    pub fn mount(&self, name: &str, target: &str) {
        let secret = self.server.write(|world| world.mount(name, target));
        self.update(|spec| spec.secrets.push(secret));
        self.server.write(|world| world.hand_over_secrets(&self.id));
    }

    /// Mounts more secrets, each as this file, which replaces all tasks.
    pub fn add_secrets<'a>(&self, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Rollout {
        let files = files.into_iter();
        let secrets: Vec<_> =
            files.map(|(name, file)| self.server.write(|world| world.mount(name, file))).collect();
        self.roll(|spec| spec.secrets.extend(secrets))
    }

    /// Sets a label of the service; no task is touched.
    pub fn set_label(&self, key: &str, value: &str) {
        self.update(|spec| drop(spec.labels.insert(key.into(), value.into())));
    }

    /// Sets several labels of the service at once; no task is touched.
    pub fn set_labels<'a>(&self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into()));
        self.update(|spec| spec.labels.extend(labels));
    }

    /// Removes a label of the service; no task is touched.
    pub fn remove_label(&self, key: &str) {
        self.update(|spec| drop(spec.labels.remove(key)));
    }

    /// Sets an environment variable, which replaces all tasks.
    pub fn set_env(&self, variable: &str) -> Rollout {
        self.roll(|spec| spec.env.push(variable.into()))
    }

    /// Sets another image, which replaces all tasks.
    pub fn set_image(&self, image: &str) -> Rollout {
        self.roll(|spec| spec.image = image.into())
    }

    /// Attaches it to one more network, which replaces all tasks. The virtual IP is there at once.
    pub fn add_network(&self, name: &str) -> Rollout {
        let id = self.server.write(|world| world.network(name));
        self.roll(|spec| spec.networks.push(id))
    }

    /// Takes it off a network, which replaces all tasks. The virtual IP goes at once.
    pub fn remove_network(&self, name: &str) -> Rollout {
        let id = self.server.write(|world| world.network(name));
        self.roll(|spec| spec.networks.retain(|target| *target != id))
    }

    /// The addresses of its next tasks on its first network.
    pub fn give_addresses(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.server.write(|world| {
            if let Some(service) = world.services.get_mut(&self.id) {
                service.given.extend(addresses);
            }
        });
    }

    /// Removes it. Its tasks shall be removed too, and linger until told to be gone.
    pub fn remove(&self) {
        self.server.write(|world| world.remove(&self.id));
    }

    /// Sets another image, and leaves it to the caller to replace its tasks.
    pub fn begin_update(&self, image: &str) {
        self.update(|spec| spec.image = image.into());
        self.server.write(|world| world.set_update_status(&self.id, "updating"));
    }

    fn update(&self, change: impl FnOnce(&mut Spec)) {
        self.server.write(|world| world.update(&self.id, change));
    }

    fn roll(&self, change: impl FnOnce(&mut Spec)) -> Rollout {
        self.update(change);
        self.server.write(|world| world.set_update_status(&self.id, "updating"));
        let order = self.server.read(|world| world.services[&self.id].spec.order);
        let order = match order {
            Order::StartFirst => [Step::Prepare, Step::Run, Step::Stop, Step::Remove],
            Order::StopFirst => [Step::Stop, Step::Remove, Step::Prepare, Step::Run],
        };
        let steps = self
            .tasks()
            .into_iter()
            .flat_map(|old| order.map(|step| (step, old.clone())))
            .collect();
        Rollout { service: self.clone(), steps, new: None, over: false }
    }
}

/// A task of the simulated Swarm.
#[derive(Clone)]
pub struct Task {
    server: Arc<Server>,
    /// Its ID.
    pub id: String,
    /// Its slot; none in global mode.
    pub slot: Option<u64>,
    /// The ID of its node.
    pub node: String,
    /// Its address on its service's first network; none if there is no network.
    pub address: Option<IpAddr>,
}

impl Task {
    pub(super) fn of(server: &Arc<Server>, task: &world::Task) -> Self {
        Self {
            server: Arc::clone(server),
            id: task.id.clone(),
            slot: task.slot,
            node: task.node.clone(),
            address: task.addresses.first().map(|(_, address)| *address),
        }
    }

    /// Its address on its service's first network.
    ///
    /// # Panics
    /// If the service has no network.
    pub fn address(&self) -> IpAddr {
        self.address.unwrap_or_else(|| panic!("task {} is on no network", self.id))
    }

    /// Moves its desired state to `shutdown`: it leaves the list of running tasks at once, while
    /// its state stays `running`. It lingers until [`Task::gone`].
    pub fn stop(&self) {
        self.server.write(|world| world.stop(&self.id, State::Shutdown));
    }

    /// Moves its present state.
    pub fn becomes(&self, state: State) {
        self.server.write(|world| world.set_state(&self.id, state));
    }

    /// Its process ended by itself: it has failed, and another task takes its slot.
    #[must_use = "the new task is in the state in which its service's tasks begin"]
    pub fn crash(&self) -> Self {
        let new = self.server.write(|world| {
            world.set_state(&self.id, State::Failed);
            world.stop(&self.id, State::Shutdown);
            world.tasks.get(&self.id).cloned().map(|old| {
                let id = world.begin(&old.service, old.slot, old.node);
                world.tasks[&id].clone()
            })
        });
        match new {
            Some(new) => Self::of(&self.server, &new),
            None => panic!("task {} is no longer in the simulated Swarm", self.id),
        }
    }

    /// Another task begins in its place, in state `preparing`, on the same node. With `ready` as its
    /// desired state it waits for the order to run.
    #[must_use = "the new task does nothing by itself"]
    pub fn successor(&self, desired: State) -> Self {
        let new = self.server.write(|world| world.succeed(&self.id, desired));
        Self::of(&self.server, &new)
    }

    /// Moves its desired state.
    pub fn shall_be(&self, desired: State) {
        self.server.write(|world| world.stop(&self.id, desired));
    }

    /// Whether it runs now.
    pub fn is_running(&self) -> bool {
        self.read(|task| task.state == State::Running)
    }

    /// Whether it shall run.
    pub fn shall_run(&self) -> bool {
        self.read(|task| task.desired == State::Running)
    }

    /// Forgets it, as Swarm does some time after it stopped.
    pub fn gone(&self) {
        self.server.write(|world| world.forget_task(&self.id));
    }

    fn read(&self, read: impl FnOnce(&world::Task) -> bool) -> bool {
        self.server.read(|world| world.tasks.get(&self.id).is_some_and(read))
    }
}

/// One thing that has just happened in a [`Rollout`].
pub enum Moment {
    /// A new task is there, in state `preparing`: bring its backend up.
    Prepared(Task),
    /// The new task runs.
    Running(Task),
    /// The old task shall stop; it still serves.
    Stopping(Task),
    /// The old task is gone.
    Gone(Task),
}

#[derive(Clone, Copy)]
enum Step {
    Prepare,
    Run,
    Stop,
    Remove,
}

/// The replacement of a service's tasks, slot by slot, in the service's update order. Each call of
/// `next` makes one thing happen and tells it; the last makes the update `completed`.
#[must_use = "a rollout moves only as it is iterated; `finish` plays it to its end"]
pub struct Rollout {
    service: Service,
    steps: VecDeque<(Step, Task)>,
    new: Option<Task>,
    over: bool,
}

impl Rollout {
    /// Plays what is left of it.
    pub fn finish(self) {
        self.for_each(drop);
    }

    fn begin(&self, old: &Task) -> Task {
        let server = &self.service.server;
        let new = server.write(|world| {
            let id = world.begin(&self.service.id, old.slot, old.node.clone());
            world.set_state(&id, State::Preparing);
            world.tasks[&id].clone()
        });
        Task::of(server, &new)
    }
}

impl Iterator for Rollout {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        let Some((step, old)) = self.steps.pop_front() else {
            if !self.over {
                self.over = true;
                let id = &self.service.id;
                self.service.server.write(|world| world.set_update_status(id, "completed"));
            }
            return None;
        };
        Some(match step {
            Step::Prepare => {
                let new = self.begin(&old);
                self.new = Some(new.clone());
                Moment::Prepared(new)
            }
            Step::Run => {
                let new = self.new.take()?;
                new.becomes(State::Running);
                Moment::Running(new)
            }
            Step::Stop => {
                old.stop();
                Moment::Stopping(old)
            }
            Step::Remove => {
                old.gone();
                Moment::Gone(old)
            }
        })
    }
}

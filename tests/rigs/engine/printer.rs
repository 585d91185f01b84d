//! What the simulated engine answers, as text.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;

use super::json;
use super::world::{Service, State, Task, World};

/// What is asked for, by the name of the filter.
pub(super) type Filters = BTreeMap<String, Vec<String>>;

/// Prints lists, and keeps what it printed: when a long one is asked for again, little of it has
/// changed.
#[derive(Default)]
pub(super) struct Printer {
    /// With the index of the world that it shows.
    lists: BTreeMap<String, (u64, Bytes)>,
    services: Texts<Service>,
    tasks: Texts<Task>,
}

/// What was printed of each object, by its ID. The image and the networks' names of a task stay as
/// they were when it changed last.
struct Texts<T>(BTreeMap<String, (T, Arc<str>)>);

impl Printer {
    /// The body of a list, of `/info`, or of one service; none for a path that this engine does not
    /// know.
    pub(super) fn print(&mut self, world: &World, path: &str, filters: &Filters) -> Option<Bytes> {
        let key = format!("{path}{filters:?}");
        let printed = self.lists.get(&key).filter(|(index, _)| *index == world.index);
        if let Some((_, body)) = printed {
            return Some(body.clone());
        }
        let body = self.body(world, path, filters)?;
        self.lists.insert(key, (world.index, body.clone()));
        Some(body)
    }

    fn body(&mut self, world: &World, path: &str, filters: &Filters) -> Option<Bytes> {
        let mut items: Vec<Arc<str>> = match path {
            "/services" => {
                let services = world.services.iter();
                services.map(|(id, it)| self.services.print(id, it, json::service)).collect()
            }
            "/secrets" => texts(world.secrets.iter().map(|(id, name)| json::secret(id, name))),
            "/tasks" => {
                let print = |task: &Task| json::task(world, task).to_string();
                let is_asked = |task: &Task| {
                    asks(filters, "desired-state", |asked| state_of(asked) == Some(task.desired))
                };
                let tasks = world.tasks.iter().filter(|(_, task)| is_asked(task));
                tasks.map(|(id, task)| self.tasks.print(id, task, print)).collect()
            }
            "/networks" => {
                let local = asks(filters, "scope", |asked| asked == "local");
                let swarm = asks(filters, "scope", |asked| asked == "swarm");
                let networks = world.networks.values().filter(|_| swarm).map(json::network);
                texts(networks.chain(local.then(json::bridge)))
            }
            "/nodes" => texts(world.nodes.values().map(json::node)),
            "/info" => return Some(json::info(world).to_string().into()),
            other => return inspect(world, other),
        };
        items.extend(texts(world.odd.get(path).into_iter().flatten()));
        Some(format!("[{}]", items.join(",")).into())
    }
}

impl<T: Clone + PartialEq> Texts<T> {
    fn print(&mut self, id: &str, object: &T, print: impl FnOnce(&T) -> String) -> Arc<str> {
        match self.0.get(id) {
            Some((printed, text)) if printed == object => Arc::clone(text),
            _ => {
                let text: Arc<str> = print(object).into();
                self.0.insert(id.to_owned(), (object.clone(), Arc::clone(&text)));
                text
            }
        }
    }
}

impl<T> Default for Texts<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

fn texts(values: impl IntoIterator<Item: ToString>) -> Vec<Arc<str>> {
    values.into_iter().map(|value| value.to_string().into()).collect()
}

/// One service by ID or name, as `docker service inspect` asks for it.
fn inspect(world: &World, path: &str) -> Option<Bytes> {
    let asked = path.strip_prefix("/services/")?;
    let service = world.services.values().find(|it| it.id == asked || it.spec.name == asked)?;
    Some(json::service(service).into())
}

/// Whether a filter asks for such an object; without a value it asks for all.
fn asks(filters: &Filters, name: &str, is_such: impl Fn(&str) -> bool) -> bool {
    filters.get(name).is_none_or(|asked| asked.iter().any(|asked| is_such(asked)))
}

/// The desired states that Docker's filter takes.
fn state_of(filter: &str) -> Option<State> {
    match filter {
        "running" => Some(State::Running),
        "shutdown" => Some(State::Shutdown),
        "accepted" => Some(State::Accepted),
        _ => None,
    }
}

/// The `filters` of a query, in both forms that clients write: lists, and maps to `true`.
pub(super) fn filters(query: &str) -> Filters {
    let encoded =
        query.split('&').find_map(|pair| pair.strip_prefix("filters=")).unwrap_or_default();
    let Ok(Value::Object(filters)) = serde_json::from_str(&percent_decode(encoded)) else {
        return Filters::new();
    };
    let values = |value: Value| match value {
        Value::Array(list) => list.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect(),
        Value::Object(map) => map.into_iter().map(|(key, _)| key).collect(),
        _ => Vec::new(),
    };
    filters.into_iter().map(|(key, value)| (key, values(value))).collect()
}

fn percent_decode(encoded: &str) -> String {
    let mut bytes = encoded.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next(), bytes.next()].map(Option::unwrap_or_default);
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

//! The API of the simulated engine: answers, events, and the faults that a test asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use futures::{StreamExt, stream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::BroadcastStream;

use super::control::Watches;
use super::json;
use super::update;
use super::world::{State, World};

/// How an engine can fail.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An answer of this status with this message, in Docker's form.
    Status(u16, String),
    /// The head of a good answer, half of its body, and the end of the connection.
    CutBody,
    /// No answer, and no end of the connection.
    Hang,
    /// A good answer of a Swarm as it was when the photo was taken.
    Stale(Photo),
}

/// A Swarm as it was at one moment.
#[derive(Debug, Clone)]
pub struct Photo(Box<World>);

struct Planned {
    path: String,
    fault: Fault,
    left: usize,
}

/// A list as it was last printed, and the index of the world that it shows.
type Printed = (u64, Bytes);

pub(super) struct Server {
    api: (u32, u32),
    min_api: (u32, u32),
    world: Mutex<World>,
    events: Mutex<broadcast::Sender<Value>>,
    deaf: Mutex<bool>,
    faults: Mutex<Vec<Planned>>,
    requests: Mutex<BTreeMap<String, u64>>,
    versions: Mutex<BTreeSet<String>>,
    unversioned: Mutex<BTreeSet<String>>,
    printed: Mutex<BTreeMap<String, Printed>>,
    writes: Mutex<Vec<Write>>,
    pub(super) watches: Watches,
}

/// A request that is no read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Its method.
    pub method: String,
    /// Its path, without version.
    pub path: String,
    /// Its query.
    pub query: String,
    /// Its body.
    pub body: String,
}

impl Server {
    pub(super) fn new(api: (u32, u32), min_api: (u32, u32)) -> Self {
        Self {
            api,
            min_api,
            world: Mutex::new(World::new()),
            events: Mutex::new(broadcast::Sender::new(4096)),
            deaf: Mutex::new(false),
            faults: Mutex::default(),
            requests: Mutex::default(),
            versions: Mutex::default(),
            unversioned: Mutex::default(),
            printed: Mutex::default(),
            writes: Mutex::default(),
            watches: Watches::new(),
        }
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        read(&lock(&self.world))
    }

    /// Changes the world, tells those who watch, and sends the events of the change.
    pub(super) fn write<T>(&self, write: impl FnOnce(&mut World) -> T) -> T {
        let mut world = lock(&self.world);
        let before = self.watches.any().then(|| world.clone());
        let result = write(&mut world);
        if let Some(before) = before {
            self.watches.tell(&before, &world);
        }
        for event in std::mem::take(&mut world.outbox) {
            if !*lock(&self.deaf) {
                self.send_event(event);
            }
        }
        result
    }

    pub(super) fn send_event(&self, event: Value) {
        // No receiver: nobody listens.
        drop(lock(&self.events).send(event));
    }

    pub(super) fn lose_events(&self) {
        *lock(&self.deaf) = true;
    }

    pub(super) fn send_events(&self) {
        *lock(&self.deaf) = false;
    }

    pub(super) fn end_event_streams(&self) {
        *lock(&self.events) = broadcast::Sender::new(4096);
    }

    pub(super) fn plan(&self, path: &str, fault: Fault, times: usize) {
        lock(&self.faults).push(Planned { path: path.into(), fault, left: times });
    }

    pub(super) fn clear_faults(&self) {
        lock(&self.faults).clear();
    }

    pub(super) fn photo(&self) -> Photo {
        Photo(Box::new(self.read(World::clone)))
    }

    pub(super) fn requests(&self, path: &str) -> u64 {
        lock(&self.requests).get(path).copied().unwrap_or(0)
    }

    pub(super) fn versions(&self) -> BTreeSet<String> {
        lock(&self.versions).clone()
    }

    pub(super) fn unversioned(&self) -> BTreeSet<String> {
        lock(&self.unversioned).clone()
    }

    /// Answers one request, with the header by which clients negotiate their version.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let (major, minor) = self.api;
        let mut response = self.answer_body(request).await;
        if let Ok(version) = HeaderValue::try_from(format!("{major}.{minor}")) {
            response.headers_mut().insert("api-version", version);
        }
        Ok(response)
    }

    async fn answer_body(self: Arc<Self>, request: Request<Incoming>) -> Response {
        let (head, body) = request.into_parts();
        let (version, path) = split_version(head.uri.path());
        let path = path.to_owned();
        *lock(&self.requests).entry(path.clone()).or_default() += 1;
        let query = head.uri.query().unwrap_or_default().to_owned();
        let write = !matches!(head.method, Method::GET | Method::HEAD);
        let body = if write { whole(body).await } else { String::new() };
        if write {
            let (method, path) = (head.method.to_string(), path.clone());
            let (query, body) = (query.clone(), body.clone());
            lock(&self.writes).push(Write { method, path, query, body });
        }
        if let Some(version) = version {
            lock(&self.versions).insert(version.to_owned());
            if let Some(refusal) = self.refuse_version(version) {
                return refusal;
            }
        } else {
            lock(&self.unversioned).insert(path.clone());
        }
        let filters = filters(&query);
        match self.next_fault(&path) {
            None if write => self.take(&path, &query, body),
            None => self.good_answer(path, filters).await,
            Some(Fault::Status(status, message)) => refusal(status, &message),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Stale(Photo(world))) => body_answer(list(&world, &path, &filters)),
            Some(Fault::CutBody) => {
                cut(&self.read(|world| list(world, &path, &filters)).unwrap_or_default())
            }
        }
    }

    /// Takes the one write that it knows: the update of a service.
    fn take(&self, path: &str, query: &str, spec: String) -> Response {
        let asked = path.strip_prefix("/services/").and_then(|path| path.strip_suffix("/update"));
        let version = query.split('&').find_map(|pair| pair.strip_prefix("version=")?.parse().ok());
        let (Some(asked), Some(version)) = (asked, version) else {
            return refusal(403, "the simulated engine only takes updates of services");
        };
        match self.write(|world| update::take(world, asked, version, spec)) {
            Ok(()) => respond(
                StatusCode::OK,
                "application/json",
                Body::from(json!({"Warnings": null}).to_string()),
            ),
            Err((status, message)) => refusal(status, &message),
        }
    }

    pub(super) fn writes(&self) -> Vec<Write> {
        lock(&self.writes).clone()
    }

    fn next_fault(&self, path: &str) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let planned = faults.iter_mut().find(|it| it.left > 0 && path.starts_with(&it.path))?;
        planned.left -= 1;
        let fault = planned.fault.clone();
        faults.retain(|planned| planned.left > 0);
        Some(fault)
    }

    /// Docker's own answers to a version that it does not speak.
    fn refuse_version(&self, version: &str) -> Option<Response> {
        let (major, minor) = version.split_once('.')?;
        let asked = (major.parse().ok()?, minor.parse().ok()?);
        let message = |word: &str, bound: &str, (major, minor): (u32, u32)| {
            format!(
                "client version {version} is too {word}. {bound} supported API version is {major}.{minor}"
            )
        };
        if asked < self.min_api {
            Some(refusal(400, &message("old", "Minimum", self.min_api)))
        } else if asked > self.api {
            Some(refusal(400, &message("new", "Maximum", self.api)))
        } else {
            None
        }
    }

    async fn good_answer(self: Arc<Self>, path: String, filters: Filters) -> Response {
        match path.as_str() {
            "/_ping" => respond(StatusCode::OK, "text/plain; charset=utf-8", Body::from("OK")),
            "/version" => {
                body_answer(Some(json::version(self.api, self.min_api).to_string().into()))
            }
            "/events" => self.event_stream(&filters),
            _ => {
                // A long list takes long, and would keep whoever shares the thread from its work: the
                // engine's other connections, and a test that tells times.
                let printed = spawn_blocking(move || self.print(&path, &filters)).await;
                body_answer(printed.ok().flatten())
            }
        }
    }

    /// Prints the long lists in the form in which the controller asks for them.
    pub(super) fn print_lists(&self) {
        let running = ("desired-state".to_owned(), vec!["running".to_owned()]);
        for (path, filters) in [("/services", [].into()), ("/tasks", [running].into())] {
            let _printed = self.print(path, &filters);
        }
    }

    /// A list of the world as it is; printed anew only when the world has moved.
    fn print(&self, path: &str, filters: &Filters) -> Option<Bytes> {
        let world = lock(&self.world);
        let key = format!("{path}{filters:?}");
        let mut printed = lock(&self.printed);
        match printed.get(&key) {
            Some((index, body)) if *index == world.index => Some(body.clone()),
            _ => {
                let body = list(&world, path, filters)?;
                printed.insert(key, (world.index, body.clone()));
                Some(body)
            }
        }
    }

    fn event_stream(&self, filters: &Filters) -> Response {
        let kinds = filters.get("type").cloned().unwrap_or_default();
        let events = BroadcastStream::new(lock(&self.events).subscribe());
        let lines = events.filter_map(move |event| {
            let event = event.ok().filter(|event| {
                let kind = event["Type"].as_str().unwrap_or_default();
                kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind)
            });
            std::future::ready(event.map(|event| Ok::<_, Infallible>(format!("{event}\n"))))
        });
        respond(StatusCode::OK, "application/json", Body::from_stream(lines))
    }
}

type Filters = BTreeMap<String, Vec<String>>;

/// The `filters` of a query, in both forms that clients write: lists, and maps to `true`.
fn filters(query: &str) -> Filters {
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

/// The whole body of a request; nothing where it ends early.
async fn whole(body: Incoming) -> String {
    let body = body.collect().await;
    body.map_or_else(
        |_| String::new(),
        |body| String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    )
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

/// `/v1.44/tasks` is version `1.44` and path `/tasks`.
fn split_version(path: &str) -> (Option<&str>, &str) {
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let slash = rest.find('/')?;
        Some(rest.split_at(slash))
            .filter(|(version, _)| version.starts_with(|c: char| c.is_ascii_digit()))
    });
    versioned.map_or((None, path), |(version, path)| (Some(version), path))
}

/// The body of a list, of `/info`, or of one service; none for a path that this engine does not know.
fn list(world: &World, path: &str, filters: &Filters) -> Option<Bytes> {
    let desired = filters.get("desired-state");
    let scope = filters.get("scope");
    let mut items: Vec<Value> = match path {
        "/services" => return Some(services(world).into()),
        "/secrets" => world.secrets.iter().map(|(id, name)| json::secret(id, name)).collect(),
        "/tasks" => world
            .tasks
            .values()
            .filter(|task| match desired {
                Some(wanted) => wanted.iter().any(|it| state_of(it) == Some(task.desired)),
                None => true,
            })
            .map(|task| json::task(world, task))
            .collect(),
        "/networks" => {
            let local = scope.is_none_or(|scope| scope.iter().any(|it| it == "local"));
            let swarm = scope.is_none_or(|scope| scope.iter().any(|it| it == "swarm"));
            let networks = world.networks.values().filter(|_| swarm).map(json::network);
            networks.chain(local.then(json::bridge)).collect()
        }
        "/nodes" => world.nodes.values().map(json::node).collect(),
        "/info" => return Some(json::info(world).to_string().into()),
        other => return inspect(world, other),
    };
    items.extend(world.odd.get(path).into_iter().flatten().cloned());
    Some(Value::Array(items).to_string().into())
}

/// One service by ID or name, as `docker service inspect` asks for it.
fn inspect(world: &World, path: &str) -> Option<Bytes> {
    let asked = path.strip_prefix("/services/")?;
    let service = world.services.values().find(|it| it.id == asked || it.spec.name == asked)?;
    Some(json::service(service).into())
}

fn services(world: &World) -> String {
    let odd = world.odd.get("/services").into_iter().flatten().map(Value::to_string);
    let services: Vec<_> = world.services.values().map(json::service).chain(odd).collect();
    format!("[{}]", services.join(","))
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

fn body_answer(body: Option<Bytes>) -> Response {
    match body {
        Some(body) => respond(StatusCode::OK, "application/json", Body::from(body)),
        None => refusal(404, "page not found"),
    }
}

fn refusal(status: u16, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({"message": message}).to_string();
    respond(status, "application/json", Body::from(body))
}

/// The first half of a body under the length of the whole.
fn cut(body: &Bytes) -> Response {
    let half = body.slice(..body.len() / 2);
    let end = async {
        // Lets the server send what it has before it learns that there is no more.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("the simulated engine cuts this answer"))
    };
    let stream = stream::once(std::future::ready(Ok(half))).chain(stream::once(end));
    let mut response = respond(StatusCode::OK, "application/json", Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// Locks, whatever a panic of another test thread left behind.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

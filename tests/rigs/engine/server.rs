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
use super::printer::{self, Filters, Printer};
use super::update;
use super::world::World;

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
    printer: Mutex<Printer>,
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
            printer: Mutex::default(),
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
        let filters = printer::filters(&query);
        match self.next_fault(&path) {
            None if write => self.take(&path, &query, body),
            None => self.good_answer(path, filters).await,
            Some(Fault::Status(status, message)) => refusal(status, &message),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Stale(Photo(world))) => {
                body_answer(Printer::default().print(&world, &path, &filters))
            }
            Some(Fault::CutBody) => cut(&self.print(&path, &filters).unwrap_or_default()),
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

    fn print(&self, path: &str, filters: &Filters) -> Option<Bytes> {
        let world = lock(&self.world);
        lock(&self.printer).print(&world, path, filters)
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

/// The whole body of a request; nothing where it ends early.
async fn whole(body: Incoming) -> String {
    let body = body.collect().await;
    body.map_or_else(
        |_| String::new(),
        |body| String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    )
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

//! Envoy's callbacks → the decisions → calls of Envoy. Nothing is decided here.
//!
//! A map of headers is read as bytes and in its own callback only: Envoy takes the request's away
//! before the response comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::abi::{self, Map};
use crate::config::{
    ConfigError, InfoHeaders, METADATA_NAMESPACE, PIN_HEADER, PluginConfig, ROUTE_KEY, RouteConfig,
    SERVICE_KEY,
};
use crate::info;
use crate::pairs;
use crate::pin::{Evidence, Session, Transport};
use crate::token::KeyRing;

/// What one VM knows. A plugin's new configuration comes as a new root beside the old one, whose
/// streams go on.
#[derive(Default)]
struct Vm {
    roots: BTreeMap<u32, Rc<Plugin>>,
    streams: BTreeMap<u32, Stream>,
}

struct Plugin {
    keys: KeyRing,
    info_headers: InfoHeaders,
}

struct Stream {
    plugin: Rc<Plugin>,
    /// When the request came, in nanoseconds since 1970; `None` before.
    started: Option<u64>,
    /// `None` off sticky routes.
    session: Option<Session>,
}

thread_local! {
    static VM: RefCell<Vm> = RefCell::default();
}

/// Envoy never calls back from within a call of ours, so the VM is always free.
fn with_vm<T>(act: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|vm| vm.try_borrow_mut().ok().map(|mut vm| act(&mut vm)))
}

pub(crate) fn on_context_create(context: u32, root: u32) {
    with_vm(|vm| {
        if let Some(plugin) = vm.roots.get(&root).cloned() {
            vm.streams.insert(context, Stream { plugin, started: None, session: None });
        }
    });
}

pub(crate) fn on_configure(root: u32, size: usize) -> bool {
    let plugin = match configure(size) {
        Ok(plugin) => Rc::new(plugin),
        Err(error) => {
            abi::log_error(&format!("waggle: {error}"));
            return false;
        }
    };
    with_vm(|vm| vm.roots.insert(root, plugin)).is_some()
}

fn configure(size: usize) -> Result<Plugin, ConfigError> {
    let config = PluginConfig::decode(&abi::configuration(size).unwrap_or_default())?;
    Ok(Plugin { keys: KeyRing::new(&config.keys)?, info_headers: config.info_headers })
}

pub(crate) fn on_delete(context: u32) {
    with_vm(|vm| {
        vm.streams.remove(&context);
        vm.roots.remove(&context);
    });
}

pub(crate) fn on_request_headers(context: u32) {
    with_vm(|vm| vm.streams.get_mut(&context).map(request));
}

fn request(stream: &mut Stream) {
    stream.started = abi::now();
    stream.session = sticky_request(stream);
    match stream.session.as_ref().and_then(Session::pin) {
        Some(pin) => abi::set_header(Map::Request, PIN_HEADER, pin.as_bytes()),
        None => abi::remove_header(Map::Request, PIN_HEADER),
    }
}

fn sticky_request(stream: &Stream) -> Option<Session> {
    let route = ["xds", "route_metadata", "filter_metadata", METADATA_NAMESPACE, ROUTE_KEY];
    let route = RouteConfig::unpack(&abi::property(&route)?)?;
    let headers = abi::headers(Map::Request)?;
    let scheme = pairs::values(&headers, ":scheme").next();
    let transport = if scheme == Some(b"https") { Transport::Tls } else { Transport::Plain };
    let cookies: Vec<_> = pairs::values(&headers, "cookie").collect();
    let now = seconds(stream.started?);
    let keys = &stream.plugin.keys;
    let (session, rest) = Session::open(route, transport, cookies.iter().copied(), keys, now);
    if let Some(lines) = rest {
        abi::remove_header(Map::Request, "cookie");
        for line in lines {
            abi::add_header(Map::Request, "cookie", &line);
        }
    }
    Some(session)
}

pub(crate) fn on_response_headers(context: u32) {
    with_vm(|vm| vm.streams.get(&context).map(response));
}

fn response(stream: &Stream) {
    let shown = stream.plugin.info_headers == InfoHeaders::Shown;
    if !shown && stream.session.is_none() {
        return;
    }
    // `stateful_session` names the endpoint too, in a header that a task could send; this it cannot.
    let endpoint = abi::property(&["upstream", "address"]);
    let now = abi::now();
    if let (Some(session), Some(now)) = (&stream.session, now) {
        sticky_response(session, &stream.plugin.keys, endpoint.as_deref(), seconds(now));
    }
    if shown {
        let times = stream.started.zip(now).filter(|_| endpoint.is_some());
        let time = times.map(|(start, end)| info::response_time(start, end).into_bytes());
        show(info::UPSTREAM_ADDR, endpoint);
        show(info::UPSTREAM_RESPONSE_TIME, time);
    }
}

fn sticky_response(session: &Session, keys: &KeyRing, endpoint: Option<&[u8]>, now: u64) {
    abi::remove_header(Map::Response, PIN_HEADER);
    let address = endpoint.and_then(|text| str::from_utf8(text).ok()?.parse().ok());
    let (Some(address), Some(headers)) = (address, abi::headers(Map::Response)) else { return };
    let set_cookies = pairs::values(&headers, "set-cookie");
    let lines = session.respond(address, set_cookies, keys, now, evidence);
    for line in lines {
        abi::add_header(Map::Response, "set-cookie", line.as_bytes());
    }
}

fn evidence() -> Evidence {
    let owner =
        ["xds", "upstream_host_metadata", "filter_metadata", METADATA_NAMESPACE, SERVICE_KEY];
    Evidence {
        code_details: abi::property(&["response", "code_details"]),
        service: abi::property(&owner),
        nonce: abi::nonce(),
    }
}

/// Puts our value in place of whatever the task sent.
fn show(name: &str, value: Option<Vec<u8>>) {
    match value {
        Some(value) => abi::set_header(Map::Response, name, &value),
        None => abi::remove_header(Map::Response, name),
    }
}

fn seconds(nanoseconds: u64) -> u64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs()
}

//! Envoy's callbacks → the decisions → calls of Envoy. Nothing is decided here.
//!
//! A map of headers is read as bytes and in its own callback only: Envoy takes the request's away
//! before the response comes.
//!
//! `proxy-wasm` keeps the contexts and gives each callback to its own. Its dispatcher panics only on
//! the ID of a context that is not there or is made twice, and IDs are Envoy's. Nothing here calls out
//! (HTTP, gRPC, foreign functions), so the callbacks that answer such calls never come.
//!
//! The crate exports every callback of the ABI, and Envoy makes each that is exported and allowed
//! (`VmConfig.capability_restriction_config`), whatever it returns. So Envoy also enters the VM, to no
//! effect, for bodies, trailers and the log. A build without these exports would save one call of the
//! VM for each piece of a body.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MapType};

use crate::abi;
use crate::config::{
    ConfigError, InfoHeaders, METADATA_NAMESPACE, PIN_HEADER, PluginConfig, ROUTE_KEY, RouteConfig,
    SERVICE_KEY,
};
use crate::info;
use crate::pairs;
use crate::pin::{Evidence, Session, Transport};
use crate::token::KeyRing;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root(None)));
}}

/// One configuration of the plugin. A new one comes as a new root beside the old one, whose streams
/// go on. `None` until it is read; Envoy gives a root that could not read it no streams.
struct Root(Option<Rc<Plugin>>);

struct Plugin {
    keys: KeyRing,
    info_headers: InfoHeaders,
}

/// One request and its response.
struct Stream {
    plugin: Rc<Plugin>,
    /// When the request came, in nanoseconds since 1970; `None` before.
    started: Option<u64>,
    /// `None` off sticky routes.
    session: Option<Session>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        match configure(size) {
            Ok(plugin) => {
                self.0 = Some(Rc::new(plugin));
                true
            }
            Err(error) => {
                abi::log_error(&format!("waggle: {error}"));
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        match &self.0 {
            Some(plugin) => {
                let plugin = Rc::clone(plugin);
                Some(Box::new(Stream { plugin, started: None, session: None }))
            }
            None => Some(Box::new(Idle)),
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        request(self);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        response(self);
        Action::Continue
    }
}

/// A stream of a root without a configuration: where there is none, the crate panics.
struct Idle;

impl Context for Idle {}

impl HttpContext for Idle {}

fn configure(size: usize) -> Result<Plugin, ConfigError> {
    let config = PluginConfig::decode(&abi::configuration(size).unwrap_or_default())?;
    Ok(Plugin { keys: KeyRing::new(&config.keys)?, info_headers: config.info_headers })
}

fn request(stream: &mut Stream) {
    stream.started = abi::now();
    stream.session = sticky_request(stream);
    match stream.session.as_ref().and_then(Session::pin) {
        Some(pin) => abi::set_header(MapType::HttpRequestHeaders, PIN_HEADER, pin.as_bytes()),
        None => abi::remove_header(MapType::HttpRequestHeaders, PIN_HEADER),
    }
}

fn sticky_request(stream: &Stream) -> Option<Session> {
    let route = ["xds", "route_metadata", "filter_metadata", METADATA_NAMESPACE, ROUTE_KEY];
    let route = RouteConfig::unpack(&abi::property(&route)?)?;
    let headers = abi::headers(MapType::HttpRequestHeaders)?;
    let scheme = pairs::values(&headers, ":scheme").next();
    let transport = if scheme == Some(b"https") { Transport::Tls } else { Transport::Plain };
    let cookies: Vec<_> = pairs::values(&headers, "cookie").collect();
    let now = seconds(stream.started?);
    let keys = &stream.plugin.keys;
    let (session, rest) = Session::open(route, transport, cookies.iter().copied(), keys, now);
    if let Some(lines) = rest {
        abi::remove_header(MapType::HttpRequestHeaders, "cookie");
        for line in lines {
            abi::add_header(MapType::HttpRequestHeaders, "cookie", &line);
        }
    }
    Some(session)
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
    abi::remove_header(MapType::HttpResponseHeaders, PIN_HEADER);
    let address = endpoint.and_then(|text| str::from_utf8(text).ok()?.parse().ok());
    let (Some(address), Some(headers)) = (address, abi::headers(MapType::HttpResponseHeaders))
    else {
        return;
    };
    let set_cookies = pairs::values(&headers, "set-cookie");
    let lines = session.respond(address, set_cookies, keys, now, evidence);
    for line in lines {
        abi::add_header(MapType::HttpResponseHeaders, "set-cookie", line.as_bytes());
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
        Some(value) => abi::set_header(MapType::HttpResponseHeaders, name, &value),
        None => abi::remove_header(MapType::HttpResponseHeaders, name),
    }
}

fn seconds(nanoseconds: u64) -> u64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs()
}

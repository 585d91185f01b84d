//! Envoy's callbacks → the decisions → calls of Envoy. Nothing is decided here.
//!
//! A call costs a quarter of a microsecond, one that returns bytes a whole one: Envoy has to ask the
//! VM for memory first. So each is made only where its answer matters, and those that mostly find
//! nothing are cheap. A map of headers is there in its own callback only: Envoy takes the request's
//! away before the response comes.
//!
//! `proxy-wasm` keeps the contexts and gives each callback to its own. Its dispatcher panics only on
//! the ID of a context that is not there or is made twice, and IDs are Envoy's. The crate exports
//! every callback of the ABI; Envoy makes only those that the controller lists as allowed
//! ([`CAPABILITIES`](crate::config::CAPABILITIES)).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MapType};

use crate::abi;
use crate::config::{
    ConfigError, InfoHeaders, PIN_HEADER, PluginConfig, SERVICE_PROPERTY, Sessions,
};
use crate::info;
use crate::opened::Opener;
use crate::pairs;
use crate::pin::{Edits, Evidence, Response, Session, Transport};
use crate::token::KeyRing;

const REQUEST: MapType = MapType::HttpRequestHeaders;
const RESPONSE: MapType = MapType::HttpResponseHeaders;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root(None)));
}}

/// One configuration of the plugin. A new one comes as a new root beside the old one, whose streams
/// go on. `None` until it is read; Envoy gives a root that could not read it no streams.
struct Root(Option<Rc<Plugin>>);

struct Plugin {
    /// `None` on routes that are not sticky.
    opener: Option<RefCell<Opener>>,
    info_headers: InfoHeaders,
}

/// One request and its response.
struct Stream {
    /// `None` of a root without a configuration.
    plugin: Option<Rc<Plugin>>,
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
        Some(Box::new(Stream { plugin: self.0.clone(), session: None }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.session = self.plugin.as_ref().and_then(|plugin| request(plugin.opener.as_ref()?));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(plugin) = &self.plugin else { return Action::Continue };
        if let (Some(session), Some(opener)) = (&self.session, &plugin.opener) {
            response(session, opener);
        }
        if plugin.info_headers == InfoHeaders::Shown {
            show_response_time();
        }
        Action::Continue
    }
}

fn configure(size: usize) -> Result<Plugin, ConfigError> {
    let config = PluginConfig::decode(&abi::configuration(size).unwrap_or_default())?;
    let opener = match config.sessions {
        Sessions::Kept => Some(RefCell::new(Opener::new(KeyRing::new(&config.keys)?))),
        Sessions::Left => None,
    };
    Ok(Plugin { opener, info_headers: config.info_headers })
}

/// Sends a request where its session is.
fn request(opener: &RefCell<Opener>) -> Option<Session> {
    let route = abi::property("xds\0route_name").filter(|name| !name.is_empty())?;
    // All of them: one header by its name costs as much, and would be the first line of several.
    let headers = abi::headers(REQUEST)?;
    let cookies: Vec<&[u8]> = pairs::values(&headers, "cookie").collect();
    let opener = &mut opener.try_borrow_mut().ok()?;
    let now = seconds(abi::now()?);
    let transport = match pairs::values(&headers, ":scheme").next() {
        Some(b"https") => Transport::Tls,
        _ => Transport::Plain,
    };
    let (session, rest) = Session::open(route, transport, &cookies, opener, now)?;
    if let Some(lines) = rest {
        abi::replace_header(REQUEST, "cookie", &lines);
    }
    match session.pin() {
        Some(pin) => abi::set_header(REQUEST, PIN_HEADER, pin.as_bytes()),
        None => abi::remove_header(REQUEST, PIN_HEADER),
    }
    Some(session)
}

fn response(session: &Session, opener: &RefCell<Opener>) {
    let cue = abi::header(RESPONSE, PIN_HEADER);
    if cue.is_some() {
        abi::remove_header(RESPONSE, PIN_HEADER);
    }
    let set_cookie = abi::header(RESPONSE, "set-cookie");
    if Session::is_settled(cue.as_deref(), set_cookie.as_deref()) {
        return;
    }
    let (Some(now), Some(map), Ok(opener)) =
        (abi::now(), abi::headers(RESPONSE), opener.try_borrow())
    else {
        return;
    };
    // The cue names the endpoint too; this no task can write.
    let address = abi::property("upstream\0address");
    let endpoint = address.and_then(|text| str::from_utf8(&text).ok()?.parse().ok());
    let headers = Response {
        set_cookies: pairs::values(&map, "set-cookie").collect(),
        cache_control: pairs::values(&map, "cache-control").collect(),
    };
    apply(&session.respond(endpoint, &headers, opener.keys(), seconds(now), evidence));
}

fn apply(edits: &Edits) {
    if let Some(kept) = &edits.kept {
        abi::replace_header(RESPONSE, "set-cookie", kept);
    }
    for line in &edits.added {
        abi::add_header(RESPONSE, "set-cookie", line.as_bytes());
    }
    if let Some(value) = &edits.cache_control {
        abi::set_header(RESPONSE, "cache-control", value);
    }
}

fn evidence() -> Evidence {
    Evidence {
        code_details: abi::property("response\0code_details"),
        service: abi::property(SERVICE_PROPERTY),
        nonce: abi::nonce(),
    }
}

/// Makes seconds of the number that Envoy wrote. Where no endpoint answered it wrote none: then the
/// time is the request's, if there was an endpoint to try.
fn show_response_time() {
    let time = match abi::header(RESPONSE, info::UPSTREAM_RESPONSE_TIME) {
        Some(written) => info::response_time(&written),
        None if abi::property("upstream\0address").is_none() => return,
        None => abi::nanoseconds("request\0time")
            .zip(abi::now())
            .map(|(start, now)| info::elapsed(start, now)),
    };
    match time {
        Some(time) => abi::set_header(RESPONSE, info::UPSTREAM_RESPONSE_TIME, time.as_bytes()),
        None => abi::remove_header(RESPONSE, info::UPSTREAM_RESPONSE_TIME),
    }
}

fn seconds(nanoseconds: u64) -> u64 {
    Duration::from_nanos(nanoseconds).as_secs()
}

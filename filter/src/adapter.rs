//! Envoy's callbacks → the decisions → calls of Envoy. Nothing is decided here.
//!
//! A call that returns bytes costs ten times one that does not: Envoy has to ask the VM for memory
//! first. A map of headers is there in its own callback only.
//!
//! `proxy-wasm` keeps the contexts and gives each callback to its own. Its dispatcher panics only on
//! the ID of a context that is not there or is made twice, and IDs are Envoy's. Of the crate's exports
//! Envoy calls those that are listed as allowed ([`CAPABILITIES`](crate::config::CAPABILITIES)).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MapType};

use crate::abi;
use crate::config::{InfoHeaders, PIN_HEADER, ROUTE_HEADER, SERVICE_PROPERTY};
use crate::info;
use crate::opened::{Opener, Refused};
use crate::pairs;
use crate::pin::{Edits, Evidence, Response, Session, Transport};
use crate::plugin::Plugin;

const REQUEST: MapType = MapType::HttpRequestHeaders;
const RESPONSE: MapType = MapType::HttpResponseHeaders;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root(None)));
}}

/// One configuration of the plugin. A new one comes as a new root beside the old one, whose streams
/// go on. `None` until it is read; Envoy gives a root that could not read it no streams.
struct Root(Option<Rc<Shared>>);

/// What the streams of a root share.
struct Shared {
    plugin: Plugin,
    counters: Vec<(Refused, u32)>,
}

/// One request and its response.
struct Stream {
    /// `None` of a root without a configuration.
    shared: Option<Rc<Shared>>,
    /// When the request came, since 1970.
    started: Option<Duration>,
    /// `None` off sticky routes.
    session: Option<Session>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        match Plugin::read(&abi::configuration(size).unwrap_or_default()) {
            Ok(plugin) => {
                let counter = |it: Refused| Some((it, abi::counter(it.counter())?));
                let counters = Refused::ALL.into_iter().filter_map(counter).collect();
                self.0 = Some(Rc::new(Shared { plugin, counters }));
                true
            }
            Err(error) => {
                abi::log_error(&format!("waggle: {error}"));
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { shared: self.0.clone(), started: None, session: None }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        #[cfg(feature = "panic-for-tests")]
        crate::panics::if_asked_for();
        self.started = abi::now();
        let known = self.shared.as_ref().zip(self.started);
        self.session = known.and_then(|(shared, now)| request(shared, now.as_secs()));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(Shared { plugin, .. }) = self.shared.as_deref() else { return Action::Continue };
        if let (Some(session), Some(opener)) = (&self.session, &plugin.opener) {
            response(session, opener);
        }
        if plugin.info_headers == InfoHeaders::Shown {
            show_response_time(self.started);
        }
        Action::Continue
    }
}

/// Sends a request where its session is. `now` is in seconds since 1970.
fn request(shared: &Shared, now: u64) -> Option<Session> {
    let opener = shared.plugin.opener.as_ref()?;
    // All of them: one by its name costs as much, and would be the first line of several.
    let headers = abi::headers(REQUEST)?;
    let (mut route, mut cookies, mut transport) = (None, Vec::new(), Transport::Plain);
    for (name, value) in pairs::pairs(&headers) {
        match name {
            b"cookie" => cookies.push(value),
            // Not `:scheme`: over HTTP/2 that is of the last hop, also where one in front is believed.
            b"x-forwarded-proto" if value == b"https" => transport = Transport::Tls,
            name if name == ROUTE_HEADER.as_bytes() => route = Some(value),
            _ => {}
        }
    }
    let opener = &mut opener.try_borrow_mut().ok()?;
    let (session, rest) = Session::open(route?, transport, &cookies, opener, now)?;
    for why in session.refused() {
        let counter = shared.counters.iter().find(|(counted, _)| counted == why);
        counter.into_iter().for_each(|(_, id)| abi::count(*id));
    }
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
    apply(&session.respond(endpoint, &headers, opener.keys(), now.as_secs(), evidence));
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

/// Tells how long the endpoint took. Envoy marked the replies for which it found none; a request that
/// was tried again may be marked and have one.
fn show_response_time(started: Option<Duration>) {
    let is_marked = abi::header(RESPONSE, info::UPSTREAM_RESPONSE_TIME).is_some();
    let had_endpoint = !is_marked || abi::property("upstream\0address").is_some();
    let times = started.zip(abi::now()).filter(|_| had_endpoint);
    match times.map(|(start, end)| info::response_time(start, end)) {
        Some(time) => abi::set_header(RESPONSE, info::UPSTREAM_RESPONSE_TIME, time.as_bytes()),
        None => abi::remove_header(RESPONSE, info::UPSTREAM_RESPONSE_TIME),
    }
}

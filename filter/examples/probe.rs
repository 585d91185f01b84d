//! A filter that makes one call of Envoy many times over, for `make bench`: what each call costs. The
//! configuration names the call.

#![cfg(target_os = "wasi")]

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MapType};

/// How often a request makes the call.
const TIMES: u32 = 20;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root(Call::Nothing)));
}}

struct Root(Call);

struct Stream(Call);

#[derive(Clone, Copy)]
enum Call {
    Nothing,
    Clock,
    RouteName,
    Cookies,
    Header,
    MissingHeader,
    AllHeaders,
    SetHeader,
    RemoveMissing,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let name = self.get_plugin_configuration().unwrap_or_default();
        self.0 = match name.as_slice() {
            b"clock" => Call::Clock,
            b"route name" => Call::RouteName,
            b"joined cookies" => Call::Cookies,
            b"header" => Call::Header,
            b"missing header" => Call::MissingHeader,
            b"all headers" => Call::AllHeaders,
            b"set header" => Call::SetHeader,
            b"remove missing header" => Call::RemoveMissing,
            _ => Call::Nothing,
        };
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream(self.0)))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let map = MapType::HttpRequestHeaders;
        for _ in 0..TIMES {
            match self.0 {
                Call::Nothing => {}
                Call::Clock => drop(hostcalls::get_current_time()),
                Call::RouteName => drop(hostcalls::get_property(vec!["xds", "route_name"])),
                Call::Cookies => drop(self.get_property(vec!["request", "headers", "cookie"])),
                Call::Header => drop(hostcalls::get_map_value_bytes(map, "cookie")),
                Call::MissingHeader => drop(hostcalls::get_map_value_bytes(map, "x-missing")),
                Call::AllHeaders => drop(hostcalls::get_map_bytes(map)),
                Call::SetHeader => drop(hostcalls::set_map_value(map, "x-set", Some("value"))),
                Call::RemoveMissing => drop(hostcalls::set_map_value(map, "x-missing", None)),
            }
        }
        Action::Continue
    }
}

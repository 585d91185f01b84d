//! A filter that does nothing: what any Rust filter costs, for `make bench`.

#![cfg(target_os = "wasi")]

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

struct Stream;

impl proxy_wasm::traits::Context for Root {}

impl proxy_wasm::traits::RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn proxy_wasm::traits::HttpContext>> {
        Some(Box::new(Stream))
    }

    fn get_type(&self) -> Option<proxy_wasm::types::ContextType> {
        Some(proxy_wasm::types::ContextType::HttpContext)
    }
}

impl proxy_wasm::traits::Context for Stream {}

impl proxy_wasm::traits::HttpContext for Stream {}

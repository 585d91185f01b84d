//! A panic on request, so that tests see what becomes of Envoy: with the feature `panic-for-tests` alone.

use proxy_wasm::types::MapType;

use crate::{abi, pairs};

/// The request header that asks for it.
const HEADER: &str = "x-waggle-panic";

/// Panics if the request asks for it.
pub(crate) fn if_asked_for() {
    let headers = abi::headers(MapType::HttpRequestHeaders).unwrap_or_default();
    assert!(pairs::values(&headers, HEADER).next().is_none(), "asked for by {HEADER}");
}

//! What the module offers to Envoy and asks of it: no more than is known here.

use std::collections::BTreeSet;

use waggle_filter::config::CAPABILITIES;

use crate::host;

/// What Envoy needs to load the module.
const LOADED_BY: &str = "_initialize memory proxy_abi_version_0_2_1 proxy_on_memory_allocate";

/// What the `proxy-wasm` crate exports besides. Envoy calls none of it: it is not on the list of
/// [`CAPABILITIES`].
const IDLE_EXPORTS: &str = "
    proxy_on_done proxy_on_log
    proxy_on_request_body proxy_on_request_trailers proxy_on_response_body proxy_on_response_trailers
    proxy_on_new_connection proxy_on_downstream_data proxy_on_downstream_connection_close
    proxy_on_upstream_data proxy_on_upstream_connection_close
    proxy_on_grpc_receive_initial_metadata proxy_on_grpc_receive
    proxy_on_grpc_receive_trailing_metadata proxy_on_grpc_close
    proxy_on_http_call_response proxy_on_foreign_function proxy_on_queue_ready proxy_on_tick";

/// What the `proxy-wasm` crate imports besides. The tests' host ends the VM if one is called.
const IDLE_IMPORTS: &str = "
    proxy_set_header_map_pairs proxy_set_buffer_bytes proxy_set_property
    proxy_get_shared_data proxy_set_shared_data
    proxy_register_shared_queue proxy_resolve_shared_queue proxy_enqueue_shared_queue
    proxy_dequeue_shared_queue
    proxy_http_call proxy_grpc_call proxy_grpc_stream proxy_grpc_send proxy_grpc_cancel
    proxy_grpc_close proxy_get_status proxy_call_foreign_function
    proxy_send_local_response proxy_continue_stream proxy_close_stream
    proxy_set_tick_period_milliseconds proxy_set_effective_context proxy_done";

/// What Envoy may call of the filter, and what the filter may call.
fn capabilities() -> (Vec<&'static str>, Vec<&'static str>) {
    CAPABILITIES.into_iter().partition(|name| name.starts_with("proxy_on_"))
}

fn names(lists: &[&'static str], more: Vec<&'static str>) -> BTreeSet<&'static str> {
    lists.iter().flat_map(|list| list.split_whitespace()).chain(more).collect()
}

#[test]
fn the_module_is_under_300_kib() {
    assert!(host::size() < 300 * 1024, "{} bytes", host::size());
}

#[test]
fn the_module_exports_the_crates_callbacks_and_nothing_else() {
    let (callbacks, _) = capabilities();
    assert_eq!(host::exports(), names(&[LOADED_BY, IDLE_EXPORTS], callbacks));
}

#[test]
fn the_module_imports_what_is_known_and_nothing_else() {
    let (_, calls) = capabilities();
    assert_eq!(host::imports(), names(&[IDLE_IMPORTS], calls));
}

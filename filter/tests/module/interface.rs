//! What the module offers to Envoy and asks of it: no more than is known here.

use std::collections::BTreeSet;

use crate::host;

/// What the filter does something in, or cannot be loaded without.
const NEEDED_EXPORTS: &str = "
    _initialize memory proxy_abi_version_0_2_1 proxy_on_memory_allocate
    proxy_on_context_create proxy_on_configure proxy_on_request_headers proxy_on_response_headers
    proxy_on_done proxy_on_delete";

/// What the `proxy-wasm` crate exports besides. Envoy calls the first two lines, to no effect.
const IDLE_EXPORTS: &str = "
    proxy_on_vm_start proxy_on_log
    proxy_on_request_body proxy_on_request_trailers proxy_on_response_body proxy_on_response_trailers
    proxy_on_new_connection proxy_on_downstream_data proxy_on_downstream_connection_close
    proxy_on_upstream_data proxy_on_upstream_connection_close
    proxy_on_grpc_receive_initial_metadata proxy_on_grpc_receive
    proxy_on_grpc_receive_trailing_metadata proxy_on_grpc_close
    proxy_on_http_call_response proxy_on_foreign_function proxy_on_queue_ready proxy_on_tick";

/// What the filter and, in the last line, Rust's standard library call.
const NEEDED_IMPORTS: &str = "
    proxy_log proxy_get_current_time_nanoseconds proxy_get_property proxy_get_buffer_bytes
    proxy_get_header_map_value proxy_get_header_map_pairs proxy_add_header_map_value proxy_replace_header_map_value
    proxy_remove_header_map_value random_get
    environ_get environ_sizes_get fd_write proc_exit";

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

fn names(lists: [&'static str; 2]) -> BTreeSet<&'static str> {
    lists.into_iter().flat_map(str::split_whitespace).collect()
}

#[test]
fn the_module_exports_the_crates_callbacks_and_nothing_else() {
    assert_eq!(host::exports(), names([NEEDED_EXPORTS, IDLE_EXPORTS]));
}

#[test]
fn the_module_imports_what_is_known_and_nothing_else() {
    assert_eq!(host::imports(), names([NEEDED_IMPORTS, IDLE_IMPORTS]));
}

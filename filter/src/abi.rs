//! The calls of Envoy that we make (Proxy-Wasm 0.2.1). All unsafe code is here.
//!
//! The `proxy-wasm` crate has them too, but each of its calls panics on a status that it does not
//! expect, and its maps on a header name that is not UTF-8: that ends the VM and cuts all its
//! streams. Here any status but `Ok` is `None`, and headers are bytes.

#![allow(unsafe_code)]

use std::time::Duration;

use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};

use crate::token::Nonce;

/// Statuses stay numbers here: Envoy has some that `Status` lacks.
const OK: u32 = Status::Ok as u32;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, value: *mut *mut u8, value_size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(buffer: *mut u8, size: usize) -> u16;
}

/// Writes to Envoy's log.
pub(crate) fn log_error(text: &str) {
    // SAFETY: the host reads the text during the call.
    unsafe { proxy_log(LogLevel::Error as u32, text.as_ptr(), text.len()) };
}

/// Makes a counter in Envoy's statistics, or finds it.
pub(crate) fn counter(name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the host reads the name and writes the number during the call.
    let status = unsafe {
        proxy_define_metric(MetricType::Counter as u32, name.as_ptr(), name.len(), &raw mut id)
    };
    (status == OK).then_some(id)
}

/// Adds one to a counter.
pub(crate) fn count(counter: u32) {
    // SAFETY: numbers alone.
    unsafe { proxy_increment_metric(counter, 1) };
}

/// The time since 1970.
pub(crate) fn now() -> Option<Duration> {
    let mut time = 0;
    // SAFETY: the host writes one u64 during the call.
    let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
    (status == OK).then_some(Duration::from_nanos(time))
}

/// An attribute of Envoy, by the steps to it, with a NUL between them.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: the host reads the path during the call.
    taken(|value, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), value, size) })
}

/// The plugin's configuration, `size` bytes long.
pub(crate) fn configuration(size: usize) -> Option<Vec<u8>> {
    // SAFETY: only the results are written.
    taken(|value, out| unsafe {
        proxy_get_buffer_bytes(BufferType::PluginConfiguration as u32, 0, size, value, out)
    })
}

/// The first line of this name.
pub(crate) fn header(map: MapType, name: &str) -> Option<Vec<u8>> {
    let (map, length) = (map as u32, name.len());
    // SAFETY: the host reads the name during the call.
    taken(|value, size| unsafe {
        proxy_get_header_map_value(map, name.as_ptr(), length, value, size)
    })
}

/// All headers, as [`crate::pairs`] reads them. Each map is there in its own callback only.
pub(crate) fn headers(map: MapType) -> Option<Vec<u8>> {
    // SAFETY: only the results are written.
    taken(|value, size| unsafe { proxy_get_header_map_pairs(map as u32, value, size) })
}

/// Puts one line in place of all lines of this name.
pub(crate) fn set_header(map: MapType, name: &str, value: &[u8]) {
    let (map, size) = (map as u32, name.len());
    // SAFETY: the host reads name and value during the call.
    unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), size, value.as_ptr(), value.len());
    }
}

/// Puts these lines in place of all lines of this name.
pub(crate) fn replace_header(map: MapType, name: &str, lines: &[Vec<u8>]) {
    match lines {
        [line] => set_header(map, name, line),
        lines => {
            remove_header(map, name);
            lines.iter().for_each(|line| add_header(map, name, line));
        }
    }
}

/// Adds a line.
pub(crate) fn add_header(map: MapType, name: &str, value: &[u8]) {
    let (map, size) = (map as u32, name.len());
    // SAFETY: the host reads name and value during the call.
    unsafe { proxy_add_header_map_value(map, name.as_ptr(), size, value.as_ptr(), value.len()) };
}

/// Removes all lines of this name.
pub(crate) fn remove_header(map: MapType, name: &str) {
    // SAFETY: the host reads the name during the call.
    unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
}

/// Fresh random bytes.
pub(crate) fn nonce() -> Option<Nonce> {
    let mut nonce = Nonce::default();
    // SAFETY: the host writes that many bytes during the call. WASI is asked itself because `std`
    // has no stable way to, and because a failure must be no panic.
    let errno = unsafe { random_get(nonce.as_mut_ptr(), nonce.len()) };
    (errno == 0).then_some(nonce)
}

/// Takes over the bytes that a call returns.
fn taken(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (mut value, mut size) = (std::ptr::null_mut(), 0);
    if call(&raw mut value, &raw mut size) != OK {
        return None;
    }
    if value.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: the host got `value` from the crate's `proxy_on_memory_allocate`, which boxes a slice
    // of `size` bytes, has filled them, and has given them up.
    let bytes = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(value, size)) };
    Some(bytes.into_vec())
}

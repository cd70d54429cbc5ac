//! The border with the host: proxy-wasm ABI 0.2.1, both ways, and the only unsafe code of the filter.
//!
//! ```text
//!   Envoy ──► proxy_on_*  (exports, below) ──► contexts.rs ──► root.rs, http.rs
//!   Envoy ◄── proxy_*     (imports, below) ◄── host.rs
//! ```
//!
//! The Rust SDK is not used, because the host calls a module for whatever it exports, and the SDK exports all: of
//! its eight calls for a chat, three (`on_log`, `on_done`, trailers of answers) tell nothing that is not known
//! otherwise, and each is a way into V8 and back. It also copies every header into strings of their own, and
//! panics where the host answers with a status that it does not expect.

#![expect(unsafe_code, reason = "an ABI of raw pointers: each block says why its pointers are good")]
#![expect(unreachable_pub, reason = "exports must be `pub`, and nobody but the host uses them")]

use crate::contexts;
use std::mem::MaybeUninit;

/// What a callback tells the host to do with the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Action {
    /// Goes on.
    Continue = 0,
    /// Stays where it is.
    Pause = 1,
}

/// A status of the host other than "ok".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// Headers of the request, in `map` arguments.
pub(crate) const REQUEST_HEADERS: u32 = 0;
/// Headers of the answer.
pub(crate) const RESPONSE_HEADERS: u32 = 2;
/// The request's body, in `buffer` arguments.
pub(crate) const REQUEST_BODY: u32 = 0;
/// The current piece of the answer's body.
pub(crate) const RESPONSE_BODY: u32 = 1;
/// The message that has just come on a gRPC stream.
pub(crate) const GRPC_MESSAGE: u32 = 5;
/// The plugin's configuration.
pub(crate) const PLUGIN_CONFIGURATION: u32 = 7;

/// The host's status for success.
const OK: u32 = 0;
/// gRPC status "unknown", for a local reply that answers no gRPC request.
const GRPC_STATUS_NONE: u32 = u32::MAX;

// === the host's functions ===

/// As declared by the host: every pointer is an address in this module's memory.
mod imports {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            size_max: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_replace_header_map_value(
            map: u32,
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
            mark: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            mark: u32,
        ) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: u32,
        ) -> u32;
        pub(super) fn proxy_grpc_stream(
            service: *const u8,
            service_size: usize,
            name: *const u8,
            name_size: usize,
            method: *const u8,
            method_size: usize,
            metadata: *const u8,
            metadata_size: usize,
            stream: *mut u32,
        ) -> u32;
        pub(super) fn proxy_grpc_send(stream: u32, message: *const u8, size: usize, ends: u32) -> u32;
        pub(super) fn proxy_grpc_cancel(stream: u32) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, by: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
    }
}

fn ok(status: u32) -> Result<(), Failed> {
    if status == OK { Ok(()) } else { Err(Failed) }
}

/// Bytes that the host has allocated here, through [`proxy_on_memory_allocate`].
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Failed> {
    let mut data = std::ptr::null_mut();
    let mut size = 0;
    ok(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    let place = std::ptr::slice_from_raw_parts_mut(data, size);
    // SAFETY: the host got `data` from `proxy_on_memory_allocate(size)`, filled all of it and forgot it.
    Ok(unsafe { Box::from_raw(place) }.into_vec())
}

pub(crate) fn log(level: u32, text: &str) {
    // SAFETY: the host reads `text` and nothing else; so it does with every slice below.
    let _ = unsafe { imports::proxy_log(level, text.as_ptr(), text.len()) };
}

pub(crate) fn current_time_ns() -> Result<u64, Failed> {
    let mut time = 0;
    // SAFETY: the host writes one u64.
    ok(unsafe { imports::proxy_get_current_time_nanoseconds(&raw mut time) }).map(|()| time)
}

pub(crate) fn set_tick_period_ms(period: u32) {
    // SAFETY: no pointers.
    let _ = unsafe { imports::proxy_set_tick_period_milliseconds(period) };
}

pub(crate) fn buffer(buffer: u32, start: usize, size_max: usize) -> Result<Vec<u8>, Failed> {
    // SAFETY: the host writes an address and a size, as `returned` expects; so below.
    returned(|data, size| unsafe { imports::proxy_get_buffer_bytes(buffer, start, size_max, data, size) })
}

pub(crate) fn header_pairs(map: u32) -> Result<Vec<u8>, Failed> {
    // SAFETY: as in `buffer`.
    returned(|data, size| unsafe { imports::proxy_get_header_map_pairs(map, data, size) })
}

pub(crate) fn header(map: u32, key: &str) -> Result<Vec<u8>, Failed> {
    // SAFETY: as in `buffer`.
    returned(|data, size| unsafe {
        imports::proxy_get_header_map_value(map, key.as_ptr(), key.len(), data, size)
    })
}

pub(crate) fn set_header(map: u32, key: &str, value: &str) {
    // SAFETY: as in `log`.
    let _ = unsafe {
        imports::proxy_replace_header_map_value(map, key.as_ptr(), key.len(), value.as_ptr(), value.len())
    };
}

pub(crate) fn remove_header(map: u32, key: &str) {
    // SAFETY: as in `log`.
    let _ = unsafe { imports::proxy_remove_header_map_value(map, key.as_ptr(), key.len()) };
}

/// `path` has its parts separated by zeros.
pub(crate) fn property(path: &str) -> Result<Vec<u8>, Failed> {
    // SAFETY: as in `buffer`.
    returned(|data, size| unsafe { imports::proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// A value and its mark.
pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Failed> {
    let mut mark = 0;
    // SAFETY: as in `buffer`, and the host writes one u32.
    let value = returned(|data, size| unsafe {
        imports::proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut mark)
    })?;
    Ok((value, mark))
}

/// With mark 0 the value is stored in any case.
pub(crate) fn set_shared_data(key: &str, value: &[u8], mark: u32) -> Result<(), Failed> {
    // SAFETY: as in `log`.
    ok(unsafe { imports::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), mark) })
}

/// `headers` in the form of [`serialized`].
pub(crate) fn send_local_response(status: u32, headers: &[u8], body: &[u8]) {
    // SAFETY: as in `log`; no bytes of details are read.
    let _ = unsafe {
        imports::proxy_send_local_response(
            status,
            std::ptr::null(),
            0,
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            GRPC_STATUS_NONE,
        )
    };
}

pub(crate) fn open_grpc_stream(cluster: &str, service: &str, method: &str) -> Result<u32, Failed> {
    let mut stream = 0;
    // SAFETY: as in `log`, and the host writes one u32.
    ok(unsafe {
        imports::proxy_grpc_stream(
            cluster.as_ptr(),
            cluster.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            [0; 4].as_ptr(),
            4,
            &raw mut stream,
        )
    })
    .map(|()| stream)
}

pub(crate) fn send_on_grpc_stream(stream: u32, message: &[u8]) -> Result<(), Failed> {
    // SAFETY: as in `log`.
    ok(unsafe { imports::proxy_grpc_send(stream, message.as_ptr(), message.len(), 0) })
}

pub(crate) fn cancel_grpc_stream(stream: u32) {
    // SAFETY: no pointers.
    let _ = unsafe { imports::proxy_grpc_cancel(stream) };
}

pub(crate) fn define_metric(kind: u32, name: &str) -> Result<u32, Failed> {
    let mut id = 0;
    // SAFETY: as in `log`, and the host writes one u32.
    ok(unsafe { imports::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) }).map(|()| id)
}

pub(crate) fn increment_metric(id: u32, by: i64) {
    // SAFETY: no pointers.
    let _ = unsafe { imports::proxy_increment_metric(id, by) };
}

pub(crate) fn record_metric(id: u32, value: u64) {
    // SAFETY: no pointers.
    let _ = unsafe { imports::proxy_record_metric(id, value) };
}

// === the filter's functions ===

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// The host calls this first.
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    // SAFETY: the linker makes it, and it is called once.
    unsafe { __wasm_call_ctors() };
    contexts::start();
}

/// Its name tells the host which ABI this is.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

/// Room for what the host gives back; [`returned`] takes it over.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast::<MaybeUninit<u8>>().cast()
}

/// A plugin (`parent` is 0) or a stream of one.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    contexts::create(id, parent);
}

/// A context ends, for whatever reason.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_delete(id: u32) {
    contexts::delete(id);
}

/// A plugin gets its configuration.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(id: u32, size: usize) -> bool {
    contexts::root(id, |root| root.configure(size)).unwrap_or(false)
}

/// The period has passed.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_tick(id: u32) {
    contexts::root(id, crate::root::Root::tick);
}

/// Headers of a request.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_headers(id: u32, _count: usize, end_of_stream: u32) -> Action {
    contexts::http(id, |http| http.request_headers(end_of_stream != 0)).unwrap_or(Action::Continue)
}

/// A further piece of a request's body; `size` counts all that is held.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_body(id: u32, size: usize, end_of_stream: u32) -> Action {
    contexts::http(id, |http| http.request_body(size, end_of_stream != 0)).unwrap_or(Action::Continue)
}

/// Trailers of a request.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_request_trailers(id: u32, _count: usize) -> Action {
    contexts::http(id, crate::http::Http::request_trailers).unwrap_or(Action::Continue)
}

/// Headers of an answer.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_headers(id: u32, _count: usize, end_of_stream: u32) -> Action {
    contexts::http(id, |http| http.response_headers(end_of_stream != 0));
    Action::Continue
}

/// A piece of an answer.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_body(id: u32, size: usize, end_of_stream: u32) -> Action {
    contexts::http(id, |http| http.response_body(size, end_of_stream != 0));
    Action::Continue
}

/// Trailers of an answer, which end it.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_response_trailers(id: u32, _count: usize) -> Action {
    contexts::http(id, crate::http::Http::response_trailers);
    Action::Continue
}

/// A message on a gRPC stream of a plugin.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_receive(id: u32, stream: u32, size: usize) {
    contexts::root(id, |root| root.stream_message(stream, size));
}

/// A gRPC stream of a plugin has ended.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_grpc_close(id: u32, stream: u32, status: u32) {
    contexts::root(id, |root| root.stream_closed(stream, status));
}

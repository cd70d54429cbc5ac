//! The host: every hostcall that the filter makes, and no other file names one.
//!
//! Status codes become domain results here. The SDK's context traits offer the same calls, but unwrap them,
//! and its string maps panic on a header that is not UTF-8: both would be traps.

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType, Status};
use std::time::{Duration, UNIX_EPOCH};
use warmpath_core::time::Timestamp;

/// A value in shared data, with the mark that a compare-and-swap needs.
pub(crate) struct Shared {
    /// The value; empty when there is none.
    pub(crate) value: Vec<u8>,
    /// `None`: nothing was ever stored under the key.
    pub(crate) mark: Option<u32>,
}

/// Another VM stored a value in between: read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// Which way a metric counts.
#[derive(Clone, Copy)]
pub(crate) enum Metric {
    /// Adds up.
    Counter,
    /// Shows the last value.
    Gauge,
    /// Shows the distribution.
    Histogram,
}

/// Wall-clock time.
pub(crate) fn now() -> Timestamp {
    let since = hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
    Timestamp::from_us(since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}

/// Calls the root's tick from now on, every `period`.
pub(crate) fn set_tick_period(period: Duration) {
    let _ = hostcalls::set_tick_period(period);
}

/// The plugin's configuration.
pub(crate) fn plugin_configuration(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size).ok().flatten().unwrap_or_default()
}

/// All request headers.
pub(crate) fn request_headers() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpRequestHeaders).unwrap_or_default()
}

/// Removes a request header, however often it is there.
pub(crate) fn remove_request_header(name: &str) {
    let _ = hostcalls::remove_map_value(MapType::HttpRequestHeaders, name);
}

/// Sets a request header to one value. The value must be valid in a header.
pub(crate) fn set_request_header(name: &str, value: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value));
}

/// The buffered request body.
pub(crate) fn request_body(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size).ok().flatten().unwrap_or_default()
}

/// One response header.
pub(crate) fn response_header(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, name).ok().flatten()
}

/// Sets a response header.
pub(crate) fn set_response_header(name: &str, value: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(value));
}

/// Bytes `start..start + size` of the current piece of the response body.
pub(crate) fn response_body(start: usize, size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::HttpResponseBody, start, size).ok().flatten().unwrap_or_default()
}

/// Answers the request here.
pub(crate) fn reply(status: u32, headers: Vec<(&str, &str)>, body: &[u8]) {
    let _ = hostcalls::send_http_response(status, headers, Some(body));
}

/// A property that is text.
pub(crate) fn text_property(path: Vec<&str>) -> Option<String> {
    String::from_utf8(hostcalls::get_property(path).ok()??).ok()
}

/// A property that is a whole number.
pub(crate) fn number_property(path: Vec<&str>) -> Option<u64> {
    let bytes = hostcalls::get_property(path).ok()??;
    Some(u64::from_le_bytes(*bytes.first_chunk::<8>()?))
}

/// Reads shared data.
pub(crate) fn shared(key: &str) -> Shared {
    let (value, mark) = hostcalls::get_shared_data(key).unwrap_or((None, None));
    Shared { value: value.unwrap_or_default(), mark }
}

/// Stores shared data, if nobody stored any since `mark` was read. Without a mark it is stored in any case:
/// the host offers no "only if absent".
pub(crate) fn set_shared(key: &str, value: &[u8], mark: Option<u32>) -> Result<(), Conflict> {
    hostcalls::set_shared_data(key, Some(value), mark).map_err(|_| Conflict)
}

/// Opens a gRPC stream to a cluster. `None`: there is no such cluster, or no host in it.
pub(crate) fn open_stream(cluster: &str, service: &str, method: &str) -> Option<u32> {
    hostcalls::open_grpc_stream(cluster, service, method, Vec::new()).ok()
}

/// Sends a message. `false`: the stream is gone.
pub(crate) fn send_on_stream(stream: u32, message: &[u8]) -> bool {
    hostcalls::send_grpc_stream_message(stream, Some(message), false).is_ok()
}

/// Drops a stream without waiting for the other side.
pub(crate) fn cancel_stream(stream: u32) {
    let _ = hostcalls::cancel_grpc_stream(stream);
}

/// The message that has just come on a stream.
pub(crate) fn stream_message(size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size).ok().flatten().unwrap_or_default()
}

/// Opens a metric; the same name is the same metric in all VMs.
pub(crate) fn define_metric(metric: Metric, name: &str) -> Option<u32> {
    let metric = match metric {
        Metric::Counter => MetricType::Counter,
        Metric::Gauge => MetricType::Gauge,
        Metric::Histogram => MetricType::Histogram,
    };
    hostcalls::define_metric(metric, name).ok()
}

/// Adds to a counter.
pub(crate) fn add_to_metric(id: u32, by: u64) {
    let _: Result<(), Status> = hostcalls::increment_metric(id, i64::try_from(by).unwrap_or(i64::MAX));
}

/// Sets a gauge, or records into a histogram.
pub(crate) fn record_metric(id: u32, value: u64) {
    let _: Result<(), Status> = hostcalls::record_metric(id, value);
}

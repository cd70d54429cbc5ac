//! The host: every hostcall that the filter makes, and no other file names one.
//!
//! Status codes become domain results here. The SDK's context traits offer the same calls, but unwrap them,
//! and its string maps panic on a header that is not UTF-8: both would be traps.

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType, Status};
use std::cell::OnceCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, UNIX_EPOCH};
use warmpath_core::body::percent_decoded;
use warmpath_core::config::Secret;
use warmpath_core::limits::BODY_BYTES_KEPT_MAX;
use warmpath_core::router::{Call, Clock, Conflict, Reply, SharedMap, Stored, Version};
use warmpath_core::time::Timestamp;

/// The kind of a metric.
#[derive(Clone, Copy)]
pub(crate) enum Metric {
    /// Adds up.
    Counter,
    /// Shows the last value.
    Gauge,
    /// Shows the distribution.
    Histogram,
}

/// The `:authority` of the stream to the controller.
const AUTHORITY: &str = "warmpath-controller";

/// What Envoy adds to a response that is not its own.
const UPSTREAM_TIME_HEADER: &str = "x-envoy-upstream-service-time";

/// Body of the response to a call, in bytes. What hands a prompt over names its blocks, some bytes for each: a prompt of a
/// million tokens stays far below.
const CALL_RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The host's wall clock, read at most once: one input has one time, and reading it is a hostcall.
#[derive(Default)]
pub(crate) struct HostClock(OnceCell<Timestamp>);

/// The host's shared data.
#[derive(Debug)]
pub(crate) struct HostMap;

// === impl HostClock ===

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        *self.0.get_or_init(|| {
            let since =
                hostcalls::get_current_time().ok().and_then(|now| now.duration_since(UNIX_EPOCH).ok());
            let us = since.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
            Timestamp::from_us(us)
        })
    }
}

// === impl HostMap ===

impl SharedMap for HostMap {
    fn get(&mut self, key: &str) -> Stored {
        let (value, version) = hostcalls::get_shared_data(key).unwrap_or((None, None));
        Stored { value: value.unwrap_or_default(), version: version.map(Version) }
    }

    fn set(&mut self, key: &str, value: &[u8], version: Option<Version>) -> Result<(), Conflict> {
        let version = version.map(|version| version.0);
        hostcalls::set_shared_data(key, Some(value), version).map_err(|_| Conflict)
    }
}

/// Random bits, through the standard library's hasher keys.
pub(crate) fn random_bits() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Calls the root's tick from now on, this often in milliseconds.
pub(crate) fn set_tick_period(ms: u64) {
    let _ = hostcalls::set_tick_period(Duration::from_millis(ms));
}

/// An environment variable of the VM: `vm_config.environment_variables` lists them.
#[expect(clippy::disallowed_methods, reason = "this is where configuration becomes an argument")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
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

/// Bytes `start..start + size` of the buffered request body.
pub(crate) fn request_body(start: usize, size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::HttpRequestBody, start, size).ok().flatten().unwrap_or_default()
}

/// All of the buffered request body, whatever its length.
pub(crate) fn whole_request_body() -> Vec<u8> {
    // The host copies what there is.
    request_body(0, BODY_BYTES_KEPT_MAX)
}

/// Puts another body in place of the request's, which has `old_bytes`.
pub(crate) fn set_request_body(old_bytes: usize, body: &[u8]) {
    let _ = hostcalls::set_buffer(BufferType::HttpRequestBody, 0, old_bytes, body);
}

/// Bytes that Envoy has received of the request's body, shown to the filter or not; zero where it does not count them.
pub(crate) fn received_bytes() -> u64 {
    let Some(total) = number_property(vec!["request", "total_size"]) else { return 0 };
    let headers: usize = request_headers().iter().map(|(name, value)| name.len() + value.len()).sum();
    total.saturating_sub(u64::try_from(headers).unwrap_or(u64::MAX))
}

/// Makes the calls that follow, until the callback ends, calls of another context of this VM. `false`: it is gone.
pub(crate) fn enter(context: u32) -> bool {
    hostcalls::set_effective_context(context).is_ok()
}

/// Lets the request of the context go on once the callback has ended.
pub(crate) fn resume_request() {
    let _ = hostcalls::resume_http_request();
}

/// Lets the response of the context go on once the callback has ended.
pub(crate) fn resume_response() {
    let _ = hostcalls::resume_http_response();
}

/// Sets a property of the stream. Envoy keeps it in the filter state as `wasm.<name>`.
pub(crate) fn set_property(name: &str, value: &str) {
    let _ = hostcalls::set_property(vec![name], Some(value.as_bytes()));
}

/// The cluster to which the route of the request leads, as Envoy chose it for the headers that it received.
///
/// Envoy chooses a route again when the filter has changed headers, but not before another part of it asks: nothing shows
/// that choice here. A cluster that is drawn by weights stays the same as long as the route does, as the dice are thrown once
/// for each stream.
pub(crate) fn route_cluster() -> Option<String> {
    text_property(vec!["xds", "cluster_name"])
}

/// The response's headers, names in lower case.
pub(crate) fn response_headers() -> Vec<(String, Vec<u8>)> {
    hostcalls::get_map_bytes(MapType::HttpResponseHeaders).unwrap_or_default()
}

/// The endpoint that the response comes from, as Envoy writes its address.
pub(crate) fn upstream_address() -> Option<String> {
    text_property(vec!["upstream", "address"])
}

/// Endpoints that Envoy has tried for the request.
pub(crate) fn attempts() -> Option<u64> {
    number_property(vec!["upstream", "request_attempt_count"])
}

/// Sets a response header.
pub(crate) fn set_response_header(name: &str, value: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, Some(value));
}

/// Bytes `start..start + size` of the current piece of the response body.
pub(crate) fn response_body(start: usize, size: usize) -> Vec<u8> {
    hostcalls::get_buffer(BufferType::HttpResponseBody, start, size).ok().flatten().unwrap_or_default()
}

/// Responds to the request here.
pub(crate) fn reply(reply: &Reply) {
    let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _ = hostcalls::send_http_response(u32::from(reply.status), headers, Some(&reply.body));
}

/// Envoy's node id, for people.
pub(crate) fn node_id() -> String {
    text_property(vec!["xds", "node", "id"]).unwrap_or_default()
}

/// Envoy's version, as (major, minor); `None` in a host that does not report it.
pub(crate) fn envoy_version() -> Option<(u64, u64)> {
    let part = |name| number_property(vec!["xds", "node", "user_agent_build_version", "version", name]);
    Some((part("major_number")?, part("minor_number")?))
}

fn text_property(path: Vec<&str>) -> Option<String> {
    String::from_utf8(hostcalls::get_property(path).ok()??).ok()
}

fn number_property(path: Vec<&str>) -> Option<u64> {
    let bytes = hostcalls::get_property(path).ok()??;
    Some(u64::from_le_bytes(*bytes.first_chunk::<8>()?))
}

/// Sends a request of the filter's own, whose end comes to the context of the current callback: the SDK notes it by that, and
/// Envoy keeps the call in the plugin's root, so that it goes on after a stream that made it. Returns its token; `None`: there is no
/// such cluster, or nobody in it to send to.
///
/// The SDK takes text only: a header that is none is left out.
pub(crate) fn call(call: &Call) -> Option<u32> {
    // Zero would be no limit, and Envoy refuses what does not fit into 31 bits.
    let timeout_ms = call.timeout_ms.clamp(1, u64::from(i32::MAX.unsigned_abs()));
    let headers = call.headers.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str(), std::str::from_utf8(value).ok()?)));
    let timeout = Duration::from_millis(timeout_ms);
    hostcalls::dispatch_http_call(&call.cluster, headers.collect(), Some(&call.body), Vec::new(), timeout)
        .ok()
}

/// Status and body of the response to a call that has ended with so many headers and bytes; `None`: there is none of use.
pub(crate) fn call_response(headers: usize, body_size: usize) -> Option<(u16, Vec<u8>)> {
    let status = if headers > 0 { call_status() } else { None };
    status.zip(call_body(body_size))
}

/// The status of the response to a call; `None`: it is Envoy's own, which has reached nobody or waits no longer. Asking for one
/// header would panic where there is no response.
fn call_status() -> Option<u16> {
    let headers = hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default();
    let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted);
    let status = std::str::from_utf8(&find(":status")?.1).ok()?.parse().ok()?;
    let is_own = matches!(status, 503 | 504) && find(UPSTREAM_TIME_HEADER).is_none();
    (!is_own).then_some(status)
}

/// The body of the response to a call. `None`: it is larger than any that is of use.
fn call_body(size: usize) -> Option<Vec<u8>> {
    if size > CALL_RESPONSE_BYTES_MAX {
        return None;
    }
    Some(hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, size).ok().flatten().unwrap_or_default())
}

/// Opens a gRPC stream to a cluster. `None`: there is no such cluster, or no host in it.
pub(crate) fn open_stream(
    cluster: &str,
    (service, method): (&str, &str),
    token: Option<&Secret>,
) -> Option<u32> {
    let upstream = grpc_service(cluster);
    let upstream = upstream.as_deref().unwrap_or(cluster);
    let authorization = token.map(|Secret(token)| format!("Bearer {token}"));
    let metadata = authorization.as_deref().map(|value| ("authorization", value.as_bytes()));
    hostcalls::open_grpc_stream(upstream, service, method, metadata.into_iter().collect()).ok()
}

/// Envoy's `GrpcService{envoy_grpc{cluster_name, authority}}`, serialized. Given a name alone, Envoy sends it as the
/// `:authority`, and servers reset a stream whose authority is none: `outbound|18000||warmpath.llm.svc.cluster.local`.
///
/// The SDK takes text only, and a length from 128 on would be none: `None` for such a name, which then must be a valid
/// authority itself.
fn grpc_service(cluster: &str) -> Option<String> {
    let envoy_grpc = [field(1, cluster)?, field(2, AUTHORITY)?].concat();
    field(1, &envoy_grpc)
}

/// A length-delimited field of a protobuf message.
fn field(number: u8, text: &str) -> Option<String> {
    let length = u8::try_from(text.len()).ok().filter(u8::is_ascii)?;
    Some([char::from(number << 3 | 2), char::from(length)].into_iter().chain(text.chars()).collect())
}

/// What Envoy or the other side says of the end of a callout, as one line: gRPC percent-encodes all that is not plain ASCII.
pub(crate) fn stream_status_message() -> String {
    let message = hostcalls::get_grpc_status().ok().and_then(|(_, message)| message).unwrap_or_default();
    String::from_utf8_lossy(&percent_decoded(message.as_bytes())).replace(char::is_control, " ")
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

//! The host: every hostcall that the filter makes, and no other file but `abi.rs`, which declares them, names one.
//!
//! Status codes become domain results here; none of them may become a panic.

use crate::abi::{self, Failed};
use log::{Level, LevelFilter, Log, Metadata, Record};
use warmpath_core::num::{index, u32_len};

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

/// All headers of a request in one piece of memory, as the host wrote them: a count, the lengths of each name and
/// value, then each of them with a zero behind it.
pub(crate) struct Headers(Vec<u8>);

struct ToHost;

/// Messages of this level and above go to the host.
const LOG_LEVEL_MAX: LevelFilter = LevelFilter::Info;
/// The host's number for its most severe level.
const LEVEL_CRITICAL: u32 = 5;

// === impl Headers ===

impl Headers {
    /// Each name with its value. Ends early where the host's lengths do not fit.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (count, rest) = self.0.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let count = index(u32::from_le_bytes(*count));
        let (lengths, mut rest) = rest.split_at_checked(count.saturating_mul(8)).unwrap_or_default();
        let mut take = move |length: &[u8]| {
            let length = index(u32::from_le_bytes(*length.first_chunk::<4>()?));
            let (text, behind) = rest.split_at_checked(length)?;
            rest = behind.get(1..).unwrap_or_default();
            Some(text)
        };
        lengths.chunks_exact(8).map_while(move |pair| {
            let (name, value) = pair.split_at(4);
            Some((take(name)?, take(value)?))
        })
    }
}

// === impl ToHost ===

impl Log for ToHost {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= LOG_LEVEL_MAX
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Trace => 0,
            Level::Debug => 1,
            Level::Info => 2,
            Level::Warn => 3,
            Level::Error => 4,
        };
        abi::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}

/// Sends the log and the words of a panic to the host.
pub(crate) fn start_log() {
    let _ = log::set_logger(&ToHost);
    log::set_max_level(LOG_LEVEL_MAX);
    std::panic::set_hook(Box::new(|panic| abi::log(LEVEL_CRITICAL, &panic.to_string())));
}

/// Wall-clock time in microseconds.
pub(crate) fn now_us() -> u64 {
    abi::current_time_ns().unwrap_or(0) / 1000
}

/// Calls the root's tick from now on, every `period_ms`.
pub(crate) fn set_tick_period(period_ms: u32) {
    abi::set_tick_period_ms(period_ms);
}

/// The plugin's configuration.
pub(crate) fn plugin_configuration(size: usize) -> Vec<u8> {
    abi::buffer(abi::PLUGIN_CONFIGURATION, 0, size).unwrap_or_default()
}

/// All request headers.
pub(crate) fn request_headers() -> Headers {
    Headers(abi::header_pairs(abi::REQUEST_HEADERS).unwrap_or_default())
}

/// Removes a request header, however often it is there.
pub(crate) fn remove_request_header(name: &str) {
    abi::remove_header(abi::REQUEST_HEADERS, name);
}

/// Sets a request header to one value. The value must be valid in a header.
pub(crate) fn set_request_header(name: &str, value: &str) {
    abi::set_header(abi::REQUEST_HEADERS, name, value);
}

/// The buffered request body.
pub(crate) fn request_body(size: usize) -> Vec<u8> {
    abi::buffer(abi::REQUEST_BODY, 0, size).unwrap_or_default()
}

/// One response header.
pub(crate) fn response_header(name: &str) -> Option<Vec<u8>> {
    abi::header(abi::RESPONSE_HEADERS, name).ok()
}

/// Sets a response header.
pub(crate) fn set_response_header(name: &str, value: &str) {
    abi::set_header(abi::RESPONSE_HEADERS, name, value);
}

/// Bytes `start..start + size` of the current piece of the response body.
pub(crate) fn response_body(start: usize, size: usize) -> Vec<u8> {
    abi::buffer(abi::RESPONSE_BODY, start, size).unwrap_or_default()
}

/// Answers the request here.
pub(crate) fn reply(status: u32, headers: &[(&str, &str)], body: &[u8]) {
    abi::send_local_response(status, &serialized(headers), body);
}

/// A property that is text; its path has zeros between its parts.
pub(crate) fn text_property(path: &str) -> Option<String> {
    String::from_utf8(abi::property(path).ok()?).ok()
}

/// A property that is a whole number; its path has zeros between its parts.
pub(crate) fn number_property(path: &str) -> Option<u64> {
    let bytes = abi::property(path).ok()?;
    Some(u64::from_le_bytes(*bytes.first_chunk::<8>()?))
}

/// Reads shared data.
pub(crate) fn shared(key: &str) -> Shared {
    match abi::shared_data(key) {
        // The host's marks begin at 1.
        Ok((value, mark)) => Shared { value, mark: (mark != 0).then_some(mark) },
        Err(Failed) => Shared { value: Vec::new(), mark: None },
    }
}

/// Stores shared data, if nobody stored any since `mark` was read. Without a mark it is stored in any case:
/// the host offers no "only if absent".
pub(crate) fn set_shared(key: &str, value: &[u8], mark: Option<u32>) -> Result<(), Conflict> {
    abi::set_shared_data(key, value, mark.unwrap_or(0)).map_err(|Failed| Conflict)
}

/// Opens a gRPC stream to a cluster. `None`: there is no such cluster, or no host in it.
pub(crate) fn open_stream(cluster: &str, service: &str, method: &str) -> Option<u32> {
    abi::open_grpc_stream(cluster, service, method).ok()
}

/// Sends a message. `false`: the stream is gone.
pub(crate) fn send_on_stream(stream: u32, message: &[u8]) -> bool {
    abi::send_on_grpc_stream(stream, message).is_ok()
}

/// Drops a stream without waiting for the other side.
pub(crate) fn cancel_stream(stream: u32) {
    abi::cancel_grpc_stream(stream);
}

/// The message that has just come on a stream.
pub(crate) fn stream_message(size: usize) -> Vec<u8> {
    abi::buffer(abi::GRPC_MESSAGE, 0, size).unwrap_or_default()
}

/// Opens a metric; the same name is the same metric in all VMs.
pub(crate) fn define_metric(metric: Metric, name: &str) -> Option<u32> {
    let metric = match metric {
        Metric::Counter => 0,
        Metric::Gauge => 1,
        Metric::Histogram => 2,
    };
    abi::define_metric(metric, name).ok()
}

/// Adds to a counter.
pub(crate) fn add_to_metric(id: u32, by: u64) {
    abi::increment_metric(id, i64::try_from(by).unwrap_or(i64::MAX));
}

/// Sets a gauge, or records into a histogram.
pub(crate) fn record_metric(id: u32, value: u64) {
    abi::record_metric(id, value);
}

/// Headers in the host's form; see [`Headers`].
fn serialized(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = u32_len(headers.len()).to_le_bytes().to_vec();
    for (name, value) in headers {
        bytes.extend_from_slice(&u32_len(name.len()).to_le_bytes());
        bytes.extend_from_slice(&u32_len(value.len()).to_le_bytes());
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

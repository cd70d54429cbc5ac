//! The numbers of proxy-wasm ABI 0.2.1, each enum as `proxy-wasm-cpp-host`'s
//! `include/proxy-wasm/wasm_api_impl.h` and `proxy_wasm_enums.h` have them.
//!
//! The guest's SDK has its own copy of these. The host does not import it: a test that shares constants with its
//! subject cannot detect that they are wrong.

/// What a hostcall returns to the guest (`WasmResult`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    /// Done.
    Ok = 0,
    /// No such key, header, queue, stream or function.
    NotFound = 1,
    /// The call does not fit the phase, or an argument is out of range.
    BadArgument = 2,
    /// The upstream's name is neither a known cluster nor a serialized `GrpcService`.
    ParseFailure = 4,
    /// A pointer leads out of the guest's memory.
    InvalidMemoryAccess = 6,
    /// The queue has nothing to dequeue.
    Empty = 7,
    /// Another VM wrote the key since its compare-and-swap number was read.
    CasMismatch = 8,
    /// The upstream cannot be reached at all.
    InternalFailure = 10,
    /// Known to the ABI, not to Envoy.
    Unimplemented = 12,
}

/// The action that a stream callback returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Pass on what was seen.
    Continue,
    /// Hold it until the filter continues the stream.
    Pause,
}

/// Severity of a log line, in the order of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum LogLevel {
    /// 0
    Trace = 0,
    /// 1
    Debug = 1,
    /// 2; also what the guest writes to its standard output
    Info = 2,
    /// 3
    Warn = 3,
    /// 4; also what the guest writes to its standard error
    Error = 4,
    /// 5; the SDK reports panics here
    Critical = 5,
}

// === impl LogLevel ===

impl LogLevel {
    pub(crate) fn from_abi(value: u32) -> Option<Self> {
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Critical]
            .into_iter()
            .find(|level| *level as u32 == value)
    }
}

/// Which header map a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapKind {
    RequestHeaders,
    RequestTrailers,
    ResponseHeaders,
    ResponseTrailers,
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
    HttpCallHeaders,
    HttpCallTrailers,
}

// === impl MapKind ===

impl MapKind {
    pub(crate) fn from_abi(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::RequestHeaders,
            1 => Self::RequestTrailers,
            2 => Self::ResponseHeaders,
            3 => Self::ResponseTrailers,
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::HttpCallHeaders,
            7 => Self::HttpCallTrailers,
            _ => return None,
        })
    }
}

/// Which buffer a call is about. Network (TCP) buffers are not offered: the filters are HTTP filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferKind {
    RequestBody,
    ResponseBody,
    HttpCallBody,
    GrpcMessage,
    VmConfiguration,
    PluginConfiguration,
}

// === impl BufferKind ===

impl BufferKind {
    pub(crate) fn from_abi(value: u32) -> Option<Self> {
        Some(match value {
            0 => Self::RequestBody,
            1 => Self::ResponseBody,
            4 => Self::HttpCallBody,
            5 => Self::GrpcMessage,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            _ => return None,
        })
    }
}

/// Request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

// === impl Direction ===

impl Direction {
    pub(crate) fn from_abi(value: u32) -> Option<Self> {
        match value {
            0 => Some(Self::Request),
            1 => Some(Self::Response),
            _ => None,
        }
    }
}

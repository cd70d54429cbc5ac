//! The inputs and outputs of a router.
//!
//! A shell translates its host's callbacks into [`Input`]s and performs the [`Output`]s in order. It decides nothing:
//! anything that two shells could decide differently belongs in the router.

use super::metrics::{Counter, Gauge, Histogram};
use crate::config::{Config, Secret};
use crate::ids::{CellHash, TenantId};
use crate::prompt::Size;
use crate::wire::{Outcome, StreamError};
use std::fmt;
use std::rc::Rc;

/// Names one request and its response for as long as both take; the shell's number, free to be reused afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u32);

/// Names one configured plugin; the shell's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginId(pub u32);

/// Names one call of a router; the router's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u32);

/// Names one stream to the controller; the shell's number, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UplinkId(pub u32);

/// Headers as a host has them.
pub type Headers<'a> = &'a [(String, Vec<u8>)];

/// An event of the host.
#[derive(Debug)]
pub enum Input<'a> {
    /// A plugin was configured. The newest one with a controller gets the uplink.
    Configure {
        /// The plugin.
        plugin: PluginId,
        /// Its configuration.
        config: Config,
        /// The proxy's name for people (Envoy's node id).
        node: String,
    },
    /// A plugin is about to go.
    Retire {
        /// The plugin.
        plugin: PluginId,
    },
    /// The time that [`Output::WakeIn`] asked for has passed.
    Tick {
        /// The plugin whose tick it is.
        plugin: PluginId,
    },
    /// The headers of a request.
    RequestHead {
        /// The request.
        exchange: ExchangeId,
        /// The plugin that it came through.
        plugin: PluginId,
        /// Names in lower case, pseudo-headers included.
        headers: Headers<'a>,
        /// The proxy's cluster to which its route leads, asked for only where [`super::Router::reads_cluster`] says so.
        cluster: Option<&'a str>,
        /// Whether nothing follows them.
        ends: bool,
    },
    /// More of a request's body, which the host keeps.
    RequestData {
        /// The request.
        exchange: ExchangeId,
        /// Bytes that the host has kept so far.
        buffered_bytes: usize,
        /// Whether it is whole.
        ends: bool,
    },
    /// A piece of the body that [`Output::ReadPieces`] asked for.
    RequestPiece {
        /// The request.
        exchange: ExchangeId,
        /// The piece.
        piece: &'a [u8],
        /// Whether it is the last one.
        ends: bool,
    },
    /// The body that [`Output::ReadBody`] or [`Output::Recall`] asked for.
    RequestBody {
        /// The request.
        exchange: ExchangeId,
        /// All of it.
        body: &'a [u8],
    },
    /// The result of an [`Output::Probe`].
    Probed {
        /// The request.
        exchange: ExchangeId,
        /// Bytes of its body that the proxy has received, whether or not it has shown them; zero where it does not count
        /// them.
        received_bytes: u64,
    },
    /// The response to the [`Output::Call`] of a request, or the end of it without one.
    Called {
        /// The request.
        exchange: ExchangeId,
        /// The call.
        call: CallId,
        /// The response; `None`: the host made no call, reached nobody, or waited no longer.
        response: Option<Called<'a>>,
    },
    /// A request whose prompt is hashed already, in place of its headers and body. For callers that have chains, not
    /// texts, such as the simulator.
    RequestPrompt {
        /// The request.
        exchange: ExchangeId,
        /// The plugin that it came through.
        plugin: PluginId,
        /// The prompt.
        prompt: Prompt<'a>,
    },
    /// The headers of a response.
    ResponseHead {
        /// The request that it responds to.
        exchange: ExchangeId,
        /// The status; `None` where the host has none.
        status: Option<u16>,
        /// Names in lower case; none where the host has none.
        headers: Headers<'a>,
        /// `ip:port` of the endpoint that it comes from, where the host knows.
        served_by: Option<&'a str>,
        /// Whether nothing follows them.
        ends: bool,
    },
    /// The result of an [`Output::CountAttempts`].
    Attempts {
        /// Endpoints that the proxy has tried; `None`: the host does not know.
        attempts: Option<u64>,
        /// What the output brought.
        failed: Outcome,
    },
    /// A piece of a response's body; see [`Output::Watch`] for what the shell may leave out.
    ResponseChunk {
        /// The request.
        exchange: ExchangeId,
        /// Bytes in the piece.
        bytes: usize,
        /// Its last bytes, as many as [`Output::Watch`] asked for.
        tail: &'a [u8],
        /// Whether the response is whole.
        ends: bool,
    },
    /// The host has deleted the stream of a request, finished or not.
    Ended {
        /// The request.
        exchange: ExchangeId,
    },
    /// The result of an [`Output::OpenUplink`], before any other input.
    UplinkOpened {
        /// The stream; `None`: the host refused to open one.
        uplink: Option<UplinkId>,
    },
    /// A message of the controller.
    UplinkMessage {
        /// The stream.
        uplink: UplinkId,
        /// The message.
        message: &'a [u8],
    },
    /// A stream ended, or a message could not be sent on it.
    UplinkClosed {
        /// The stream.
        uplink: UplinkId,
    },
}

/// A prompt that is hashed already.
#[derive(Debug)]
pub struct Prompt<'a> {
    /// The model asked for.
    pub model: &'a str,
    /// The prompt's chain, over the cells that the router was opened with.
    pub chain: Vec<CellHash>,
    /// Its text and its other parts.
    pub size: Size,
    /// Most tokens that the response may have, if stated.
    pub output_tokens_max: Option<u64>,
    /// Whether the response will be a stream of events.
    pub is_stream: bool,
    /// Whether the response will report its usage.
    pub has_usage: bool,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its priority: higher is more important.
    pub priority: i32,
}

/// The response to a call.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// The status.
    pub status: u16,
    /// All of the body.
    pub body: &'a [u8],
}

/// An effect for the shell to perform.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Hold the request, and the rest of it as it arrives, until an input brings another output. For the headers of a response:
    /// hold that, and report none of its pieces.
    Pause,
    /// Hand over the whole body as [`Input::RequestBody`].
    ReadBody,
    /// Hand over the whole body as [`Input::RequestPiece`]s, of [`crate::body::PIECE_BYTES`] each but the last.
    ReadPieces,
    /// Perform the following outputs for this request, which is not the one of the input.
    Enter {
        /// The request.
        exchange: ExchangeId,
    },
    /// Perform the following outputs for the input again, which is the tick of this plugin.
    Leave {
        /// The plugin.
        plugin: PluginId,
    },
    /// Report, as [`Input::Probed`], how much of the body of the entered request has arrived.
    Probe {
        /// The request.
        exchange: ExchangeId,
    },
    /// Hand over what the entered request consists of, before any other input: the whole body that the host keeps as
    /// [`Input::RequestBody`], or its prompt once more as [`Input::RequestPrompt`].
    Recall {
        /// The request.
        exchange: ExchangeId,
    },
    /// Let the entered request, which is paused, go on.
    Resume,
    /// Let the paused response to the request of the input go on, and report what has come of it meanwhile as one piece without
    /// a tail.
    ResumeResponse,
    /// Send a request of the router's own for the request of the input, or the one that was entered, and report its end as
    /// [`Input::Called`], unless the stream of that request is deleted before.
    Call(Call),
    /// Set a request header to one value.
    SetRequestHeader(&'static str, String),
    /// Remove a request header, however often it is there.
    RemoveRequestHeader(&'static str),
    /// Put another body in place of the request's.
    SetRequestBody {
        /// The length of the whole old body in bytes.
        old_bytes: usize,
        /// The new one.
        body: Vec<u8>,
    },
    /// Set a property of the stream, which the proxy's access log can show and clients never see.
    SetProperty(&'static str, String),
    /// Report as [`Input::Attempts`] how many endpoints the proxy has tried for the request of the input.
    CountAttempts {
        /// What is to be published if it has tried the chosen one.
        failed: Outcome,
    },
    /// Set a response header to one value.
    SetResponseHeader(&'static str, String),
    /// Respond to the request here.
    Reply(Reply),
    /// The parts of the response's body to report from now on.
    Watch(Watch),
    /// Open a stream to the controller behind this cluster and report it as [`Input::UplinkOpened`].
    OpenUplink {
        /// Envoy's name for it.
        cluster: String,
        /// The token to present to it, as `authorization: Bearer`.
        token: Option<Secret>,
    },
    /// Send a message; if that fails, report [`Input::UplinkClosed`].
    SendUplink {
        /// The stream.
        uplink: UplinkId,
        /// The message.
        message: Vec<u8>,
    },
    /// Drop a stream without waiting for the other side; nothing of it is reported any more.
    CancelUplink {
        /// The stream.
        uplink: UplinkId,
    },
    /// Tick this often from now on, in milliseconds.
    WakeIn(u64),
    /// Add to a counter.
    Count(Counter, u64),
    /// Add one to a counter in the series of a pool.
    CountInPool(Rc<str>, Counter),
    /// Set a gauge.
    Show(Gauge, u64),
    /// Record into a histogram.
    Record(Histogram, u64),
    /// A line for the operators' log.
    Notice(Notice),
}

/// A request of the router's own.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub id: CallId,
    /// The proxy's cluster that it goes to.
    pub cluster: String,
    /// Its headers, pseudo-headers first.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
    /// How long to wait for the whole response, in milliseconds.
    pub timeout_ms: u64,
}

/// The parts of a response's body that a router needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// Its end only. A shell need not report other pieces: of a long stream these are nearly all.
    #[default]
    End,
    /// The first piece with a byte in it, without its bytes, and the end.
    FirstByte,
    /// Each piece, with this many bytes of its end.
    Tail(usize),
    /// Each piece, with all of its bytes.
    Whole,
}

/// A response of the router's own.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A line for the log.
#[derive(Debug)]
pub enum Notice {
    /// The controller violated the protocol; its stream is closed.
    MalformedMessage(StreamError),
    /// The controller lacks prefixes that were learned here, or may lack some; they are sent to it.
    TeachingController {
        /// Distinct cells in the view.
        cells: usize,
    },
    /// The siblings fell so far behind that the stream starts again from the last generation that all can read.
    LogCongested,
    /// The prefill engines of a pool hand nothing over.
    NothingHandedOver {
        /// The pool.
        pool: String,
    },
    /// The prefill engines of a pool reject prefill legs.
    LegsRejected {
        /// The pool.
        pool: String,
    },
    /// The decode engines of a pool fail with what its prefill engines hand over.
    NothingFetched {
        /// The pool.
        pool: String,
    },
    /// The proxy withholds the bodies of requests that are paused at their headers.
    BodiesWithheld,
    /// It does not, as it turns out.
    BodiesShown,
}

// === impl Notice ===

impl Notice {
    /// Whether an operator should act on it.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::BodiesWithheld
                | Self::NothingHandedOver { .. }
                | Self::LegsRejected { .. }
                | Self::NothingFetched { .. }
        )
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedMessage(error) => write!(f, "controller: {error}; closing the stream"),
            Self::TeachingController { cells } => {
                write!(f, "controller lacks prefixes: sending it {cells} learned cells")
            }
            Self::LogCongested => {
                f.write_str("shared log is congested: resuming the controller's stream later")
            }
            Self::NothingHandedOver { pool } => write!(
                f,
                "pool `{pool}`: prefill engines compute prompts and hand nothing over: give them the connector that the \
                 pool's `transfer` names; until then its requests stay whole",
            ),
            Self::LegsRejected { pool } => write!(
                f,
                "pool `{pool}`: prefill engines respond to prefill legs with 401, 403, 404 or 405: a leg has the path and the \
                 headers of the client, not those that a route rewrites or adds; until then its requests stay whole",
            ),
            Self::NothingFetched { pool } => write!(
                f,
                "pool `{pool}`: decode engines fail with what prefill engines hand over: let them reach those (vLLM hands over \
                 VLLM_NIXL_SIDE_CHANNEL_HOST, which must be the pod's address), and give both the same connector; until then \
                 its requests stay whole",
            ),
            Self::BodiesWithheld => f.write_str(
                "the proxy withholds the bodies of requests from this filter, as it does without \
                 `allow_on_headers_stop_iteration` (which a WasmPlugin cannot set): requests are routed by \
                 `affinity_headers` and load, not by prompt, and by `model_header`, not by model",
            ),
            Self::BodiesShown => {
                f.write_str("the proxy shows the bodies of requests: they are routed by prompt again")
            }
        }
    }
}

/// Equal if they read the same.
impl PartialEq for Notice {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

//! How an engine passes keys and values on, as its flags would say it.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

/// vLLM with NIXL waits without a bound for an engine that is stopped and not gone: longer than any test.
const NIXL_TIME_MAX: Duration = Duration::from_hours(1);
/// `VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT`, by default.
const MOONCAKE_TIME_MAX: Duration = Duration::from_mins(8);
/// `SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT` and `SGLANG_DISAGGREGATION_WAITING_TIMEOUT`, by default.
const SGLANG_TIME_MAX: Duration = Duration::from_mins(5);
/// `kv_transfer_timeout_ms` of TensorRT-LLM's cache transceiver, by default.
const TENSORRT_TIME_MAX: Duration = Duration::from_mins(1);

/// Who speaks with whom, in which order, about keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferProtocol {
    /// vLLM's `NixlConnector`: the decode engine pulls what a response of the prefill engine names.
    Nixl,
    /// vLLM's `MooncakeConnector`: both legs at once, joined by the name of the transfer.
    Mooncake,
    /// SGLang's `--disaggregation-mode`: both legs at once, joined by a room.
    Sglang,
    /// TensorRT-LLM's `disaggregated_params`: the context first.
    TensorRt,
}

/// Which legs an engine takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// All (vLLM's `kv_both`; SGLang knows no such engine).
    #[default]
    Both,
    /// Only prompts (`kv_producer`, `--disaggregation-mode prefill`).
    Prefill,
    /// Only what follows them (`kv_consumer`, `--disaggregation-mode decode`).
    Decode,
}

/// What a decode engine does when it cannot fetch a prompt: vLLM's `kv_load_failure_policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadFailure {
    /// The request fails. The default of vLLM 0.32, and here.
    #[default]
    Fail,
    /// It computes the prompt itself. vLLM only.
    Recompute,
}

/// An engine's part in requests of which it serves one leg.
#[derive(Clone, Debug, PartialEq)]
pub struct Transfer {
    /// The protocol. Fields of another one are an error, which real engines overlook.
    pub protocol: TransferProtocol,
    /// Which legs it takes.
    pub role: Role,
    /// The address of its side channel, which it hands over; `None`: the one that it listens on.
    pub side_host: Option<IpAddr>,
    /// The port of its side channel; 0 takes a free one.
    pub side_port: u16,
    /// What happens when a prompt cannot be fetched.
    pub load_failure: LoadFailure,
    /// How long the engine takes to find out, beyond what the sockets take. vLLM: 0.7 to 30 s.
    pub load_failure_after: Duration,
    /// How long it waits for the other leg, or for a reply of the other engine. Of the wall, whatever the time scale.
    pub partner_time_max: Duration,
}

// === impl TransferProtocol ===

impl TransferProtocol {
    /// All protocols.
    pub const ALL: [Self; 4] = [Self::Nixl, Self::Mooncake, Self::Sglang, Self::TensorRt];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nixl => "nixl",
            Self::Mooncake => "mooncake",
            Self::Sglang => "sglang",
            Self::TensorRt => "tensorrt-llm",
        }
    }
}

impl fmt::Display for TransferProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that does not exist.
#[derive(Debug, thiserror::Error)]
#[error("unknown {what} {name:?}, known are {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: &'static str,
}

impl FromStr for TransferProtocol {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        const KNOWN: &str = "nixl, mooncake, sglang, tensorrt-llm";
        let found = Self::ALL.into_iter().find(|protocol| protocol.name() == name);
        found.ok_or_else(|| UnknownName { what: "protocol", name: name.to_owned(), known: KNOWN })
    }
}

// === impl Role ===

impl FromStr for Role {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "both" => Ok(Self::Both),
            "prefill" => Ok(Self::Prefill),
            "decode" => Ok(Self::Decode),
            _ => Err(UnknownName { what: "role", name: name.to_owned(), known: "both, prefill, decode" }),
        }
    }
}

// === impl LoadFailure ===

impl FromStr for LoadFailure {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "fail" => Ok(Self::Fail),
            "recompute" => Ok(Self::Recompute),
            _ => Err(UnknownName { what: "policy", name: name.to_owned(), known: "fail, recompute" }),
        }
    }
}

// === impl Transfer ===

impl Transfer {
    /// An engine of this protocol that takes all legs, with the engine's own defaults and a side channel on a free port.
    pub const fn new(protocol: TransferProtocol) -> Self {
        let partner_time_max = match protocol {
            TransferProtocol::Nixl => NIXL_TIME_MAX,
            TransferProtocol::Mooncake => MOONCAKE_TIME_MAX,
            TransferProtocol::Sglang => SGLANG_TIME_MAX,
            TransferProtocol::TensorRt => TENSORRT_TIME_MAX,
        };
        Self {
            protocol,
            role: Role::Both,
            side_host: None,
            side_port: 0,
            load_failure: LoadFailure::Fail,
            load_failure_after: Duration::ZERO,
            partner_time_max,
        }
    }

    /// The same with another role.
    #[must_use]
    pub const fn with_role(self, role: Role) -> Self {
        Self { role, ..self }
    }
}

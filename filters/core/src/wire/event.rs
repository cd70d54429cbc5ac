//! What the code needs to know of events beyond the schema: who may publish which kind, and what metrics call it.

use super::{Event, HeldFor, Kind, Tier, Trust};

/// Which side may publish an event of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The controller alone: it watches the configuration and the engines.
    Controller,
    /// A proxy, about what its own VMs do.
    Proxy,
    /// Either: a proxy that it happened, the controller that it follows from silence or from a snapshot.
    Either,
}

// === impl Event ===

impl From<Kind> for Event {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

// === impl Kind ===

impl Kind {
    /// Which side may publish it.
    pub fn authority(&self) -> Authority {
        match self {
            Self::Pools(_)
            | Self::Pool(_)
            | Self::EngineStatus(_)
            | Self::Proxies(_)
            | Self::Current(_)
            | Self::Reported(_)
            | Self::Reporting(_)
            | Self::WakeTime(_) => Authority::Controller,
            Self::Routed(_)
            | Self::InFlight(_)
            | Self::Outcome(_)
            | Self::Alive(_)
            | Self::UsageSeen(_)
            | Self::TransferSeen(_)
            | Self::Ended(_)
            | Self::Held(_)
            | Self::Released(_) => Authority::Proxy,
            Self::Gone(_) | Self::Prefix(_) | Self::Stored(_) | Self::Conversation(_) => Authority::Either,
        }
    }

    /// Its name in metrics: that of its field in the schema.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Pools(_) => "pools",
            Self::Pool(_) => "pool",
            Self::EngineStatus(_) => "engine_status",
            Self::Routed(_) => "routed",
            Self::InFlight(_) => "in_flight",
            Self::Outcome(_) => "outcome",
            Self::Alive(_) => "alive",
            Self::Gone(_) => "gone",
            Self::Prefix(_) => "prefix",
            Self::UsageSeen(_) => "usage_seen",
            Self::Proxies(_) => "proxies",
            Self::Current(_) => "current",
            Self::Stored(_) => "stored",
            Self::TransferSeen(_) => "transfer_seen",
            Self::Ended(_) => "ended",
            Self::Held(_) => "held",
            Self::Released(_) => "released",
            Self::Conversation(_) => "conversation",
            Self::Reported(_) => "reported",
            Self::Reporting(_) => "reporting",
            Self::WakeTime(_) => "wake_time",
        }
    }
}

// === impl Tier ===

impl Tier {
    /// Its stable name in metrics and explanations.
    pub fn label(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::Remote => "remote",
        }
    }
}

// === impl Trust ===

impl Trust {
    /// Its stable name in metrics and explanations.
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Suspect => "suspect",
        }
    }
}

// === impl HeldFor ===

impl HeldFor {
    /// Its stable name in metrics and explanations.
    pub fn label(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Room => "room",
        }
    }
}

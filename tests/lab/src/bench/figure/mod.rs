//! What is measured, one figure a file: each gives the repetitions as they were, and leaves what to make of them to
//! [`crate::bench::report`].

pub mod burst;
pub mod chunk;
pub mod cost;
pub mod decision;
pub mod feed;
pub mod view_memory;
pub mod wasm;
mod world;

use std::{fmt, str::FromStr};

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Processor time and latency of a request.
    Cost,
    /// Processor time of a streamed piece.
    Chunk,
    /// Many long prompts at the same moment.
    Burst,
    /// Time of a decision in small and large pools and views.
    Decision,
    /// Memory of a view in a VM.
    ViewMemory,
    /// What the state stream costs Envoy, and how soon every worker knows.
    Feed,
    /// Size of the filter, and start of a VM.
    Wasm,
}

/// A name that no figure has.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownFigure(String);

// === impl Figure ===

impl Figure {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 7] =
        [Self::Cost, Self::Chunk, Self::Burst, Self::Decision, Self::ViewMemory, Self::Feed, Self::Wasm];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cost => "cost",
            Self::Chunk => "chunk",
            Self::Burst => "burst",
            Self::Decision => "decision",
            Self::ViewMemory => "view-memory",
            Self::Feed => "feed",
            Self::Wasm => "wasm",
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Figure {
    type Err = UnknownFigure;

    fn from_str(name: &str) -> Result<Self, UnknownFigure> {
        let mut all = Self::ALL.into_iter();
        all.find(|figure| figure.name() == name).ok_or_else(|| UnknownFigure(name.to_owned()))
    }
}

// === impl UnknownFigure ===

impl fmt::Display for UnknownFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown figure {:?}, known are {}", self.0, Figure::ALL.map(Figure::name).join(", "))
    }
}

impl std::error::Error for UnknownFigure {}

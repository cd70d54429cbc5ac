//! What measurements are reported with, on the terminal and on one HTML page that needs nothing but itself.
//!
//! ```text
//!  samples ─► Quantiles, Spread ─► Table, Goal, chart::* ─► Section ─► Document ─► text, report.html, report.json
//! ```
//!
//! Simulator, demo, replay and bench describe what they found as [`Section`]s; terminal and page show the same sections.
//! Charts are inline SVG without a library: a page can be sent around and read in ten years.
#![allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "what is drawn and shown: counts, times and coordinates are far below 2^52"
)]

pub mod chart;
mod document;
mod goal;
mod html;
mod number;
mod quantiles;
mod section;
mod spread;
mod table;

pub use self::document::Document;
pub use self::goal::{Goal, Limit, Unit, Verdict};
pub use self::number::{number, percent, time_ms, times};
pub use self::quantiles::{Quantiles, percentile};
pub use self::section::Section;
pub use self::spread::{Spread, difference, ratio};
pub use self::table::{Cell, Mark, Row, Table};

/// What an arm is in a comparison: decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What Envoy does by itself.
    Plain,
    /// Other rules and routers.
    Other,
    /// Warmpath.
    Ours,
    /// Warmpath in several proxies.
    Proxies,
    /// Warmpath without a part of it.
    Ablation,
    /// The most that anything could reach.
    Bound,
}

// === impl Role ===

impl Role {
    /// Its class in the style sheet.
    const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Other => "other",
            Self::Ours => "ours",
            Self::Proxies => "proxies",
            Self::Ablation => "ablation",
            Self::Bound => "bound",
        }
    }
}

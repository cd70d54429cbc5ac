//! Processor time of a streamed piece on its whole path.
//!
//! All streams come from one engine: pieces of one engine's step come together, so how a target spreads streams over
//! engines would decide how often it has to wake up, and be taken for what a piece costs.

use crate::bench::load::{Numbers, Streams};
use crate::bench::plan::Plan;
use crate::bench::progress;
use crate::bench::target::{Fleet, Target};
use std::collections::BTreeMap;

/// Streams at the same time: one, which wakes everybody up for each of its pieces, and as many as a busy engine has.
pub const STREAMS: [usize; 2] = [1, 32];

/// Engines that they come from.
pub const ENGINES: usize = 1;

/// How much faster than real the streaming engines are: about 2 ms a token, so that each token is a piece of its own
/// on the wire.
pub const TIME_SCALE: f64 = 5.0;

/// All repetitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkCase {
    /// Streams at the same time.
    pub streams: usize,
    /// Whether the client asked for the usage: the filter then reads the end of the stream.
    pub has_usage: bool,
    /// Microseconds of processor time a piece, one value a repetition.
    pub targets: BTreeMap<Target, Vec<f64>>,
}

// === impl ChunkCase ===

impl ChunkCase {
    /// The case in a few words.
    pub fn label(&self) -> String {
        let usage = if self.has_usage { "usage asked" } else { "usage not asked" };
        let plural = if self.streams == 1 { "" } else { "s" };
        format!("{} stream{plural}, {usage}", self.streams)
    }
}

/// Measures streams with or without usage, in front of an engine of [`TIME_SCALE`].
pub async fn measure(
    fleet: &Fleet,
    plan: &Plan,
    streams: usize,
    has_usage: bool,
    numbers: &mut Numbers,
) -> anyhow::Result<ChunkCase> {
    let load = Streams { streams, chunks: plan.stream_chunks, has_usage };
    let warm_up = Streams { chunks: plan.stream_chunks / 10, ..load };
    let mut case = ChunkCase { streams, has_usage, ..ChunkCase::default() };
    for runner in fleet.runners() {
        warm_up.run(runner.gateway, numbers).await.map_err(|failure| runner.blame(failure))?;
    }
    for at in 0..plan.repetitions {
        progress::repetition(format_args!("chunk, {}", case.label()), at, plan.repetitions);
        for runner in fleet.runners() {
            let before = runner.meter.read()?;
            let sent = load.run(runner.gateway, numbers).await.map_err(|failure| runner.blame(failure))?;
            let us = runner.meter.read()?.since(&before) / sent.units as f64;
            case.targets.entry(runner.target).or_default().push(us);
        }
    }
    Ok(case)
}

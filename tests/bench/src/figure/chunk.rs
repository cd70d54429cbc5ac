//! Processor time of a streamed piece on its whole path.

use std::collections::BTreeMap;

use crate::load::{Numbers, Streams};
use crate::plan::Plan;
use crate::target::{Fleet, Target};

/// Streams at the same time.
pub const STREAMS: usize = 8;

/// How much faster than real the streaming engines are: about 2 ms a token, so that each token is a piece of its own
/// on the wire.
pub const TIME_SCALE: f64 = 5.0;

/// All repetitions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChunkCase {
    /// Whether the client asked for the usage: the filter then reads the end of the stream.
    pub has_usage: bool,
    /// Microseconds of processor time a piece, one value a repetition.
    pub targets: BTreeMap<Target, Vec<f64>>,
}

/// Measures streams with or without usage, in front of engines of [`TIME_SCALE`].
pub async fn measure(
    fleet: &Fleet,
    plan: &Plan,
    has_usage: bool,
    numbers: &mut Numbers,
) -> anyhow::Result<ChunkCase> {
    let load = Streams { streams: STREAMS, chunks: plan.stream_chunks, has_usage };
    let warm_up = Streams { chunks: plan.stream_chunks / 10, ..load };
    let mut case = ChunkCase { has_usage, ..ChunkCase::default() };
    for runner in fleet.runners() {
        warm_up.run(runner.gateway, numbers).await.map_err(|failure| runner.blame(failure))?;
    }
    for _ in 0..plan.repetitions {
        for runner in fleet.runners() {
            let before = runner.meter.read()?;
            let sent = load.run(runner.gateway, numbers).await.map_err(|failure| runner.blame(failure))?;
            let us = runner.meter.read()?.since(&before) / sent.units as f64;
            case.targets.entry(runner.target).or_default().push(us);
        }
    }
    Ok(case)
}

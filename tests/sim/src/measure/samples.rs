//! How evenly the load lay on the engines, over time.

use serde::Serialize;

use crate::fleet::Load;

/// Bins over the whole run that reports show.
const BINS: usize = 60;

/// Loads of all engines at the times at which they were looked at.
#[derive(Debug, Clone)]
pub struct Samples {
    engines: usize,
    /// (second, engine, requests).
    taken: Vec<(f32, u16, u32)>,
}

/// One bin of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Its middle, in seconds since the first look.
    pub at_s: f64,
    /// Requests at an engine, averaged over engines and the bin.
    pub mean: f64,
    /// Those at the engine that had most, averaged over the bin.
    pub most: f64,
}

// === impl Samples ===

impl Samples {
    pub(crate) fn new(engines: usize) -> Self {
        Self { engines, taken: Vec::new() }
    }

    pub(crate) fn add(&mut self, now_s: f64, engine: usize, load: Load) {
        let engine = u16::try_from(engine).unwrap_or(u16::MAX);
        self.taken.push((now_s as f32, engine, load.requests as u32));
    }

    /// The bins, those without a sample left out.
    pub fn spread(&self) -> Vec<Spread> {
        let begin_s = self.taken.first().map_or(0.0, |first| f64::from(first.0));
        let end_s = self.taken.last().map_or(0.0, |last| f64::from(last.0));
        let width_s = (end_s - begin_s).max(1e-9) / BINS as f64;
        let mut sums = vec![0.0_f64; BINS * self.engines];
        let mut counts = vec![0_u32; BINS * self.engines];
        for (at_s, engine, requests) in &self.taken {
            let bin = (((f64::from(*at_s) - begin_s) / width_s) as usize).min(BINS - 1);
            let place = bin * self.engines + usize::from(*engine);
            sums[place] += f64::from(*requests);
            counts[place] += 1;
        }
        let means: Vec<f64> =
            sums.iter().zip(&counts).map(|(sum, count)| sum / f64::from((*count).max(1))).collect();
        let bins = means.chunks(self.engines.max(1)).enumerate();
        bins.map(|(bin, engines)| Spread {
            at_s: (bin as f64 + 0.5) * width_s,
            mean: engines.iter().sum::<f64>() / engines.len() as f64,
            most: engines.iter().copied().fold(0.0, f64::max),
        })
        .collect()
    }
}

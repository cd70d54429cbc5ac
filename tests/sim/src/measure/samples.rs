//! How evenly the load lay on the engines, over time.

use crate::fleet::Load;
use serde::Serialize;

/// Bins over the whole run that reports show.
const BINS: usize = 60;

/// Loads of all engines at the times at which they were looked at.
#[derive(Clone, Debug)]
pub struct Samples {
    engines: usize,
    /// (second, engine, requests).
    taken: Vec<(f32, u16, u32)>,
}

/// One bin of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Its middle, in seconds since the first look.
    pub at_s: f64,
    /// Requests at an engine, averaged over the bin and the engines that were looked at in it.
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
        let engines = self.engines.max(1);
        let bins = sums.chunks(engines).zip(counts.chunks(engines)).enumerate();
        bins.map(|(bin, (sums, counts))| {
            let looked = sums.iter().zip(counts).filter(|(_, count)| **count > 0);
            let means: Vec<f64> = looked.map(|(sum, count)| sum / f64::from(*count)).collect();
            Spread {
                at_s: (bin as f64 + 0.5) * width_s,
                mean: means.iter().sum::<f64>() / means.len().max(1) as f64,
                most: means.iter().copied().fold(0.0, f64::max),
            }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(requests: usize) -> Load {
        Load { requests, ..Load::default() }
    }

    #[test]
    fn engines_that_are_not_there_yet_are_no_idle_ones() {
        let mut samples = Samples::new(2);
        for second in 0..60 {
            samples.add(f64::from(second), 0, load(4));
            if second >= 30 {
                samples.add(f64::from(second), 1, load(2));
            }
        }
        let spread = samples.spread();
        let (first, last) = (spread[0], spread[BINS - 1]);
        assert_eq!((first.mean, first.most, last.mean, last.most), (4.0, 4.0, 3.0, 4.0));
    }
}

//! What a HorizontalPodAutoscaler does with a metric: the formula, the tolerance and the default behaviour of `autoscaling/v2`.
//!
//! Every 15 s, `ceil(metric / target)` with a tolerance of a tenth; upwards at most the double or four more in 15 s, downwards not below
//! the highest of the last 300 s.

use std::collections::VecDeque;

const SYNC_S: f64 = 15.0;
const TOLERANCE: f64 = 0.1;
const STABLE_S: f64 = 300.0;

/// See the module.
#[derive(Clone, Debug)]
pub struct Hpa {
    /// The metric of one replica that is aimed at.
    target: f64,
    max: u32,
    replicas: u32,
    synced_s: f64,
    wanted: VecDeque<(f64, u32)>,
}

// === impl Hpa ===

impl Hpa {
    /// Aims at this much of the metric for each replica, with so many replicas at most.
    pub fn new(target: f64, max: u32) -> Self {
        Self { target, max, replicas: 1, synced_s: f64::NEG_INFINITY, wanted: VecDeque::new() }
    }

    /// Replicas for the sum of the metric over all replicas.
    pub fn replicas(&mut self, sum: f64, now_s: f64) -> u32 {
        if now_s - self.synced_s < SYNC_S {
            return self.replicas;
        }
        self.synced_s = now_s;
        let ratio = sum / (self.target * f64::from(self.replicas));
        let wanted =
            if (ratio - 1.0).abs() <= TOLERANCE { self.replicas } else { (sum / self.target).ceil() as u32 };
        let most = (self.replicas * 2).max(self.replicas + 4);
        let wanted = wanted.clamp(1, self.max).min(most);
        self.wanted.push_back((now_s, wanted));
        self.wanted.retain(|(at_s, _)| now_s - at_s <= STABLE_S);
        let kept = self.wanted.iter().map(|(_, wanted)| *wanted).max().unwrap_or(wanted);
        self.replicas = if wanted >= self.replicas { wanted } else { kept.min(self.replicas) };
        self.replicas
    }
}

#[cfg(test)]
mod tests {
    use super::Hpa;

    #[test]
    fn it_grows_by_the_formula_and_shrinks_after_five_quiet_minutes() {
        let mut hpa = Hpa::new(10.0, 20);
        let at = |hpa: &mut Hpa, sum, at_s| hpa.replicas(sum, at_s);
        assert_eq!(at(&mut hpa, 10.9, 0.0), 1, "within the tolerance");
        assert_eq!(at(&mut hpa, 44.0, 15.0), 5);
        assert_eq!(at(&mut hpa, 900.0, 20.0), 5, "between two looks");
        assert_eq!(at(&mut hpa, 900.0, 30.0), 10, "the double at most");
        assert_eq!(at(&mut hpa, 5.0, 315.0), 10);
        assert_eq!(at(&mut hpa, 5.0, 345.0), 1);
    }
}

//! The properties of a whole pool that the terms use: its mean speed, and the load of an endpoint.

use crate::num::float_len;
use crate::time::Timestamp;
use crate::view::Endpoint;

/// The highest plausible utilisation of an endpoint. Beyond it, every queue would be endless and no choice better than
/// another.
const UTILIZATION_MAX: f64 = 0.8;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Averages {
    /// Mean logarithm of seconds per token; `None` until something was observed.
    log_s_per_token: Option<f64>,
    /// Its exponential, taken once.
    s_per_token: f64,
    requests_per_s: f64,
    work_tokens_per_s: f64,
}

// === impl Averages ===

impl Averages {
    /// Of these endpoints.
    pub fn of<'a>(endpoints: impl Iterator<Item = &'a Endpoint>, now: Timestamp) -> Self {
        let (mut logs, mut count) = (Mean::default(), 0_usize);
        let mut averages = Self::default();
        for endpoint in endpoints {
            logs.add(endpoint.speed().log().or_else(|| endpoint.unconfirmed_speed().log()));
            let arrived = endpoint.arrivals().per_second(now);
            averages.requests_per_s += arrived.requests;
            averages.work_tokens_per_s += arrived.work_tokens;
            count += 1;
        }
        let endpoints = float_len(count.max(1));
        averages.requests_per_s /= endpoints;
        averages.work_tokens_per_s /= endpoints;
        averages.log_s_per_token = logs.value();
        averages.s_per_token = averages.log_s_per_token.map_or(0.0, f64::exp);
        averages
    }

    /// An endpoint's learned prefill speed, as far as it differs significantly from the others.
    pub fn prefill_s_per_token(&self, endpoint: &Endpoint) -> f64 {
        endpoint.speed().among(self.log_s_per_token)
    }

    /// Requests that will come to an endpoint of this speed in a second: in step with its speed, as the choice sends
    /// slower ones less.
    pub(super) fn requests_per_s(&self, prefill_s_per_token: f64) -> f64 {
        if self.s_per_token > 0.0 {
            self.requests_per_s * self.s_per_token / prefill_s_per_token
        } else {
            self.requests_per_s
        }
    }

    /// Share of an endpoint's time that prefills fill, if it gets as many as any.
    pub(super) fn utilization(&self, prefill_s_per_token: f64) -> f64 {
        utilization(self.work_tokens_per_s, prefill_s_per_token)
    }
}

/// Share of its time in which an endpoint of this speed does so much prefill work a second.
pub(super) fn utilization(work_tokens_per_s: f64, prefill_s_per_token: f64) -> f64 {
    (work_tokens_per_s * prefill_s_per_token).min(UTILIZATION_MAX)
}

/// The mean of the values that are known.
#[derive(Default)]
struct Mean {
    sum: f64,
    known: usize,
}

// === impl Mean ===

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.sum += value;
            self.known += 1;
        }
    }

    fn value(&self) -> Option<f64> {
        (self.known > 0).then(|| self.sum / float_len(self.known))
    }
}

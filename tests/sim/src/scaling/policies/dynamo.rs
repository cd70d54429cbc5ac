//! The planner of NVIDIA Dynamo, by its documentation: the next interval is as the last one, and profiles give what an engine does in it.
//!
//! `prefill = ceil(requests x prompt / interval x min(1, correction) / prefill throughput)`, where the correction is the measured time to
//! the first token over the profile's; `decode = ceil(requests x response / interval / throughput at the objective over the decode
//! correction)`. Engines here do both, so they are added before they are rounded up.

use super::{Policy, View, Wanted, Window};
use crate::scaling::setting::Model;
use warmpath_engine::model::StepLoad;

/// See the module.
pub(super) struct Dynamo {
    interval_s: f64,
    model: Model,
    replicas: u32,
    planned_s: f64,
    sum: Window,
}

// === impl Dynamo ===

impl Dynamo {
    pub(super) fn new(interval_s: f64, model: &Model) -> Self {
        Self { interval_s, model: model.clone(), replicas: 1, planned_s: 0.0, sum: Window::default() }
    }

    /// Output tokens a second of an engine whose steps take so long, with contexts of a length; and the batch that takes so long.
    fn throughput(&self, step_s: f64, context: f64) -> f64 {
        let at = |batch: usize| {
            let context_tokens = (batch as f64 * context) as usize;
            let load = StepLoad { decodes: batch, context_tokens, ..StepLoad::default() };
            self.model.step_time.seconds(&load)
        };
        let room = (self.model.kv_tokens / context.max(1.0)) as usize;
        let batch = (1..=room.clamp(1, 1_024)).take_while(|batch| at(*batch) <= step_s).last().unwrap_or(1);
        batch as f64 / at(batch)
    }
}

impl Policy for Dynamo {
    fn look(&mut self, view: &View) -> Wanted {
        let window = &view.window;
        self.sum.requests += window.requests;
        self.sum.prompt_tokens += window.prompt_tokens;
        self.sum.firsts += window.firsts;
        self.sum.ttft_s += window.ttft_s;
        self.sum.ends += window.ends;
        self.sum.inter_token_s += window.inter_token_s;
        if view.now_s - self.planned_s >= self.interval_s {
            let sum = std::mem::take(&mut self.sum);
            let took_s = view.now_s - self.planned_s;
            self.planned_s = view.now_s;
            let prompt = sum.prompt_tokens / sum.requests.max(1.0);
            let speeds = self.model.speeds();
            let expected_s = prompt * speeds.prefill_s_per_token;
            let prefill_correction =
                if sum.firsts > 0.0 { sum.ttft_s / sum.firsts / expected_s.max(1e-6) } else { 1.0 };
            let prefill =
                sum.prompt_tokens / took_s * prefill_correction.min(1.0) * speeds.prefill_s_per_token;
            let context = prompt + view.output_tokens_mean / 2.0;
            let running = view.ready().map(|engine| engine.in_flight).sum::<usize>();
            let batch = running / view.ready().count().max(1);
            let load = StepLoad {
                decodes: batch.max(1),
                context_tokens: (batch as f64 * context) as usize,
                ..StepLoad::default()
            };
            let expected_s = self.model.step_time.seconds(&load);
            let correction = if sum.ends > 0.0 { sum.inter_token_s / sum.ends / expected_s } else { 1.0 };
            let objective_s = self.model.objectives.inter_token_s / correction.max(0.1);
            let decode =
                sum.requests * view.output_tokens_mean / took_s / self.throughput(objective_s, context);
            self.replicas = ((prefill + decode).ceil() as u32).clamp(1, self.model.engines_max);
        }
        Wanted { replicas: self.replicas, leaving_first: Vec::new() }
    }
}

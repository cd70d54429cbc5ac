//! Scaling policies: one a file, each with what it may see of the same [`View`].
//!
//! The others are implemented from their documentation and source, and are not the binaries that they are named after. Each is played
//! with several settings of its one threshold, because an operator would tune it; ours has no setting but the objectives.

mod dynamo;
mod fixed;
mod hpa;
mod hpa_queue;
mod keda;
mod warmpath;
mod wva;

pub use self::hpa::Hpa;

use super::setting::Model;

/// What a policy decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) replicas: u32,
    /// The engines in the order in which they should go; empty: as the Deployment has it.
    pub(super) leaving_first: Vec<u64>,
}

/// A policy.
pub(super) trait Policy {
    /// What there should be now. It is asked every [`TICK_S`](super::world::TICK_S); a policy that looks less often returns the same
    /// in between.
    fn look(&mut self, view: &View) -> Wanted;
}

/// What there is to see.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) now_s: f64,
    /// What came since the last look.
    pub(super) window: Window,
    /// Tokens of a response, in the mean of those that have ended.
    pub(super) output_tokens_mean: f64,
    pub(super) held: usize,
    pub(super) held_tokens: f64,
    pub(super) engines: Vec<ViewEngine>,
}

/// An engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct ViewEngine {
    pub(super) number: u64,
    pub(super) is_leaving: bool,
    pub(super) is_ready: bool,
    pub(super) age_s: f64,
    pub(super) queue: usize,
    pub(super) in_flight: usize,
    pub(super) waiting_tokens: f64,
    pub(super) kv_used: f64,
    pub(super) warm_tokens: f64,
}

/// Sums since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    pub(super) requests: f64,
    pub(super) prompt_tokens: f64,
    pub(super) work_tokens: f64,
    pub(super) work_tokens_squared: f64,
    pub(super) firsts: f64,
    pub(super) firsts_late: f64,
    pub(super) ttft_s: f64,
    pub(super) ends: f64,
    pub(super) ends_late: f64,
    pub(super) inter_token_s: f64,
}

/// A policy with one of its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Setting {
    Warmpath,
    Fixed(u32),
    HpaQueue(f64),
    Keda(f64),
    Wva(f64),
    Dynamo(f64),
}

// === impl Setting ===

impl Setting {
    /// All that are compared.
    pub(super) fn all() -> Vec<Self> {
        let fixed = [4, 6, 8, 10, 12, 14].map(Self::Fixed);
        let queue = [0.25, 0.5, 1.0, 2.0].map(Self::HpaQueue);
        let keda = [8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 32.0].map(Self::Keda);
        let wva = [0.05, 0.1, 0.2, 0.8].map(Self::Wva);
        let dynamo = [60.0, 180.0].map(Self::Dynamo);
        let others = fixed.into_iter().chain(queue).chain(keda).chain(wva).chain(dynamo);
        std::iter::once(Self::Warmpath).chain(others).collect()
    }

    /// The names of all policies.
    pub(super) const NAMES: [&'static str; 6] =
        ["warmpath", "fixed", "hpa-queue", "keda-concurrency", "wva", "dynamo-planner"];

    /// The policy's name.
    pub(super) fn policy(self) -> &'static str {
        let [warmpath, fixed, hpa_queue, keda, wva, dynamo] = Self::NAMES;
        match self {
            Self::Warmpath => warmpath,
            Self::Fixed(_) => fixed,
            Self::HpaQueue(_) => hpa_queue,
            Self::Keda(_) => keda,
            Self::Wva(_) => wva,
            Self::Dynamo(_) => dynamo,
        }
    }

    /// Its setting, in words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Warmpath => "objectives".to_owned(),
            Self::Fixed(engines) => format!("{engines} engines"),
            Self::HpaQueue(queue) => format!("{queue} queued an engine"),
            Self::Keda(requests) => format!("{requests} requests an engine"),
            Self::Wva(kv) => format!("KV use {kv}"),
            Self::Dynamo(interval_s) => format!("every {interval_s} s"),
        }
    }

    /// The policy, for a model.
    pub(super) fn build(self, model: &Model) -> Box<dyn Policy> {
        match self {
            Self::Warmpath => Box::new(warmpath::Warmpath::new(model)),
            Self::Fixed(engines) => Box::new(fixed::Fixed(engines)),
            Self::HpaQueue(queue) => Box::new(hpa_queue::HpaQueue::new(queue, model)),
            Self::Keda(requests) => Box::new(keda::Keda::new(requests, model)),
            Self::Wva(kv) => Box::new(wva::Wva::new(kv, model)),
            Self::Dynamo(interval_s) => Box::new(dynamo::Dynamo::new(interval_s, model)),
        }
    }
}

// === impl View ===

impl View {
    /// Engines that are ready and stay.
    pub(super) fn ready(&self) -> impl Iterator<Item = &ViewEngine> {
        self.engines.iter().filter(|engine| engine.is_ready && !engine.is_leaving)
    }
}

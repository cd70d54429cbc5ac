//! Requests that routers hold: their prompts are kept here, as a proxy keeps their bodies, and are handed over once more in the tick
//! in which they go on.
//!
//! ```text
//!   tick ─► Enter, Recall, Leave ─► the prompt again ─► Enter, what becomes of it, Leave ─► freed ─► the run
//! ```

use super::process::{PLUGIN, VmAt};
use super::world::World;
use super::{adapters, size};
use crate::workload::Job;
use std::collections::VecDeque;
use warmpath_core::ids::TenantId;
use warmpath_core::router::{DESTINATION_HEADER, ExchangeId, Input, Output, Prompt};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate<'a> {
    /// It goes to the engine with this address.
    Sent(&'a str),
    /// It waits.
    Held,
    /// It is refused, and may come again after so many seconds.
    Refused(f64),
}

/// The prompt of a request as the filter reads it.
pub(super) fn prompt(job: &Job) -> Prompt<'static> {
    Prompt {
        model: adapters::model(job.adapter),
        chain: job.cells.to_vec(),
        size: size(job),
        output_tokens_max: job.output_tokens_max,
        is_stream: !job.form.is_whole,
        has_usage: !job.form.lacks_usage,
        tenant: job.form.tenant.map_or_else(TenantId::default, TenantId::of),
        priority: 0,
    }
}

/// What the outputs for a request make of it, calls left out.
pub(super) fn fate(outputs: &[Output]) -> Fate<'_> {
    let found = outputs.iter().find_map(|output| match output {
        Output::SetRequestHeader(DESTINATION_HEADER, address) => Some(Fate::Sent(address)),
        Output::Reply(reply) => {
            let header = reply.headers.iter().find(|(name, _)| *name == "retry-after");
            let retry_s = header.and_then(|(_, seconds)| seconds.parse().ok());
            Some(Fate::Refused(retry_s.unwrap_or(1.0)))
        }
        _ => None,
    });
    found.unwrap_or(Fate::Held)
}

// === impl World ===

impl World {
    /// Does what a tick wants done for requests that are held: they go on, one after the other.
    pub(super) fn resume(&mut self, vm: VmAt, outputs: Vec<Output>) {
        let mut rest = VecDeque::from(outputs);
        let mut entered = None;
        while let Some(output) = rest.pop_front() {
            match (output, &mut entered) {
                (Output::Enter { exchange }, _) => entered = Some((exchange, Vec::new())),
                (Output::Recall { exchange }, _) => rest.extend(self.recall(vm, exchange)),
                (Output::Leave { .. }, _) => {
                    let freed = entered.take().filter(|(_, outputs)| fate(outputs) != Fate::Held);
                    if let Some((exchange, outputs)) = freed {
                        self.held.remove(&exchange.0);
                        self.freed.push_back((exchange, outputs));
                    }
                }
                (output, Some((_, outputs))) => outputs.push(output),
                _ => {}
            }
        }
    }

    fn recall(&mut self, vm: VmAt, exchange: ExchangeId) -> Vec<Output> {
        let Some(prompt) = self.held.get(&exchange.0).map(prompt) else { return Vec::new() };
        self.handle(vm, Input::RequestPrompt { exchange, plugin: PLUGIN, prompt })
    }
}

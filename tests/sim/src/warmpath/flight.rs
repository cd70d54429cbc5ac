//! One request under way and its response, as the bytes that a proxy sees of it.

use super::process::VmAt;
use crate::workload::{Form, Job};
use warmpath_core::router::{CallId, ExchangeId, Output, Watch};

/// A piece of generated text in a stream.
pub(super) const TEXT_PIECE: &[u8] = b"data: {\"choices\":[{\"index\":0,\"text\":\" a\"}]}\n\n";

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    /// The VM that it came through.
    pub(super) vm: VmAt,
    pub(super) exchange: ExchangeId,
    /// The engine that it was sent to; 0 before it is.
    pub(super) engine: usize,
    /// The call that prefills it on that engine, if another decodes it.
    pub(super) call: Option<CallId>,
    /// What the router wants to see of the response.
    pub(super) watch: Watch,
    prompt_tokens: usize,
    cached_tokens: usize,
    output_tokens: usize,
    pub(super) form: Form,
}

// === impl Flight ===

impl Flight {
    /// One that has just come.
    pub(super) fn new(vm: VmAt, exchange: ExchangeId, job: &Job) -> Self {
        Self {
            vm,
            exchange,
            engine: 0,
            call: None,
            watch: Watch::End,
            prompt_tokens: job.prompt_tokens,
            cached_tokens: 0,
            output_tokens: job.output_tokens,
            form: job.form,
        }
    }

    /// Notes what its router wants to see of the response.
    pub(super) fn note(&mut self, outputs: &[Output]) {
        for output in outputs {
            if let Output::Watch(watch) = output {
                self.watch = *watch;
            }
        }
    }

    /// The engine has found so many of its prompt's tokens in its cache.
    pub(super) fn found(&mut self, cached_tokens: usize) {
        self.cached_tokens = cached_tokens;
    }

    /// What the shell copies of the piece with the first token.
    pub(super) fn first_tail(&self) -> &'static [u8] {
        match self.watch {
            Watch::Tail(bytes) => &TEXT_PIECE[TEXT_PIECE.len().saturating_sub(bytes)..],
            Watch::Whole => TEXT_PIECE,
            Watch::End | Watch::FirstByte => &[],
        }
    }

    /// The last piece, which reports the usage as vLLM does, where the router reads it. It is far below what a router
    /// asks for.
    pub(super) fn last_piece(&self) -> Option<Vec<u8>> {
        if !matches!(self.watch, Watch::Tail(_) | Watch::Whole) {
            return None;
        }
        let Self { prompt_tokens, cached_tokens, output_tokens, form, .. } = *self;
        let usage = serde_json::json!({
            "prompt_tokens": prompt_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": prompt_tokens + output_tokens,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        });
        let piece = match (form.is_whole, form.lacks_usage) {
            (true, true) => "{\"choices\":[{\"index\":0,\"text\":\" a\"}]}".to_owned(),
            (true, false) => format!("{{\"choices\":[{{\"index\":0,\"text\":\" a\"}}],\"usage\":{usage}}}"),
            (false, true) => "data: [DONE]\n\n".to_owned(),
            (false, false) => format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"),
        };
        Some(piece.into_bytes())
    }
}

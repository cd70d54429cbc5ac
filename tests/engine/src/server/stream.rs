//! A streamed response: progress in the model becomes server-sent events.
//!
//! The pieces of a choice end after its first token and then every `tokens_per_chunk` tokens, however late
//! the reader is: equal outputs always have equal chunks, and an instant engine sends as many as a slow one.

use super::{flight::Ticket, reply::Body};
use crate::api::{Delta, ModelOutput, Wire};
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::io;

/// A stream under way.
pub(super) struct EventStream {
    pub(super) ticket: Ticket,
    pub(super) output: ModelOutput,
    pub(super) wire: &'static dyn Wire,
    pub(super) tokens_per_chunk: usize,
    /// After how many pieces a fault breaks the connection.
    pub(super) cut_after: Option<usize>,
    /// Tokens sent so far, by choice.
    sent: Vec<usize>,
    pieces: usize,
    closed: bool,
}

// === impl EventStream ===

impl EventStream {
    /// A stream whose first tokens are there.
    pub(super) fn new(
        ticket: Ticket,
        output: ModelOutput,
        wire: &'static dyn Wire,
        tokens_per_chunk: usize,
    ) -> Self {
        let sent = vec![0; output.choices.len()];
        let tokens_per_chunk = tokens_per_chunk.max(1);
        Self { ticket, output, wire, tokens_per_chunk, cut_after: None, sent, pieces: 0, closed: false }
    }

    /// The body, one frame a piece.
    pub(super) fn into_body(self) -> Body {
        let frames = stream::unfold(self, |mut events| async move {
            let frame = events.next().await?;
            Some((frame.map(Frame::data), events))
        });
        BodyExt::boxed_unsync(StreamBody::new(frames))
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.cut_after.is_some_and(|after| self.pieces >= after) {
            // A pending body makes the connection write out what it has; an error at once would swallow it.
            tokio::task::yield_now().await;
            return Some(Err(io::Error::other("the stream is cut by a simulated fault")));
        }
        loop {
            let mut events = String::new();
            if self.piece(&mut events) {
                return Some(Ok(events.into()));
            }
            if self.is_done() {
                if std::mem::replace(&mut self.closed, true) {
                    return None;
                }
                self.wire.closing(&self.output, self.pieces, &mut events);
                return Some(Ok(events.into()));
            }
            self.ticket.flight.changed().await;
        }
    }

    /// Appends the next complete chunk, if there is one.
    fn piece(&mut self, events: &mut String) -> bool {
        for (at, choice) in self.output.choices.iter().enumerate() {
            let sent = self.sent[at];
            let step = if sent == 0 { 1 } else { self.tokens_per_chunk };
            let end = (sent + step).min(choice.output_tokens);
            if sent == end || self.ticket.flight.produced_tokens(at) < end {
                continue;
            }
            if self.pieces == 0 {
                self.wire.opening(&self.output, events);
            }
            let text = choice.filler.text(sent..end);
            let last = end == choice.output_tokens;
            let delta = Delta { choice: at, number: self.pieces, text: &text, last };
            self.wire.delta(&self.output, delta, events);
            self.sent[at] = end;
            self.pieces += 1;
            return true;
        }
        false
    }

    fn is_done(&self) -> bool {
        self.output.choices.iter().zip(&self.sent).all(|(choice, sent)| *sent == choice.output_tokens)
    }
}

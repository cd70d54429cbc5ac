//! A streamed response: progress in the model becomes server-sent events.
//!
//! The pieces of a choice end after its first token and then every `tokens_per_chunk` tokens, however late
//! the reader is: equal outputs always have equal chunks, and an instant engine sends as many as a slow one.

use super::{config::Opening, flight::Ticket, reply::Body};
use crate::api::{Delta, ModelOutput, Wire};
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::{io, time::Duration};

/// A line that clients skip, as gateways and some engines send it to keep a connection alive.
const COMMENT: &str = ": keep-alive\n\n";

/// A stream under way.
pub(super) struct EventStream {
    pub(super) ticket: Ticket,
    pub(super) output: ModelOutput,
    pub(super) wire: &'static dyn Wire,
    pub(super) tokens_per_chunk: usize,
    /// When the events before the first piece are sent.
    pub(super) opening: Opening,
    /// Time between comments while there is no token.
    pub(super) comment_interval: Option<Duration>,
    /// After how many pieces a fault breaks the connection.
    pub(super) cut_after: Option<usize>,
    /// Tokens sent so far, by choice.
    sent: Vec<usize>,
    pieces: usize,
    /// What precedes the first piece and is still to be sent.
    created: bool,
    opened: bool,
    closed: bool,
}

// === impl EventStream ===

impl EventStream {
    /// A stream that begins when it is read.
    pub(super) fn new(
        ticket: Ticket,
        output: ModelOutput,
        wire: &'static dyn Wire,
        tokens_per_chunk: usize,
    ) -> Self {
        let sent = vec![0; output.choices.len()];
        let tokens_per_chunk = tokens_per_chunk.max(1);
        Self {
            ticket,
            output,
            wire,
            tokens_per_chunk,
            opening: Opening::default(),
            comment_interval: None,
            cut_after: None,
            sent,
            pieces: 0,
            created: false,
            opened: false,
            closed: false,
        }
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
        let mut events = String::new();
        if !std::mem::replace(&mut self.created, true) {
            self.wire.created(&self.output, &mut events);
            if self.opening == Opening::AtOnce {
                self.open(&mut events);
            }
            if !events.is_empty() {
                return Some(Ok(events.into()));
            }
        }
        loop {
            if self.piece(&mut events) {
                return Some(Ok(events.into()));
            }
            if self.is_done() {
                if std::mem::replace(&mut self.closed, true) {
                    return None;
                }
                self.ticket.note_cached(&mut self.output);
                self.open(&mut events);
                self.wire.closing(&self.output, self.pieces, &mut events);
                return Some(Ok(events.into()));
            }
            if self.is_time_for_comment().await {
                return Some(Ok(COMMENT.into()));
            }
        }
    }

    /// Waits for progress in the model, or until a comment is due.
    async fn is_time_for_comment(&self) -> bool {
        let changed = self.ticket.flight.changed();
        let Some(interval) = self.comment_interval else {
            changed.await;
            return false;
        };
        tokio::time::timeout(interval, changed).await.is_err()
    }

    /// Appends what precedes the first piece, once.
    fn open(&mut self, events: &mut String) {
        if !std::mem::replace(&mut self.opened, true) {
            self.wire.opening(&self.output, events);
        }
    }

    /// Appends the next complete chunk, if there is one.
    fn piece(&mut self, events: &mut String) -> bool {
        for at in 0..self.output.choices.len() {
            let (filler, output_tokens) =
                (self.output.choices[at].filler.clone(), self.output.choices[at].output_tokens);
            let sent = self.sent[at];
            let step = if sent == 0 { 1 } else { self.tokens_per_chunk };
            let end = (sent + step).min(output_tokens);
            if sent == end || self.ticket.flight.produced_tokens(at) < end {
                continue;
            }
            if self.pieces == 0 {
                self.ticket.note_cached(&mut self.output);
                self.open(events);
            }
            let text = filler.text(sent..end);
            let last = end == output_tokens;
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

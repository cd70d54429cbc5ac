//! The gRPC stream between a proxy and a controller: messages up, messages down, snapshot and resume.
//!
//! A proxy opens [`STREAM_METHOD`] and sends [`Hello`] with the last generation that it has applied. The
//! controller sends either the deltas since then ([`Phase::Resumed`] first) or a snapshot ([`Phase::Begin`],
//! any number of [`Phase::Item`], [`Phase::Done`]), then deltas for as long as the stream lives. Generations
//! are one controller instance's count of changes: they compare only under the same `instance`.
//!
//! [`Hello`]: super::Hello
//! [`Phase::Resumed`]: super::Phase::Resumed
//! [`Phase::Begin`]: super::Phase::Begin
//! [`Phase::Item`]: super::Phase::Item
//! [`Phase::Done`]: super::Phase::Done

use super::{Down, Event, Kind, Prefix, Up};
use crate::limits::{EVENTS_PER_MESSAGE_MAX, MESSAGE_BYTES_SOFT_MAX};
use prost::{DecodeError, Message};
use std::fmt;

/// The gRPC service's full name.
pub const STREAM_SERVICE: &str = "warmpath.v1.State";
/// The gRPC method's name: a stream in both directions.
pub const STREAM_METHOD: &str = "Sync";

/// A message that could not be used.
#[derive(Debug)]
pub enum StreamError {
    /// The bytes are no message of this protocol.
    Decode(DecodeError),
    /// More events than [`EVENTS_PER_MESSAGE_MAX`].
    TooManyEvents(usize),
}

/// Cuts a list of events into messages within the limits. A lone event may exceed the soft byte limit.
#[derive(Debug, Default)]
pub struct MessageChunker {
    full: Vec<Vec<Event>>,
    open: Vec<Event>,
    open_bytes: usize,
}

// === impl StreamError ===

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(_) => f.write_str("message is not of the state stream"),
            Self::TooManyEvents(count) => {
                write!(f, "message carries {count} events, {EVENTS_PER_MESSAGE_MAX} at most")
            }
        }
    }
}

impl std::error::Error for StreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            Self::TooManyEvents(_) => None,
        }
    }
}

/// Decodes a message from a proxy.
pub fn decode_up(bytes: &[u8]) -> Result<Up, StreamError> {
    let up = Up::decode(bytes).map_err(StreamError::Decode)?;
    bounded(up.events.len())?;
    Ok(up)
}

/// Decodes a message from the controller.
pub fn decode_down(bytes: &[u8]) -> Result<Down, StreamError> {
    let down = Down::decode(bytes).map_err(StreamError::Decode)?;
    bounded(down.events.len())?;
    Ok(down)
}

fn bounded(events: usize) -> Result<(), StreamError> {
    if events > EVENTS_PER_MESSAGE_MAX { Err(StreamError::TooManyEvents(events)) } else { Ok(()) }
}

// === impl MessageChunker ===

impl MessageChunker {
    /// Adds one event to the message that is open, or opens the next.
    pub fn push(&mut self, event: Event) {
        let bytes = event.encoded_len();
        let is_full =
            self.open_bytes + bytes > MESSAGE_BYTES_SOFT_MAX || self.open.len() >= EVENTS_PER_MESSAGE_MAX;
        // A prefix continues the one before it, wherever the message is cut: the receiver's chain lives on.
        if is_full && !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open));
            self.open_bytes = 0;
        }
        self.open_bytes += bytes;
        self.open.push(event);
    }

    /// The messages' events, in order; none is empty.
    pub fn finish(mut self) -> Vec<Vec<Event>> {
        if !self.open.is_empty() {
            self.full.push(self.open);
        }
        self.full
    }
}

impl From<Prefix> for Event {
    fn from(prefix: Prefix) -> Self {
        Kind::Prefix(prefix).into()
    }
}

//! The gRPC stream between a proxy and a controller: messages up, messages down, snapshot and resume.
//!
//! A proxy opens [`STREAM_METHOD`] and sends [`Hello`] with the last generation that it has applied. The
//! controller answers either with the deltas since then ([`Phase::Resumed`] first) or with a snapshot
//! ([`Phase::Begin`], any number of [`Phase::Item`], [`Phase::Done`]), then deltas for ever. Generations
//! are one controller instance's count of changes: they compare only under the same `instance`.

use super::{Event, Kind, Prefix};
use crate::limits::{EVENTS_PER_MESSAGE_MAX, MESSAGE_BYTES_SOFT_MAX};
use prost::{DecodeError, Enumeration, Message};
use std::fmt;

/// The gRPC service's full name.
pub const STREAM_SERVICE: &str = "warmpath.v1.State";
/// The gRPC method's name: a stream in both directions.
pub const STREAM_METHOD: &str = "Sync";

/// From a proxy to the controller.
#[derive(Clone, PartialEq, Message)]
pub struct Up {
    /// Present in the first message of a stream and in no other.
    #[prost(message, optional, tag = "1")]
    pub hello: Option<Hello>,
    /// What this process did since the last message.
    #[prost(message, repeated, tag = "2")]
    pub events: Vec<Event>,
}

/// Who opens a stream and where it wants to go on.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// Names the proxy process; all its VMs and all its streams share it.
    #[prost(fixed64, tag = "1")]
    pub process: u64,
    /// The proxy's name for people (Envoy's node id).
    #[prost(string, tag = "2")]
    pub node: String,
    /// The filter's version.
    #[prost(string, tag = "3")]
    pub version: String,
    /// The controller instance whose stream was last followed to its end; zero for none.
    #[prost(fixed64, tag = "4")]
    pub instance: u64,
    /// The last generation applied of that instance.
    #[prost(uint64, tag = "5")]
    pub generation: u64,
}

/// From the controller to a proxy.
#[derive(Clone, PartialEq, Message)]
pub struct Down {
    /// The controller instance that counts the generations.
    #[prost(fixed64, tag = "1")]
    pub instance: u64,
    /// The receiver's state after this message is that of this generation; zero inside a snapshot.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// What the events are.
    #[prost(enumeration = "Phase", tag = "3")]
    pub phase: i32,
    /// In order.
    #[prost(message, repeated, tag = "4")]
    pub events: Vec<Event>,
}

/// What a [`Down`] message is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Phase {
    /// Changes: apply them.
    Delta = 0,
    /// A snapshot starts: the receiver's generation is void until [`Phase::Done`]. What it learned stays,
    /// for learned prefixes are hints and two sides' hints add up.
    Begin = 1,
    /// A part of a snapshot: apply it.
    Item = 2,
    /// The snapshot is whole: the receiver is at `generation`.
    Done = 3,
    /// Deltas follow from the generation that was asked for; no snapshot is needed.
    Resumed = 4,
}

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
pub struct Snapshotter {
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

// === impl Snapshotter ===

impl Snapshotter {
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

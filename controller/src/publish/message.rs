//! Encoded events -> the bytes of `Down` messages.
//!
//! An event is encoded once and sent to many proxies, so a message is assembled from encoded events instead of being encoded
//! as a whole: in protobuf, the fields of a message may simply follow one another.

use super::hub::Batch;
use crate::index::Delta;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use std::sync::Arc;
use warmpath_core::ids::{Generation, InstanceId};
use warmpath_core::limits::{EVENTS_PER_MESSAGE_MAX, MESSAGE_BYTES_SOFT_MAX};
use warmpath_core::wire::{Down, Event, MessageChunker, Phase};

/// Key of `Down.events`: tag 4, length-delimited.
const EVENTS_KEY: u8 = (4 << 3) | 2;
/// A length in front of an event takes no more bytes than this: events are below 2^28 bytes.
const LENGTH_BYTES_MAX: usize = 4;

/// The sender, and the generation that the receiver has before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The controller instance.
    pub instance: InstanceId,
    /// The generation that the receiver has already.
    pub before: Generation,
    /// The generation that it has after the last message.
    pub after: Generation,
}

// === impl Batch ===

impl Batch {
    /// The messages that carry it, in order, each encoded when it is taken. Without deltas there is one empty message,
    /// which carries the generation alone.
    pub fn messages(self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        match self {
            Self::Snapshot(stamp, events) => Box::new(snapshot(stamp, events)),
            Self::Resumed(stamp, missed) => Box::new(deltas(stamp, Phase::Resumed, &missed).into_iter()),
            Self::Taught(stamp, events) => Box::new(taught(stamp, events)),
            Self::Deltas(stamp, changed) => Box::new(deltas(stamp, Phase::Delta, &changed).into_iter()),
        }
    }
}

/// Splits deltas into messages; only the last one carries the new generation. Without deltas there is
/// one empty message, which carries the generation alone.
fn deltas(stamp: Stamp, phase: Phase, deltas: &[Arc<Delta>]) -> Vec<Bytes> {
    let mut messages = Vec::new();
    let mut rest = deltas;
    let mut phase = phase;
    loop {
        let (now, later) = rest.split_at(fitting(rest));
        let generation = if later.is_empty() { stamp.after } else { stamp.before };
        messages.push(pack(stamp.instance, generation, phase, now));
        if later.is_empty() {
            return messages;
        }
        rest = later;
        phase = Phase::Delta;
    }
}

/// A snapshot's messages from `Begin` to `Done`.
fn snapshot(stamp: Stamp, events: Vec<Event>) -> impl Iterator<Item = Bytes> {
    let mut cutter = MessageChunker::default();
    for event in events {
        cutter.push(event);
    }
    let down = move |phase: Phase, generation, events| {
        Bytes::from(
            Down { instance: stamp.instance.0, generation, phase: phase.into(), events }.encode_to_vec(),
        )
    };
    let begin = down(Phase::Begin, 0, Vec::new());
    let items = cutter.finish().into_iter().map(move |events| down(Phase::Item, 0, events));
    let done = down(Phase::Done, stamp.after.0, Vec::new());
    std::iter::once(begin).chain(items).chain(std::iter::once(done))
}

/// Splits events into messages of changes; only the last one carries the new generation.
fn taught(stamp: Stamp, events: Vec<Event>) -> impl Iterator<Item = Bytes> {
    let mut cutter = MessageChunker::default();
    for event in events {
        cutter.push(event);
    }
    let mut messages = cutter.finish().into_iter().peekable();
    std::iter::from_fn(move || {
        let events = messages.next()?;
        let generation = if messages.peek().is_some() { stamp.before } else { stamp.after };
        let (instance, generation) = (stamp.instance.0, generation.0);
        let down = Down { instance, generation, phase: Phase::Delta.into(), events };
        Some(Bytes::from(down.encode_to_vec()))
    })
}

/// How many of the first deltas fit one message: one at least, if there is any.
fn fitting(deltas: &[Arc<Delta>]) -> usize {
    let mut bytes = 0;
    let fits = deltas.iter().take(EVENTS_PER_MESSAGE_MAX).take_while(|delta| {
        bytes += delta.bytes.len();
        bytes <= MESSAGE_BYTES_SOFT_MAX
    });
    fits.count().max(1).min(deltas.len())
}

fn pack(instance: InstanceId, generation: Generation, phase: Phase, deltas: &[Arc<Delta>]) -> Bytes {
    let head =
        Down { instance: instance.0, generation: generation.0, phase: phase.into(), events: Vec::new() };
    let bytes: usize = deltas.iter().map(|delta| delta.bytes.len() + 1 + LENGTH_BYTES_MAX).sum();
    let mut message = BytesMut::with_capacity(head.encoded_len() + bytes);
    // A BytesMut grows: encoding into it cannot run out of room.
    let _ = head.encode(&mut message);
    for delta in deltas {
        message.put_u8(EVENTS_KEY);
        let _ = prost::encode_length_delimiter(delta.bytes.len(), &mut message);
        message.put_slice(&delta.bytes);
    }
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::{Stamp, deltas as messages_of};
    use crate::index::{Author, Delta};
    use std::sync::Arc;
    use warmpath_core::ids::{Generation, InstanceId};
    use warmpath_core::limits::EVENTS_PER_MESSAGE_MAX;
    use warmpath_core::wire::{Event, InFlightReport, Kind, Phase, Routed, decode_down};

    const STAMP: Stamp = Stamp { instance: InstanceId(9), before: Generation(10), after: Generation(20) };

    #[test]
    fn packed_deltas_are_a_message() {
        let kinds = [
            Kind::InFlight(InFlightReport {
                origin: 1,
                endpoint: 2,
                requests: 3,
                ..InFlightReport::default()
            }),
            Kind::Routed(Routed { endpoint: 2, cells: vec![u64::MAX; 300], ..Routed::default() }),
        ];
        let deltas: Vec<_> =
            kinds.iter().map(|kind| Arc::new(Delta::new(Author::Controller, kind.clone()))).collect();
        let messages = messages_of(STAMP, Phase::Resumed, &deltas);
        assert_eq!(messages.len(), 1);
        let down = decode_down(&messages[0]).unwrap();
        assert_eq!((down.instance, down.generation, down.phase()), (9, 20, Phase::Resumed));
        assert_eq!(down.events, kinds.map(Event::from));
    }

    #[test]
    fn only_the_last_message_carries_the_new_generation() {
        let delta = Arc::new(Delta::new(Author::Controller, Kind::InFlight(InFlightReport::default())));
        let deltas = vec![delta; EVENTS_PER_MESSAGE_MAX + 1];
        let downs: Vec<_> =
            messages_of(STAMP, Phase::Resumed, &deltas).iter().map(|m| decode_down(m).unwrap()).collect();
        let seen: Vec<_> =
            downs.iter().map(|down| (down.generation, down.phase(), down.events.len())).collect();
        assert_eq!(seen, [(10, Phase::Resumed, EVENTS_PER_MESSAGE_MAX), (20, Phase::Delta, 1)]);
    }

    #[test]
    fn without_deltas_the_generation_is_sent_alone() {
        let messages = messages_of(STAMP, Phase::Delta, &[]);
        assert_eq!(messages.len(), 1);
        assert_eq!(decode_down(&messages[0]).unwrap().generation, 20);
    }
}

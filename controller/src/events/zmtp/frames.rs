//! The bytes of a connection -> commands and messages, within bounds; and the other way.

use crate::events::frame::PAYLOAD_BYTES_MAX;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of one frame: a payload, or anything that comes with it.
const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;
/// Frames of one message: a topic, a number, a payload, and an empty one before them.
const PARTS_MAX: usize = 8;
/// Bytes of one command.
const COMMAND_BYTES_MAX: usize = 1024;
/// Bytes of a signature, a version, a mechanism, and what is left of 64.
pub(super) const GREETING_BYTES: usize = 64;
const MECHANISM_BYTES: usize = 20;

/// A flag of a frame: another frame of the message follows.
const MORE: u8 = 1;
/// A flag: the length has eight bytes.
const LONG: u8 = 2;
/// A flag: it is a command.
const COMMAND: u8 = 4;

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// A command: its name, and what follows it.
    Command(Bytes, Bytes),
    /// All frames of a message.
    Message(Vec<Bytes>),
}

/// The bytes are no frames, or a frame is beyond a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed,
    TooLarge,
}

/// The frames of a message that has not ended.
#[derive(Debug, Default)]
pub(super) struct Frames {
    parts: Vec<Bytes>,
    bytes: usize,
}

// === impl Frames ===

impl Frames {
    /// Takes the next command or message out of what was received; none if it has not come whole.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Received>, Fault> {
        while let Some((flags, body)) = next_frame(buffer)? {
            if flags & COMMAND != 0 {
                return Ok(Some(split_command(body)?));
            }
            self.bytes = self.bytes.saturating_add(body.len());
            if self.parts.len() >= PARTS_MAX || self.bytes > 2 * FRAME_BYTES_MAX {
                return Err(Fault::TooLarge);
            }
            self.parts.push(body);
            if flags & MORE == 0 {
                self.bytes = 0;
                return Ok(Some(Received::Message(std::mem::take(&mut self.parts))));
            }
        }
        Ok(None)
    }
}

/// The flags and the body of the next frame.
fn next_frame(buffer: &mut BytesMut) -> Result<Option<(u8, Bytes)>, Fault> {
    let mut rest = &buffer[..];
    let Ok(flags) = rest.try_get_u8() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 || flags & (COMMAND | MORE) == COMMAND | MORE {
        return Err(Fault::Malformed);
    }
    let length = if flags & LONG != 0 { rest.try_get_u64() } else { rest.try_get_u8().map(u64::from) };
    let Ok(length) = length else { return Ok(None) };
    let longest = if flags & COMMAND != 0 { COMMAND_BYTES_MAX } else { FRAME_BYTES_MAX };
    let length = usize::try_from(length).ok().filter(|length| *length <= longest).ok_or(Fault::TooLarge)?;
    let header = buffer.len() - rest.len();
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(header);
    Ok(Some((flags, buffer.split_to(length).freeze())))
}

fn split_command(mut body: Bytes) -> Result<Received, Fault> {
    let name = short(&mut body)?;
    Ok(Received::Command(name, body))
}

/// The value of a property of a command.
pub(super) fn property(mut properties: Bytes, name: &[u8]) -> Result<Option<Bytes>, Fault> {
    while !properties.is_empty() {
        let of = short(&mut properties)?;
        let length = properties.try_get_u32().map_err(|_| Fault::Malformed)?;
        let length = usize::try_from(length).map_err(|_| Fault::Malformed)?;
        if properties.len() < length {
            return Err(Fault::Malformed);
        }
        let value = properties.split_to(length);
        if of.eq_ignore_ascii_case(name) {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Bytes that one byte with their length precedes.
fn short(from: &mut Bytes) -> Result<Bytes, Fault> {
    let length = usize::from(from.try_get_u8().map_err(|_| Fault::Malformed)?);
    if from.len() < length { Err(Fault::Malformed) } else { Ok(from.split_to(length)) }
}

/// What both sides send first: version 3.1, no security.
pub(super) fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    let head: &[u8] = &[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1];
    let start = head.iter().chain(b"NULL");
    greeting.iter_mut().zip(start).for_each(|(byte, of)| *byte = *of);
    greeting
}

/// What a greeting says: the version, and the mechanism. None where it is another protocol's first bytes.
pub(super) fn read_greeting(greeting: &[u8; GREETING_BYTES]) -> Option<((u8, u8), &[u8])> {
    let [0xff, _, _, _, _, _, _, _, _, 0x7f, major, minor, rest @ ..] = greeting else { return None };
    let mechanism = rest.get(..MECHANISM_BYTES)?;
    let end = mechanism.iter().position(|byte| *byte == 0).unwrap_or(MECHANISM_BYTES);
    Some(((*major, *minor), mechanism.get(..end)?))
}

/// A command as a frame. Its name and its contents are short.
pub(super) fn command(name: &[u8], contents: &[u8]) -> BytesMut {
    let body = [&[length8(name)], name, contents].concat();
    let mut frame = BytesMut::new();
    frame.put_slice(&[COMMAND, length8(&body)]);
    frame.put_slice(&body);
    frame
}

/// A property of a command.
pub(super) fn write_property(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[length8(name)], name, &[0, 0, 0, length8(value)], value].concat()
}

/// A message of short parts.
pub(super) fn message(parts: &[&[u8]]) -> BytesMut {
    let mut frames = BytesMut::new();
    for (at, part) in parts.iter().enumerate() {
        let flags = if at + 1 < parts.len() { MORE } else { 0 };
        frames.put_slice(&[flags, length8(part)]);
        frames.put_slice(part);
    }
    frames
}

/// What is sent is shorter than 256 bytes, a topic by its configuration.
fn length8(bytes: &[u8]) -> u8 {
    debug_assert!(bytes.len() < 256, "a frame that is sent is short");
    u8::try_from(bytes.len()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        FRAME_BYTES_MAX, Fault, Frames, Received, command, greeting, message, property, read_greeting,
    };
    use super::{split_command, write_property};
    use bytes::{Bytes, BytesMut};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<Received>, Fault> {
        let (mut frames, mut buffer) = (Frames::default(), BytesMut::from(bytes));
        let mut received = Vec::new();
        while let Some(next) = frames.next(&mut buffer)? {
            received.push(next);
        }
        Ok(received)
    }

    fn parts(parts: &[&'static [u8]]) -> Received {
        Received::Message(parts.iter().map(|part| Bytes::from_static(part)).collect())
    }

    #[test]
    fn a_message_is_all_its_frames() {
        let long = [&[2, 0, 0, 0, 0, 0, 0, 1, 0][..], &[7; 256]].concat();
        let bytes = [&message(&[b"topic", b"", b"x"])[..], &long].concat();
        let received = all(&bytes).unwrap();
        assert_eq!(received[0], parts(&[b"topic", b"", b"x"]));
        assert_eq!(received[1], Received::Message(vec![Bytes::from(vec![7; 256])]));
    }

    #[test]
    fn nothing_is_taken_before_it_has_come_whole() {
        let bytes = [&command(b"READY", b"abc")[..], &message(&[b"a", b"bc"])].concat();
        let whole = all(&bytes).unwrap();
        for cut in 0..bytes.len() {
            let (mut frames, mut buffer) = (Frames::default(), BytesMut::new());
            let mut received = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                buffer.extend_from_slice(part);
                while let Some(next) = frames.next(&mut buffer).unwrap() {
                    received.push(next);
                }
            }
            assert_eq!(received, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_length_beyond_any_message_is_refused_before_anything_is_allocated() {
        let header = |length: u64| [&[2][..], &length.to_be_bytes()].concat();
        assert_eq!(all(&header(1 << 60)), Err(Fault::TooLarge));
        assert_eq!(all(&header(u64::MAX)), Err(Fault::TooLarge));
        assert_eq!(
            all(&header(u64::try_from(FRAME_BYTES_MAX).unwrap())),
            Ok(vec![]),
            "the longest one may still come"
        );
        let endless = vec![&b""[..]; 9];
        assert_eq!(all(&message(&endless)), Err(Fault::TooLarge), "so many parts has none");
        assert_eq!(all(&[6, 0, 0, 0, 0, 0, 1, 0, 0]), Err(Fault::TooLarge), "a command");
    }

    #[test]
    fn other_protocols_are_no_frames() {
        assert_eq!(all(b"HTTP/1.1 400 Bad Request"), Err(Fault::Malformed));
        assert_eq!(all(&[5, 0]), Err(Fault::Malformed), "a command has one frame");
        assert_eq!(all(&[4, 2, 200, 1]), Err(Fault::Malformed), "a name longer than its frame");
    }

    #[test]
    fn both_sides_greet_alike() {
        let greeting = greeting();
        assert_eq!(greeting[..16], *b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL");
        assert_eq!(read_greeting(&greeting), Some(((3, 1), &b"NULL"[..])));
        let mut http = [b' '; 64];
        http[..4].copy_from_slice(b"HTTP");
        assert_eq!(read_greeting(&http), None);
    }

    #[test]
    fn properties_are_found_whatever_their_case() {
        let frame = command(
            b"READY",
            &[write_property(b"Identity", b""), write_property(b"Socket-Type", b"PUB")].concat(),
        );
        let Received::Command(name, properties) = split_command(frame.freeze().slice(2..)).unwrap() else {
            panic!("no command");
        };
        assert_eq!(&name[..], b"READY");
        assert_eq!(property(properties.clone(), b"socket-type"), Ok(Some(Bytes::from_static(b"PUB"))));
        assert_eq!(property(properties.clone(), b"other"), Ok(None));
        assert_eq!(property(properties.slice(..properties.len() - 1), b"other"), Err(Fault::Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in vec(prop_oneof![0..8u8, any::<u8>()], 0..200)) {
            let _ = all(&bytes);
            let _ = property(Bytes::from(bytes), b"x");
        }
    }
}

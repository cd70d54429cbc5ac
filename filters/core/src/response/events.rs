//! Server-sent events, from pieces that are cut anywhere.
//!
//! Format: <https://html.spec.whatwg.org/multipage/server-sent-events.html>. Lines end in LF, CRLF or CR; a line that begins
//! with a colon is a comment. Each line of data is handed out as soon as it is whole: the empty line that ends the event
//! may come later.

use memchr::memchr2;

/// Bytes read of one line, and of the data of one event. The fields that matter come first in the events that engines
/// send; what a longer event holds (the request's instructions, repeated) is skipped.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;
/// Bytes kept of an event's name.
const NAME_BYTES_MAX: usize = 128;

/// The state between two pieces.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The beginning of the line that has not ended.
    line: Vec<u8>,
    /// Whether a line feed belongs to the carriage return before it.
    is_after_return: bool,
    /// Whether the first line has ended; it may begin with a byte order mark.
    has_begun: bool,
    /// The current event's name.
    name: Vec<u8>,
    /// The current event's data so far.
    data: Vec<u8>,
}

// === impl Events ===

impl Events {
    /// Takes the next piece. `each` receives the name of an event (empty if it has none) and its data up to the line that
    /// has just ended; `true` stops, and is returned.
    pub(super) fn push(&mut self, piece: &[u8], mut each: impl FnMut(&[u8], &[u8]) -> bool) -> bool {
        let mut rest = piece;
        while !rest.is_empty() {
            if std::mem::take(&mut self.is_after_return)
                && let Some(after) = rest.strip_prefix(b"\n")
            {
                rest = after;
                continue;
            }
            let Some(at) = memchr2(b'\n', b'\r', rest) else {
                extend(&mut self.line, rest, LINE_BYTES_MAX);
                return false;
            };
            let (line, end) = rest.split_at(at);
            self.is_after_return = end.starts_with(b"\r");
            rest = end.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                let line = line.get(..LINE_BYTES_MAX).unwrap_or(line);
                if self.take(line, &mut each) {
                    return true;
                }
                continue;
            }
            extend(&mut self.line, line, LINE_BYTES_MAX);
            let mut line = std::mem::take(&mut self.line);
            let stops = self.take(&line, &mut each);
            line.clear();
            self.line = line;
            if stops {
                return true;
            }
        }
        false
    }

    /// Takes one line.
    fn take(&mut self, line: &[u8], each: &mut impl FnMut(&[u8], &[u8]) -> bool) -> bool {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let line = if is_first { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
        if line.is_empty() {
            self.name.clear();
            self.data.clear();
            return false;
        }
        if let Some(name) = field(line, b"event") {
            self.name.clear();
            extend(&mut self.name, name, NAME_BYTES_MAX);
            return false;
        }
        let Some(data) = field(line, b"data") else { return false };
        if self.data.is_empty() {
            let stops = each(&self.name, data);
            extend(&mut self.data, data, LINE_BYTES_MAX);
            return stops;
        }
        extend(&mut self.data, b"\n", LINE_BYTES_MAX);
        extend(&mut self.data, data, LINE_BYTES_MAX);
        each(&self.name, &self.data)
    }
}

/// The value of the field `name`, if the line is that field.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// Appends as much as fits under `max`.
fn extend(buffer: &mut Vec<u8>, bytes: &[u8], max: usize) {
    let room = max.saturating_sub(buffer.len()).min(bytes.len());
    buffer.extend_from_slice(bytes.get(..room).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut events = Events::default();
        let mut found = Vec::new();
        for piece in pieces {
            events.push(piece, |name, data| {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                found.push((text(name), text(data)));
                false
            });
        }
        found
    }

    fn expected(events: &[(&str, &str)]) -> Vec<(String, String)> {
        events.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect()
    }

    #[test]
    fn lines_may_end_in_any_of_three_ways() {
        for end in ["\n", "\r\n", "\r"] {
            let stream =
                ["\u{feff}: ping", "", "event: a", "data: 1", "data:2", "", "data: 3", "id: x", "", ""];
            let stream = stream.join(end);
            let events = expected(&[("a", "1"), ("a", "1\n2"), ("", "3")]);
            assert_eq!(read(&[stream.as_bytes()]), events, "{end:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_takes_bounded_memory() {
        let mut events = Events::default();
        for _ in 0..100 {
            events.push(&[b'x'; 1000], |_, _| true);
        }
        assert_eq!(events.line.len(), LINE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn the_cuts_between_pieces_do_not_matter(
            lines in prop::collection::vec("(data: |data:|event: |: |id: |)[a-c]{0,3}(\n|\r|\r\n)|(\n|\r|\r\n)", 0..12),
            cuts in prop::collection::vec(0_usize..100, 0..8),
        ) {
            let stream = lines.concat().into_bytes();
            let mut cuts: Vec<usize> =
                cuts.into_iter().map(|cut| cut.min(stream.len())).chain([0, stream.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[&stream]));
        }
    }
}

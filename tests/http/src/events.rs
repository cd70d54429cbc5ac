//! Server-sent events, read as they arrive. Pieces of a body end anywhere, so bytes are kept until their line is whole.

const DATA: &[u8] = b"data: ";

/// A stream of events under way.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
}

// === impl Events ===

impl Events {
    /// Takes the next bytes of the body, and passes on the data of each event that is whole with them.
    pub fn feed(&mut self, bytes: &[u8], mut event: impl FnMut(&[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                if let Some(data) = self.line.trim_ascii_end().strip_prefix(DATA) {
                    event(data);
                }
                self.line.clear();
            }
        }
    }

    /// Whether the body could end here: no line is open.
    pub fn is_whole(&self) -> bool {
        self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_may_end_anywhere() {
        let body = b"event: one\ndata: {\"a\":1}\n\ndata: two \r\n\r\n: comment\n\ndata: [DONE]\n\n";
        for size in 1..=body.len() {
            let (mut events, mut all) = (Events::default(), Vec::new());
            for piece in body.chunks(size) {
                events.feed(piece, |data| all.push(String::from_utf8_lossy(data).into_owned()));
            }
            assert_eq!(all, ["{\"a\":1}", "two", "[DONE]"], "pieces of {size}");
            assert!(events.is_whole());
        }
    }

    #[test]
    fn a_line_without_its_end_is_not_whole() {
        let mut events = Events::default();
        events.feed(b"data: x", |_| panic!("no event is whole"));
        assert!(!events.is_whole());
    }
}

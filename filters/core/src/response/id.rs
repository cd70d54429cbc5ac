//! The id of a response of `/v1/responses`, under which the engine stores it.
//!
//! It stands at the top of a body, and in the `response` of a stream's first event. Clients continue the response by that
//! id, and only the engine that made it can.

use super::events::{Events, LINE_BYTES_MAX};
use crate::ids::ResponseId;
use crate::json::{JsonError, KnownFields, Scanner};

/// Searches the beginning of a response, piece by piece.
#[derive(Debug)]
pub struct IdScan(State);

#[derive(Debug)]
enum State {
    /// The beginning of a body that is no stream.
    Body(Vec<u8>),
    Streaming(Events),
    Done,
}

// === impl IdScan ===

impl IdScan {
    /// `is_stream` if events are expected.
    pub fn new(is_stream: bool) -> Self {
        Self(if is_stream { State::Streaming(Events::default()) } else { State::Body(Vec::new()) })
    }

    /// Takes the next piece of the body. The id, once, in the piece that completes it.
    pub fn push(&mut self, piece: &[u8]) -> Option<ResponseId> {
        let mut found = None;
        let is_done = match &mut self.0 {
            State::Body(kept) => {
                let room = LINE_BYTES_MAX.saturating_sub(kept.len()).min(piece.len());
                kept.extend_from_slice(piece.get(..room).unwrap_or_default());
                found = id(&mut Scanner::new(kept)).ok().flatten();
                found.is_some() || kept.len() >= LINE_BYTES_MAX
            }
            // The first event has it, or none.
            State::Streaming(events) => events.push(piece, |_, data| {
                found = created_id(&mut Scanner::new(data)).ok().flatten();
                true
            }),
            State::Done => return None,
        };
        if is_done {
            self.0 = State::Done;
        }
        found
    }

    /// Whether what follows cannot hold the id.
    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }
}

/// The `id` of the object that `scanner` has reached. Whatever follows it is not read, and may be missing.
fn id(scanner: &mut Scanner<'_>) -> Result<Option<ResponseId>, JsonError> {
    let mut fields = KnownFields::open(scanner, &["id"])?;
    while fields.next(scanner)?.is_some() {
        if let Some(id) = scanner.string()? {
            return Ok(Some(ResponseId::of(&id)));
        }
    }
    Ok(None)
}

fn created_id(scanner: &mut Scanner<'_>) -> Result<Option<ResponseId>, JsonError> {
    let mut fields = KnownFields::open(scanner, &["response"])?;
    if fields.next(scanner)?.is_some() { id(scanner) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(is_stream: bool, pieces: &[&str]) -> Vec<Option<ResponseId>> {
        let mut scan = IdScan::new(is_stream);
        pieces.iter().map(|piece| scan.push(piece.as_bytes())).collect()
    }

    #[test]
    fn the_id_of_a_body_is_found_once_and_not_that_of_an_item() {
        let id = Some(ResponseId::of("resp_1"));
        let body = [r#"{"output":[{"id":"msg_1"}],"id":"re"#, r#"sp_1","#, r#""object":"response"}"#];
        assert_eq!(scan(false, &body), [None, id, None]);
    }

    #[test]
    fn the_id_of_a_stream_is_that_of_the_response_it_creates() {
        let id = Some(ResponseId::of("resp_1"));
        let created = "event: response.created\r\ndata: {\"response\":{\"id\":\"resp_1\",\"output\":[]},\"type\":\"response.created\"}\r\n\r\n";
        assert_eq!(scan(true, &[": ping\n\n", created, created]), [None, id, None]);
        let (head, tail) = created.split_at(60);
        assert_eq!(scan(true, &[head, tail]), [None, id]);
        let long = "a".repeat(2 * LINE_BYTES_MAX);
        let created = format!("data: {{\"response\":{{\"id\":\"resp_1\",\"instructions\":\"{long}\"}}}}\n\n");
        assert_eq!(scan(true, &[&created]), [id]);
    }

    #[test]
    fn a_response_without_an_id_is_not_searched_to_its_end() {
        let mut scan = IdScan::new(false);
        for _ in 0..100 {
            assert_eq!(scan.push(&[b' '; 1000]), None);
        }
        assert!(matches!(scan.0, State::Done));
        let mut scan = IdScan::new(true);
        assert_eq!(scan.push(b"data: {\"error\":{}}\n\n"), None);
        assert!(matches!(scan.0, State::Done));
    }
}

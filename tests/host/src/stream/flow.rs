//! One direction of an HTTP stream: the part that the filter may see and edit now, the part that is held back, and the
//! part that the next filter got. Envoy spreads this over `Context` and `FilterManager::ActiveStreamFilterBase`.

use crate::headers::Headers;

/// The part that has passed the filter: the upstream gets that of a request, the client that of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The headers, once they went on.
    pub headers: Option<Headers>,
    /// All of the body that went on so far.
    pub body: Vec<u8>,
    /// The trailers, once they went on.
    pub trailers: Option<Headers>,
    /// Nothing follows.
    pub ended: bool,
}

/// What iteration does with arriving data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It goes to the filter and on.
    #[default]
    None,
    /// It goes to the filter, and stays after it.
    Here,
    /// It does not even reach the filter (`StopAllIterationAndWatermark`).
    Before,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "five facts, each true or false whatever the others are")]
pub(crate) struct Flow {
    pub(crate) headers: Option<Headers>,
    pub(crate) trailers: Option<Headers>,
    /// The filter may edit the headers: from their callback until it lets them go.
    pub(crate) headers_open: bool,
    pub(crate) trailers_open: bool,
    /// The piece of the body that arrived last, while the filter looks at it.
    pub(crate) piece: Option<Vec<u8>>,
    /// Body that is held.
    pub(crate) held: Vec<u8>,
    /// The filter paused at a piece: it sees all that is held, not the piece.
    pub(crate) buffering: bool,
    pub(crate) hold: Hold,
    /// What was held has gone on by `proxy_continue_stream`.
    pub(crate) resumed: bool,
    /// Bytes of the body that have come from the peer, whether or not the filter has seen them.
    pub(crate) received_bytes: usize,
    /// The peer sent its last byte.
    pub(crate) ended: bool,
    pub(crate) forwarded: Forwarded,
}

// === impl Flow ===

impl Flow {
    /// The bytes that `get_buffer_bytes` and `set_buffer_bytes` are about.
    pub(crate) fn window(&mut self) -> Option<&mut Vec<u8>> {
        if self.buffering { Some(&mut self.held) } else { self.piece.as_mut() }
    }

    /// Whether Envoy would look into a buffer that is no longer the stream's.
    pub(crate) fn is_out_of_reach(&self) -> bool {
        self.resumed && !self.buffering && self.piece.is_none()
    }

    /// Lets everything go that is held after the filter.
    pub(crate) fn release(&mut self) {
        self.hold = Hold::None;
        self.buffering = false;
        self.headers_open = false;
        self.trailers_open = false;
        if self.forwarded.headers.is_none() {
            self.forwarded.headers.clone_from(&self.headers);
        }
        self.forwarded.body.append(&mut self.held);
        if let Some(piece) = self.piece.take() {
            self.forwarded.body.extend(piece);
        }
        if self.forwarded.trailers.is_none() {
            self.forwarded.trailers.clone_from(&self.trailers);
        }
        self.forwarded.ended = self.ended;
    }

    /// Keeps the current piece with what is held already.
    pub(crate) fn keep_piece(&mut self) {
        if let Some(piece) = self.piece.take() {
            self.held.extend(piece);
        }
        self.buffering = true;
        self.hold = Hold::Here;
    }
}

/// Envoy's `Buffer::copyFrom`: prepend, replace all, or append; nothing in between.
pub(crate) fn edit(buffer: &mut Vec<u8>, start: usize, len: usize, bytes: &[u8]) -> bool {
    if start == 0 && len == 0 {
        buffer.splice(0..0, bytes.iter().copied());
    } else if start == 0 && len >= buffer.len() {
        *buffer = bytes.to_vec();
    } else if start != 0 && start >= buffer.len() {
        buffer.extend_from_slice(bytes);
    } else {
        return false;
    }
    true
}

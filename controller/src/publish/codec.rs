//! The gRPC codec of the state stream: `Up` in, ready-made bytes out.
//!
//! The usual prost codec does not fit: messages to proxies are assembled from encoded events, and a message that does not
//! decode is an error of the proxy (`INVALID_ARGUMENT`), not of the controller.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use warmpath_core::wire::{Up, decode_up};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncCodec;

/// Passes bytes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outgoing;

/// Decodes messages from proxies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Incoming;

// === impl SyncCodec ===

impl Codec for SyncCodec {
    type Encode = Bytes;
    type Decode = Up;
    type Encoder = Outgoing;
    type Decoder = Incoming;

    fn encoder(&mut self) -> Outgoing {
        Outgoing
    }

    fn decoder(&mut self) -> Incoming {
        Incoming
    }
}

// === impl Outgoing ===

impl Encoder for Outgoing {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

// === impl Incoming ===

impl Decoder for Incoming {
    type Item = Up;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Up>, Status> {
        let bytes = message.copy_to_bytes(message.remaining());
        decode_up(&bytes).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

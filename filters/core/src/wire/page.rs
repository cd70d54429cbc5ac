//! A page of the log, through which the VMs of one proxy share their events.
//!
//! A page is one value in shared data. Appending is read, extend, compare-and-swap. Reading the page before a decision
//! therefore also yields the base for appending the booking, and no two workers book without seeing each other. A page that
//! has grown past its soft limit is sealed, and the next page of the ring is opened. Queues would wake every sibling for
//! every request; a page costs nothing until it is read.
//!
//! Layout, little endian: `number: u64`, then records `length: u32, source: u8, at: u64, event: [u8; length]`. `at` is the
//! time at which it was published, in microseconds: a VM that reads it later must not take it for now.

use super::Event;
use crate::time::Timestamp;
use prost::Message;
use std::fmt;

/// Bytes before the first record.
const HEADER_BYTES: usize = 8;
/// Bytes before each record's event.
const RECORD_HEADER_BYTES: usize = 13;

/// One page as read from shared data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    bytes: Vec<u8>,
}

/// The writer of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A VM of this process: the VM with the uplink sends it to the controller.
    Local,
    /// The controller: the VM with the uplink has received it.
    Controller,
}

/// One event of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its writer.
    pub source: Source,
    /// When it was published.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}

/// A page that is not of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Shorter than a page's header.
    NoHeader,
    /// Cut inside a record, at this byte.
    Truncated(usize),
    /// A record holds no event, at this byte.
    BadEvent(usize),
}

// === impl Page ===

impl Page {
    /// An empty page with its place in the log, counted from zero.
    pub fn new(number: u64) -> Self {
        Self { bytes: number.to_le_bytes().to_vec() }
    }

    /// A page from shared data.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, PageError> {
        if bytes.len() < HEADER_BYTES { Err(PageError::NoHeader) } else { Ok(Self { bytes }) }
    }

    /// Its place in the log.
    pub fn number(&self) -> u64 {
        self.bytes.first_chunk::<HEADER_BYTES>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// The value to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the next record will start; a reader continues there.
    pub fn end(&self) -> usize {
        self.bytes.len()
    }

    /// Where the first record starts.
    pub const fn start() -> usize {
        HEADER_BYTES
    }

    /// Appends one event.
    pub fn push(&mut self, source: Source, at: Timestamp, event: &Event) {
        let length = crate::num::u32_len(event.encoded_len());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.push(match source {
            Source::Local => 0,
            Source::Controller => 1,
        });
        self.bytes.extend_from_slice(&at.us().to_le_bytes());
        // A Vec grows: encoding into it cannot run out of room.
        let _ = event.encode(&mut self.bytes);
    }

    /// Calls `each` with every record from byte `from` on.
    pub fn read(&self, from: usize, mut each: impl FnMut(Record)) -> Result<(), PageError> {
        let mut at = from.max(HEADER_BYTES);
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (header, rest) =
                rest.split_first_chunk::<RECORD_HEADER_BYTES>().ok_or(PageError::Truncated(at))?;
            let [a, b, c, d, source, at_us @ ..] = *header;
            let length = crate::num::index(u32::from_le_bytes([a, b, c, d]));
            let published = Timestamp::from_us(u64::from_le_bytes(at_us));
            let bytes = rest.get(..length).ok_or(PageError::Truncated(at))?;
            let event = Event::decode(bytes).map_err(|_| PageError::BadEvent(at))?;
            let source = if source == 0 { Source::Local } else { Source::Controller };
            each(Record { source, at: published, event });
            at += RECORD_HEADER_BYTES + length;
        }
        Ok(())
    }
}

// === impl PageError ===

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader => f.write_str("page has no header"),
            Self::Truncated(at) => write!(f, "page is cut inside the record at byte {at}"),
            Self::BadEvent(at) => write!(f, "page has no event in the record at byte {at}"),
        }
    }
}

impl std::error::Error for PageError {}

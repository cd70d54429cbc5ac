//! The state stream: what proxies and the controller tell each other, and what the VMs of one proxy tell
//! each other through shared data.
//!
//! ```text
//!   proxy A: VM 1 ─┐                                         ┌─► VM 1, VM 2 of proxy B
//!            VM 2 ─┴─ shared data ─► uplink ═ Up ═► controller ═ Down ═► uplink ─ shared data
//! ```
//!
//! One vocabulary, [`Event`], serves all three legs: a fact is encoded once and passed on as it is. Loads
//! are absolute ("this origin now has 3 requests there"), never increments, so a lost, repeated or
//! coalesced event heals with the next one, and nobody keeps a table of request ids.
//!
//! The encoding is protobuf: fields can be added while proxies and controllers of different versions meet. The messages
//! are generated from `filters/core/proto/warmpath/v1/state.proto`.

mod event;
#[rustfmt::skip]
#[expect(unreachable_pub, reason = "generated code makes everything public")]
mod generated;
mod page;
mod prefix;
mod stream;

pub use event::Authority;
pub use generated::event::Kind;
pub use generated::{
    Alive, Down, EngineStatus, Event, Failure, Gone, Health, Hello, InFlightReport, Observed, Phase, Pool,
    PoolEndpoint, Pools, Prefix, Proxies, ResumePoint, Routed, Up, UsageSeen,
};
pub use page::{Page, PageError, Record, Source};
pub use prefix::{PrefixDecoder, PrefixEncoder, PrefixError};
pub use stream::{MessageChunker, STREAM_METHOD, STREAM_SERVICE, StreamError, decode_down, decode_up};

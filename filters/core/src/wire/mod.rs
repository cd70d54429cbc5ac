//! The state stream: the events that proxies and the controller exchange, and that the VMs of one proxy share through
//! shared data.
//!
//! ```text
//!   proxy A: VM 1 ─┐                                         ┌─► VM 1, VM 2 of proxy B
//!            VM 2 ─┴─ shared data ─► uplink ═ Up ═► controller ═ Down ═► uplink ─ shared data
//! ```
//!
//! One type, [`Event`], serves all three legs: an event is encoded once and forwarded unchanged. Reports of in-flight work
//! are absolute ("this origin now has 3 requests there"), never increments, so the next report makes up for a lost,
//! repeated or coalesced one. What is expected of a prompt is the only thing that is kept by request, and a loss of its
//! outcome does no harm.
//!
//! The encoding is protobuf: fields can be added while proxies and controllers of different versions meet. The messages
//! are generated from `filters/core/proto/warmpath/v1/state.proto`.

mod chat;
mod event;
#[rustfmt::skip]
#[expect(unreachable_pub, reason = "generated code makes everything public")]
#[expect(clippy::struct_excessive_bools, reason = "fields of messages mean one thing each")]
mod generated;
mod page;
mod prefix;
mod stream;

pub use event::Authority;
pub use generated::event::Kind;
pub use generated::{
    Alive, ChatJoint, ChatLiteral, ChatPiece, ChatProgram, ChatShape, ChatTable, Conversation, Current, Down,
    Ended, EngineStatus, Event, Gone, Health, Held, HeldFor, Hello, Hold, InFlightReport, Objective, Outcome,
    OutcomeClass, Phase, Pool, PoolEndpoint, Pools, Prefix, PromptFormat, Proxies, Released, Reported,
    Reporting, ResumePoint, Rewrite, RewriteTarget, Role, Routed, Stored, Tenant, Tier, Transfer,
    TransferProtocol, TransferSeen, Trust, Turn, Up, UsageSeen, WakeTime,
};
pub use page::{Page, PageError, Record, Source};
pub use prefix::{PrefixDecoder, PrefixEncoder, PrefixError};
pub use stream::{MessageChunker, STREAM_METHOD, STREAM_SERVICE, StreamError, decode_down, decode_up};

//! The state stream: what proxies and the controller tell each other, and what the VMs of one proxy tell
//! each other through shared data.
//!
//! ```text
//!   proxy A: VM 1 ─┐                                         ┌─► VM 1, VM 2 of proxy B
//!            VM 2 ─┴─ shared data ─► feed ═ Up ═► controller ═ Down ═► feed ─ shared data
//! ```
//!
//! One vocabulary, [`Event`], serves all three legs: a fact is encoded once and passed on as it is. Loads
//! are absolute ("this origin now has 3 requests there"), never increments, so a lost, repeated or
//! coalesced event heals with the next one, and nobody keeps a table of request ids.
//!
//! The encoding is protobuf (through `prost`, without generated code): fields can be added while proxies
//! and controllers of different versions meet. `docs/state-stream.md` has the same in `.proto` form.

mod event;
mod page;
mod prefix;
mod stream;

pub use event::{
    Alive, Event, Facts, Failure, Gone, Health, Kind, Load, Observed, Pool, PoolEndpoint, Pools, Prefix,
    Proxies, Ratio, Routed,
};
pub use page::{Page, PageError, Record, Source};
pub use prefix::{PrefixDecoder, PrefixEncoder, PrefixError};
pub use stream::{
    Down, Hello, Phase, STREAM_METHOD, STREAM_SERVICE, Snapshotter, StreamError, Up, decode_down, decode_up,
};

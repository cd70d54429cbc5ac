//! A pool's `hold`, how long its requests may wait in the proxy instead of being sent or refused, and a proxy's, how much it may hold.
//!
//! There is no default for the waits, because whoever waits for minutes must have asked for it: a client gives up after its own time, and a load
//! balancer in front of the proxy after its own.

use crate::fault::Problem;
use crate::reader::{Entry, Fields, Reader, Unique};
use warmpath_core::config::HoldLimits;
use warmpath_core::limits::{
    HOLD_BODY_BYTES_MAX, HOLD_REQUESTS_MAX, HOLD_S_MAX, TENANT_WEIGHT_MAX, TENANTS_PER_POOL_MAX,
};
use warmpath_core::wire::{Hold, Tenant};

const MS_PER_S: u32 = 1_000;

/// What the pool and its configuration have beside the map, and what decides which waits there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The pool's engines pass KV on. Which of two engines keeps a conversation is then open, so nobody waits for room.
    pub has_transfer: bool,
    /// A controller publishes endpoints. Without one a pool always has those of its list, so nobody waits for any.
    pub has_controller: bool,
}

/// Reads the map.
pub fn read(entry: &Entry<'_>, beside: Beside, reader: &mut Reader) -> Hold {
    let mut fields = reader.fields(entry);
    let room_s = read_wait(&mut fields, "room_s", beside.has_transfer, Problem::RoomApart, reader);
    let endpoint_s =
        read_wait(&mut fields, "endpoint_s", !beside.has_controller, Problem::AlwaysEndpoints, reader);
    let tenants = fields.optional("tenants").map(|entry| read_tenants(&entry, reader)).unwrap_or_default();
    if fields.is_map() && [room_s, endpoint_s].iter().all(|wait| matches!(wait, Wait::Absent | Wait::Of(0))) {
        reader.report(&entry.place, Problem::HoldsNothing);
    }
    fields.finish(reader);
    Hold { room_ms_max: room_s.ms(), endpoint_ms_max: endpoint_s.ms(), tenants }
}

/// The longest wait, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Absent,
    /// A fault, which is reported.
    Wrong,
    /// Seconds.
    Of(u32),
}

fn read_wait(
    fields: &mut Fields<'_>,
    name: &'static str,
    is_impossible: bool,
    why: Problem,
    reader: &mut Reader,
) -> Wait {
    let Some(entry) = fields.optional(name) else { return Wait::Absent };
    let wait = reader.number(&entry, 0..=u64::from(HOLD_S_MAX)).map_or(Wait::Wrong, Wait::Of);
    if is_impossible && wait != Wait::Of(0) {
        reader.report(&entry.place, why);
        return Wait::Wrong;
    }
    wait
}

fn read_tenants(entry: &Entry<'_>, reader: &mut Reader) -> Vec<Tenant> {
    let mut unique = Unique::new("list each tenant once");
    let mut tenants = Vec::new();
    for entry in reader.list(entry, "tenants", TENANTS_PER_POOL_MAX) {
        let mut fields = reader.fields(&entry);
        let name = fields.required("name", reader).and_then(|entry| {
            let name = reader.name(&entry)?;
            unique.add(&entry.place, name.clone(), reader);
            Some(name)
        });
        let weight = fields.required("weight", reader);
        let weight = weight.and_then(|entry| reader.number(&entry, 1..=u64::from(TENANT_WEIGHT_MAX)));
        fields.finish(reader);
        tenants.push(Tenant { name: name.unwrap_or_default(), weight: weight.unwrap_or_default() });
    }
    tenants
}

// === impl Wait ===

impl Wait {
    fn ms(self) -> u32 {
        match self {
            Self::Absent | Self::Wrong => 0,
            Self::Of(seconds) => seconds.saturating_mul(MS_PER_S),
        }
    }
}

/// Reads how much one process may hold.
pub fn read_limits(entry: &Entry<'_>, reader: &mut Reader) -> HoldLimits {
    let mut fields = reader.fields(entry);
    let requests = fields.optional("requests_max");
    let requests = requests.and_then(|entry| reader.number(&entry, 0..=HOLD_REQUESTS_MAX));
    let bytes = fields.optional("body_bytes_max");
    let bytes = bytes.and_then(|entry| reader.number(&entry, 0..=HOLD_BODY_BYTES_MAX));
    fields.finish(reader);
    let default = HoldLimits::default();
    HoldLimits {
        requests_max: requests.unwrap_or(default.requests_max),
        body_bytes_max: bytes.unwrap_or(default.body_bytes_max),
    }
}

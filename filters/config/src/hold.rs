//! A pool's `hold`: how long its requests may wait in the proxy instead of being sent or refused.
//!
//! There is no default, because whoever waits for minutes must have asked for it: a client gives up after its own time, and a load
//! balancer in front of the proxy after its own.

use crate::reader::{Entry, Reader, Unique};
use warmpath_core::limits::{HOLD_S_MAX, TENANT_WEIGHT_MAX, TENANTS_PER_POOL_MAX};
use warmpath_core::wire::{Hold, Tenant};

const MS_PER_S: u32 = 1_000;

/// Reads the map.
pub fn read(entry: &Entry<'_>, reader: &mut Reader) -> Hold {
    let mut fields = reader.fields(entry);
    let mut ms_max = |field: &'static str, reader: &mut Reader| {
        let entry = fields.optional(field);
        let seconds = entry.and_then(|entry| reader.number::<u32>(&entry, 0..=u64::from(HOLD_S_MAX)));
        seconds.unwrap_or_default().saturating_mul(MS_PER_S)
    };
    let (room_ms_max, endpoint_ms_max) = (ms_max("room_s", reader), ms_max("endpoint_s", reader));
    let tenants = fields.optional("tenants").map(|entry| read_tenants(&entry, reader)).unwrap_or_default();
    fields.finish(reader);
    Hold { room_ms_max, endpoint_ms_max, tenants }
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

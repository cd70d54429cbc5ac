//! Metrics. An id belongs to one VM, the stat behind it to the process.

use crate::abi::Status;
use crate::guest::{Guest, Reply};
use crate::metrics::{MetricKey, MetricKind};

/// Ids carry their kind in the low two bits (`Wasm::kMetricTypeMask`), so they grow by four.
const ID_STEP: u32 = 4;

pub(super) fn define(guest: &mut Guest<'_>, kind: u32, name: u32, name_len: u32, out: u32) -> Reply {
    let name = guest.read_text(name, name_len)?;
    let key = (MetricKind::from_abi(kind).ok_or(Status::BadArgument)?, name);
    guest.process().borrow_mut().metrics.define(&key);
    let ids = &mut guest.state().metric_ids;
    let id = ((ids.len() as u32 + 1) * ID_STEP) | kind;
    ids.insert(id, key);
    guest.write_u32(out, id)
}

pub(super) fn get(guest: &mut Guest<'_>, id: u32, out: u32) -> Reply {
    let key = key(guest, id)?;
    let value = guest.process().borrow().metrics.get(&key)?;
    guest.write_u64(out, value)
}

pub(super) fn record(guest: &mut Guest<'_>, id: u32, value: u64) -> Reply {
    let key = key(guest, id)?;
    guest.process().borrow_mut().metrics.record(&key, value);
    Ok(())
}

pub(super) fn increment(guest: &mut Guest<'_>, id: u32, by: i64) -> Reply {
    let key = key(guest, id)?;
    Ok(guest.process().borrow_mut().metrics.increment(&key, by)?)
}

fn key(guest: &mut Guest<'_>, id: u32) -> Result<MetricKey, Status> {
    guest.state().metric_ids.get(&id).cloned().ok_or(Status::NotFound)
}

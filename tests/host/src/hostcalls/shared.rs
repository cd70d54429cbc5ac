//! `proxy_get_shared_data`, `proxy_set_shared_data`.

use crate::abi::Status;
use crate::guest::{Guest, Reply};

pub(super) fn get(
    guest: &mut Guest<'_>,
    key: u32,
    key_len: u32,
    out: u32,
    out_len: u32,
    cas_out: u32,
) -> Reply {
    let key = guest.read(key, key_len)?;
    let entry = guest.process().borrow().data.get(&key).cloned();
    let (value, cas) = entry.ok_or(Status::NotFound)?;
    guest.give(&value, out, out_len)?;
    guest.write_u32(cas_out, cas)
}

pub(super) fn set(guest: &mut Guest<'_>, key: u32, key_len: u32, at: u32, len: u32, cas: u32) -> Reply {
    let (key, value) = (guest.read(key, key_len)?, guest.read(at, len)?);
    Ok(guest.process().borrow_mut().data.set(&key, &value, cas)?)
}

//! Shared queues: register, resolve, enqueue, dequeue.

use crate::abi::Status;
use crate::guest::{Guest, Reply};

/// The wake-ups go to the root of the context that registers.
pub(super) fn register(guest: &mut Guest<'_>, name: u32, name_len: u32, out: u32) -> Reply {
    let name = guest.read(name, name_len)?;
    let (worker, root) = (guest.state().worker, guest.state().acting_root());
    let id = guest.process().borrow_mut().queues.register(&name, worker, root);
    guest.write_u32(out, id)
}

/// An empty VM id means the guest's own.
pub(super) fn resolve(
    guest: &mut Guest<'_>,
    vm: u32,
    vm_len: u32,
    name: u32,
    name_len: u32,
    out: u32,
) -> Reply {
    let (vm, name) = (guest.read_text(vm, vm_len)?, guest.read(name, name_len)?);
    let process = guest.process();
    let process = process.borrow();
    if !vm.is_empty() && vm != process.options.vm_id {
        return Err(Status::NotFound.into());
    }
    let id = process.queues.resolve(&name).ok_or(Status::NotFound)?;
    guest.write_u32(out, id)
}

pub(super) fn enqueue(guest: &mut Guest<'_>, queue: u32, at: u32, len: u32) -> Reply {
    let item = guest.read(at, len)?;
    Ok(guest.process().borrow_mut().queues.enqueue(queue, item)?)
}

pub(super) fn dequeue(guest: &mut Guest<'_>, queue: u32, out: u32, out_len: u32) -> Reply {
    let item = guest.process().borrow_mut().queues.dequeue(queue)?;
    guest.give(&item, out, out_len)
}

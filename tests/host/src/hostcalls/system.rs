//! Log, clock, timer, status, contexts, foreign functions.

use crate::abi::{LogLevel, Status};
use crate::guest::{Guest, Reply};
use crate::process::LogLine;
use crate::vm::Deferred;

pub(super) fn log(guest: &mut Guest<'_>, level: u32, at: u32, len: u32) -> Reply {
    let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
    let text = guest.read_text(at, len)?;
    write_line(guest, level, text);
    Ok(())
}

pub(super) fn write_line(guest: &mut Guest<'_>, level: LogLevel, text: String) {
    let worker = guest.state().worker;
    guest.process().borrow_mut().log.push(LogLine { worker, level, text });
}

pub(super) fn get_log_level(guest: &mut Guest<'_>, out: u32) -> Reply {
    let level = guest.process().borrow().options.log_level;
    guest.write_u32(out, level as u32)
}

pub(super) fn get_current_time(guest: &mut Guest<'_>, out: u32) -> Reply {
    let now_ns = guest.process().borrow().clock_ns;
    guest.write_u64(out, now_ns)
}

/// The timer is the root's, even where a stream sets it.
pub(super) fn set_tick_period(guest: &mut Guest<'_>, period_ms: u32) -> Reply {
    let state = guest.state();
    let root = state.acting_root();
    state.root(root).ok_or(Status::BadArgument)?.tick_period_ms = period_ms;
    Ok(())
}

/// The status with which the last callout ended.
pub(super) fn get_status(guest: &mut Guest<'_>, code_out: u32, out: u32, out_len: u32) -> Reply {
    let (code, message) = guest.state().delivery.status.clone();
    guest.write_u32(code_out, code)?;
    guest.give(&message, out, out_len)
}

pub(super) fn set_effective_context(guest: &mut Guest<'_>, context: u32) -> Reply {
    let state = guest.state();
    if !state.contexts.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    state.effective = context;
    Ok(())
}

/// A root that is being retired is ready to be deleted.
pub(super) fn done(guest: &mut Guest<'_>) -> Reply {
    let state = guest.state();
    let id = state.acting();
    if !state.root(id).is_some_and(|root| root.retiring) {
        return Err(Status::NotFound.into());
    }
    state.deferred.push_back(Deferred::Delete(id));
    Ok(())
}

/// None is offered: Envoy's builds differ in the functions that they have.
pub(super) fn call_foreign_function(
    guest: &mut Guest<'_>,
    name: u32,
    name_len: u32,
    arguments: u32,
    arguments_len: u32,
    _out: u32,
    _out_len: u32,
) -> Reply {
    guest.read(name, name_len)?;
    guest.read(arguments, arguments_len)?;
    Err(Status::NotFound.into())
}

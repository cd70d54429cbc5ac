//! The six WASI functions that every Envoy since 1.35 offers. Without a WASI crate: the host must *not* offer more
//! than Envoy, and these functions are shorter than the code that would disable the rest.

use crate::abi::{LogLevel, Status};
use crate::guest::{Fault, Guest, Reply};
use crate::hostcalls::system::write_line;

/// `__wasi_errno_t`, <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#errno>.
const EBADF: u32 = 8;
const EFAULT: u32 = 21;
const ENOTSUP: u32 = 58;

/// `__wasi_clockid_t`: realtime and monotonic.
const CLOCK_ID_MAX: u32 = 1;

/// An iovec: an address and a length of four bytes each.
const IOVEC_BYTES: u32 = 8;
const POINTER_BYTES: u32 = 4;

/// What a proxy-wasm status means here: the functions below fail only by a bad pointer, or as noted.
pub(super) fn errno(reply: Reply) -> wasmtime::Result<u32> {
    match reply {
        Ok(()) => Ok(0),
        Err(Fault::Status(Status::NotFound)) => Ok(EBADF),
        Err(Fault::Status(Status::Unimplemented)) => Ok(ENOTSUP),
        Err(Fault::Status(_)) => Ok(EFAULT),
        Err(Fault::Trap(error)) => Err(error),
    }
}

pub(super) fn environ_get(guest: &mut Guest<'_>, mut pointers: u32, mut strings: u32) -> Reply {
    for entry in environment(guest) {
        guest.write_u32(pointers, strings)?;
        guest.fill(strings, &entry)?;
        pointers += POINTER_BYTES;
        strings += entry.len() as u32;
    }
    Ok(())
}

pub(super) fn environ_sizes_get(guest: &mut Guest<'_>, count: u32, bytes: u32) -> Reply {
    let entries = environment(guest);
    guest.write_u32(count, entries.len() as u32)?;
    guest.write_u32(bytes, entries.iter().map(Vec::len).sum::<usize>() as u32)
}

/// Standard output becomes an info line, standard error an error line, less one newline at the end.
pub(super) fn fd_write(guest: &mut Guest<'_>, fd: u32, pieces: u32, pieces_len: u32, out: u32) -> Reply {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Err(Status::NotFound.into()),
    };
    let mut bytes = Vec::new();
    for piece in 0..pieces_len {
        let at = guest.read_u32(pieces + piece * IOVEC_BYTES)?;
        let len = guest.read_u32(pieces + piece * IOVEC_BYTES + POINTER_BYTES)?;
        bytes.extend(guest.read(at, len)?);
    }
    let written = bytes.len() as u32;
    if !bytes.is_empty() {
        let text = String::from_utf8_lossy(&bytes);
        write_line(guest, level, text.strip_suffix('\n').unwrap_or(&text).to_owned());
    }
    guest.write_u32(out, written)
}

pub(super) fn random_get(guest: &mut Guest<'_>, at: u32, len: u32) -> Reply {
    let bytes = guest.process().borrow_mut().random_bytes(len as usize);
    guest.fill(at, &bytes)
}

/// The test's clock, for both clocks: it moves only when the test moves it.
pub(super) fn clock_time_get(guest: &mut Guest<'_>, clock: u32, _precision: u64, out: u32) -> Reply {
    if clock > CLOCK_ID_MAX {
        return Err(Status::Unimplemented.into());
    }
    let now_ns = guest.process().borrow().clock_ns;
    guest.write_u64(out, now_ns)
}

/// Envoy logs it and returns; the guest, which does not expect that, then runs into `unreachable`.
pub(super) fn proc_exit(_guest: &mut Guest<'_>, code: u32) -> wasmtime::Result<()> {
    Err(wasmtime::Error::msg(format!("the guest exited with code {code}")))
}

/// `name=value` and a zero, each.
fn environment(guest: &mut Guest<'_>) -> Vec<Vec<u8>> {
    let process = guest.process();
    let process = process.borrow();
    process.options.environment.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

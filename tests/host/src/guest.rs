//! One hostcall's view of the guest: its memory, its allocator, and counts of the payload that crosses the boundary.

use crate::abi::Status;
use crate::process::Process;
use crate::vm::VmState;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use wasmtime::Caller;

/// How often each hostcall ran and how many bytes of payload were copied. Pointers and lengths that the
/// host writes back are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// By the hostcall's name.
    pub calls: BTreeMap<&'static str, u64>,
    /// How often each callback ran, by the export's name. What is not exported does not run.
    pub callbacks: BTreeMap<&'static str, u64>,
    /// Bytes that the host read out of guest memory: keys, values, log lines, messages.
    pub bytes_from_guest: u64,
    /// Bytes that the host allocated in guest memory and wrote there: bodies, headers, shared data.
    pub bytes_to_guest: u64,
}

// === impl Counts ===

impl Counts {
    /// All hostcalls together.
    pub fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    /// All callbacks together.
    pub fn entries(&self) -> u64 {
        self.callbacks.values().sum()
    }

    /// How often one hostcall ran.
    pub fn of(&self, name: &str) -> u64 {
        self.calls.get(name).copied().unwrap_or(0)
    }
}

/// Why a hostcall fails: with a status for the guest, or by ending the guest.
pub(crate) enum Fault {
    Status(Status),
    Trap(wasmtime::Error),
}

// === impl Fault ===

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

pub(crate) type Reply<T = ()> = Result<T, Fault>;

/// An import while it runs.
pub(crate) struct Guest<'a> {
    caller: Caller<'a, VmState>,
}

// === impl Guest ===

impl<'a> Guest<'a> {
    pub(crate) fn enter(mut caller: Caller<'a, VmState>, name: &'static str) -> Self {
        *caller.data_mut().counts.calls.entry(name).or_default() += 1;
        Self { caller }
    }

    pub(crate) fn state(&mut self) -> &mut VmState {
        self.caller.data_mut()
    }

    pub(crate) fn process(&self) -> Rc<RefCell<Process>> {
        Rc::clone(&self.caller.data().process)
    }

    pub(crate) fn read(&mut self, at: u32, len: u32) -> Reply<Vec<u8>> {
        let bytes = self.peek(at, len)?;
        self.state().counts.bytes_from_guest += u64::from(len);
        Ok(bytes)
    }

    pub(crate) fn read_text(&mut self, at: u32, len: u32) -> Reply<String> {
        Ok(String::from_utf8_lossy(&self.read(at, len)?).into_owned())
    }

    /// Reads one word of bookkeeping, which is not counted as payload.
    pub(crate) fn read_u32(&mut self, at: u32) -> Reply<u32> {
        let bytes = self.peek(at, 4)?;
        let word = bytes.try_into().map_err(|_| Status::InvalidMemoryAccess)?;
        Ok(u32::from_le_bytes(word))
    }

    pub(crate) fn write_u32(&mut self, at: u32, value: u32) -> Reply {
        self.poke(at, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, at: u32, value: u64) -> Reply {
        self.poke(at, &value.to_le_bytes())
    }

    /// Writes payload where the guest has room for it already.
    pub(crate) fn fill(&mut self, at: u32, bytes: &[u8]) -> Reply {
        self.state().counts.bytes_to_guest += bytes.len() as u64;
        self.poke(at, bytes)
    }

    /// Allocates in the guest, copies, and writes back address and length. No bytes need no allocation:
    /// the guest sees a null pointer, as with Envoy.
    pub(crate) fn give(&mut self, bytes: &[u8], address_at: u32, len_at: u32) -> Reply {
        let mut address = 0;
        if !bytes.is_empty() {
            let allocate = self.caller.data().allocate.clone().ok_or(Status::InvalidMemoryAccess)?;
            address = allocate.call(&mut self.caller, bytes.len() as u32).map_err(Fault::Trap)?;
            self.fill(address, bytes)?;
        }
        self.write_u32(address_at, address)?;
        self.write_u32(len_at, bytes.len() as u32)
    }

    fn peek(&mut self, at: u32, len: u32) -> Reply<Vec<u8>> {
        let memory = self.caller.data().memory.ok_or(Status::InvalidMemoryAccess)?;
        let (start, end) = (at as usize, at as usize + len as usize);
        let bytes = memory.data(&self.caller).get(start..end).ok_or(Status::InvalidMemoryAccess)?;
        Ok(bytes.to_vec())
    }

    fn poke(&mut self, at: u32, bytes: &[u8]) -> Reply {
        let memory = self.caller.data().memory.ok_or(Status::InvalidMemoryAccess)?;
        memory
            .write(&mut self.caller, at as usize, bytes)
            .map_err(|_| Fault::Status(Status::InvalidMemoryAccess))
    }
}

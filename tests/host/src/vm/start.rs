//! From a module to a running VM: link, instantiate, `_initialize`.

use crate::error::StartError;
use crate::hostcalls;
use crate::module::Module;
use crate::process::Process;
use crate::vm::{Core, Vm, VmState};
use std::cell::RefCell;
use std::rc::Rc;
use wasmtime::{Linker, Store};

/// Names of the allocator: the ABI's, and the one that `wasm32-unknown-unknown` builds of the SDK use.
const ALLOCATORS: [&str; 2] = ["proxy_on_memory_allocate", "malloc"];

// === impl Vm ===

impl Vm {
    pub(crate) fn start(
        module: &Module,
        process: Rc<RefCell<Process>>,
        worker: u32,
    ) -> Result<Self, StartError> {
        let refuse = |error: wasmtime::Error| StartError::Instantiate(format!("{error:#}"));
        let mut linker = Linker::new(module.inner.engine());
        hostcalls::link(&mut linker).map_err(refuse)?;
        let mut store = Store::new(module.inner.engine(), VmState::new(process, worker));
        let instance = linker.instantiate(&mut store, &module.inner).map_err(refuse)?;
        let memory = instance.get_memory(&mut store, "memory").ok_or(StartError::Export("memory"))?;
        let allocate = ALLOCATORS.iter().find_map(|name| instance.get_typed_func(&mut store, name).ok());
        store.data_mut().memory = Some(memory);
        store.data_mut().allocate = allocate;
        let mut core = Core { store, instance, module: module.clone(), trap: None };
        core.notify(0, "_initialize", ())?;
        Ok(Self { core: Rc::new(RefCell::new(core)) })
    }
}

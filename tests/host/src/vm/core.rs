//! Entering the guest: one callback at a time, with what Envoy does around each of them.

use crate::abi::Direction;
use crate::error::{Outcome, Trap};
use crate::module::Module;
use crate::vm::state::{Context, Deferred, VmState};
use wasmtime::{Instance, Store, WasmParams, WasmResults};

pub(crate) struct Core {
    pub(crate) store: Store<VmState>,
    pub(crate) instance: Instance,
    pub(crate) module: Module,
    pub(crate) trap: Option<Trap>,
}

// === impl Core ===

impl Core {
    pub(crate) fn state(&mut self) -> &mut VmState {
        self.store.data_mut()
    }

    /// Runs one export for a context. `None` where the module does not export it, which Envoy takes as
    /// "nothing to do".
    pub(crate) fn call<A, R>(
        &mut self,
        context: u32,
        export: &'static str,
        arguments: A,
    ) -> Outcome<Option<R>>
    where
        A: WasmParams,
        R: WasmResults,
    {
        if let Some(trap) = &self.trap {
            return Err(trap.clone());
        }
        let Ok(function) = self.instance.get_typed_func::<A, R>(&mut self.store, export) else {
            return Ok(None);
        };
        let state = self.state();
        state.current = context;
        state.effective = 0;
        state.stop_iteration = false;
        *state.counts.callbacks.entry(export).or_default() += 1;
        function.call(&mut self.store, arguments).map(Some).map_err(|error| {
            let trap = Trap { callback: export, message: format!("{error:#}") };
            self.trap = Some(trap.clone());
            trap
        })
    }

    /// Runs an export without a result, then the effects that it requested.
    pub(crate) fn notify<A: WasmParams>(
        &mut self,
        context: u32,
        export: &'static str,
        arguments: A,
    ) -> Outcome<()> {
        self.call::<A, ()>(context, export, arguments)?;
        self.settle()
    }

    /// Applies the effects that callbacks requested, and their consequences, until none is left.
    pub(crate) fn settle(&mut self) -> Outcome<()> {
        while let Some(deferred) = self.state().deferred.pop_front() {
            match deferred {
                Deferred::Continue(id, direction) => self.resume(id, direction)?,
                Deferred::LocalReply(id, reply) => self.local_reply(id, reply)?,
                Deferred::Reset(id) => {
                    if let Some(stream) = self.state().stream(id) {
                        stream.reset = true;
                    }
                }
                Deferred::Delete(id) => self.delete_root(id)?,
            }
        }
        Ok(())
    }

    /// Creates a root context and configures it: `proxy_on_context_create`, `proxy_on_vm_start`,
    /// `proxy_on_configure`. False when the guest refused at one of the latter two.
    pub(crate) fn configure(&mut self, id: u32, configuration: &[u8]) -> Outcome<bool> {
        let vm_configuration_len = {
            let state = self.state();
            state.delivery.plugin_configuration = Some(configuration.to_vec());
            state.process.borrow().options.vm_configuration.len() as u32
        };
        let accepted = self.start(id, vm_configuration_len, configuration.len() as u32);
        self.state().delivery.plugin_configuration = None;
        accepted
    }

    fn start(&mut self, id: u32, vm_configuration_len: u32, configuration_len: u32) -> Outcome<bool> {
        self.notify(id, "proxy_on_context_create", (id, 0))?;
        // Envoy hides the plugin's configuration from on_vm_start: it may belong to another plugin.
        let configuration = self.state().delivery.plugin_configuration.take();
        let started: Option<u32> = self.call(id, "proxy_on_vm_start", (id, vm_configuration_len))?;
        self.settle()?;
        if started == Some(0) {
            return Ok(false);
        }
        self.state().delivery.plugin_configuration = configuration;
        let configured: Option<u32> = self.call(id, "proxy_on_configure", (id, configuration_len))?;
        self.settle()?;
        Ok(configured != Some(0))
    }

    /// `proxy_on_delete` of a root context; its callouts are cancelled.
    pub(crate) fn delete_root(&mut self, id: u32) -> Outcome<()> {
        let deleted = self.notify(id, "proxy_on_delete", id);
        let state = self.state();
        state.contexts.remove(&id);
        state.callouts.cancel_all_of(id);
        deleted
    }

    /// Ends a stream as Envoy 1.40 does: `proxy_on_log`, then `proxy_on_done`, then `proxy_on_delete`.
    ///
    /// The ABI's text has done before log, and Envoy's TCP filter keeps to it; for HTTP the connection
    /// manager writes its access log before it destroys the filters
    /// (`ConnectionManagerImpl::doDeferredStreamDestroy`, `Context::onDestroy`).
    pub(crate) fn finish_stream(&mut self, id: u32) -> Outcome<()> {
        match self.state().stream(id) {
            Some(stream) => stream.log_phase = true,
            None => return Ok(()),
        }
        let ended = self.end_calls(id);
        self.state().contexts.remove(&id);
        ended
    }

    fn end_calls(&mut self, id: u32) -> Outcome<()> {
        self.notify(id, "proxy_on_log", id)?;
        if let Some(stream) = self.state().stream(id) {
            stream.log_phase = false;
        }
        // The result of on_done holds back only a root context, not a stream.
        self.call::<_, u32>(id, "proxy_on_done", id)?;
        self.settle()?;
        self.notify(id, "proxy_on_delete", id)
    }

    /// The newest root context: Envoy gives new streams to the newest configuration.
    pub(crate) fn newest_root(&mut self) -> Option<u32> {
        self.state().roots().filter(|(_, root)| !root.retiring).map(|(id, _)| id).next_back()
    }

    pub(crate) fn open_streams(&mut self) -> usize {
        self.state().contexts.values().filter(|context| matches!(context, Context::Stream(_))).count()
    }

    /// The callback for a direction's phase.
    pub(crate) fn export(
        direction: Direction,
        request: &'static str,
        response: &'static str,
    ) -> &'static str {
        match direction {
            Direction::Request => request,
            Direction::Response => response,
        }
    }
}

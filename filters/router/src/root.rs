//! The plugin's root: its configuration, its tick and the callbacks of its stream to the controller.

use crate::host;
use crate::http::Http;
use crate::vm::{Dispatched, Flow, Vm};
use log::{error, warn};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use std::rc::Rc;
use warmpath_config::plugin;
use warmpath_core::router::{CallId, Called, ExchangeId, Input, PluginId, UplinkId};

/// The first Envoy in which a filter may stop at the headers and still get the body
/// (`allow_on_headers_stop_iteration`), as (major, minor).
const ENVOY_MIN: (u64, u64) = (1, 35);

/// One configured plugin in one VM.
pub(crate) struct Root {
    id: PluginId,
    vm: Option<Rc<Vm>>,
    /// Envoy's name for the controller, for the log.
    cluster: String,
    /// Calls for requests that were made in a tick, by the host's tokens: their ends come here.
    calls: Vec<(u32, ExchangeId, CallId)>,
}

// === impl Root ===

impl Root {
    /// The root with the host's id for it.
    pub(crate) fn new(context_id: u32) -> Self {
        Self { id: PluginId(context_id), vm: None, cluster: String::new(), calls: Vec::new() }
    }

    /// Handles an input that belongs to no request. These are rare, and operators want to see their counts at once.
    fn handle(&self, input: Input<'_>) {
        if let Some(vm) = &self.vm {
            vm.handle(input);
            vm.flush_metrics();
        }
    }
}

impl Root {
    fn tick(&mut self) {
        let Some(vm) = self.vm.clone() else { return };
        let done = vm.handle(Input::Tick { plugin: self.id });
        self.keep_calls(done.calls);
        vm.flush_metrics();
    }

    fn keep_calls(&mut self, calls: Vec<Dispatched>) {
        for Dispatched { id, token, exchange } in calls {
            match (token, exchange) {
                (Some(token), Some(exchange)) => self.calls.push((token, exchange, id)),
                (None, Some(exchange)) => self.called(exchange, id, None),
                (_, None) => {}
            }
        }
    }

    /// The end of a call that was made in a tick. Its request may be gone.
    fn called(&mut self, exchange: ExchangeId, call: CallId, response: Option<Called<'_>>) {
        let Some(vm) = self.vm.clone() else { return };
        host::enter(exchange.0);
        let mut done = vm.handle(Input::Called { exchange, call, response });
        let mut calls = std::mem::take(&mut done.calls);
        if done.reads_body {
            let body = host::whole_request_body();
            done = vm.handle(Input::RequestBody { exchange, body: &body });
            calls.append(&mut done.calls);
        }
        // A request that was held goes on from here, as it would from its own callback.
        match done.flow {
            Some(Flow::Resumed) => host::resume_request(),
            Some(Flow::ResponseResumed) => {
                vm.resume_response(exchange);
            }
            Some(Flow::Paused) | None => {}
        }
        host::enter(self.id.0);
        // What the router calls then is for the same request.
        let calls = calls.into_iter();
        self.keep_calls(calls.map(|call| Dispatched { exchange: Some(exchange), ..call }).collect());
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        if let Some(version) = host::envoy_version()
            && version < ENVOY_MIN
        {
            error!(
                "this is Envoy {}.{}, and Warmpath needs {}.{} or newer: an older one never shows the body to a \
                 filter that stops at the headers, and every request would hang",
                version.0, version.1, ENVOY_MIN.0, ENVOY_MIN.1
            );
            return false;
        }
        match plugin::parse(&host::plugin_configuration(size), host::environment) {
            Ok(config) => {
                let node = host::node_id();
                self.vm = Some(Vm::of_cells(config.cell_bytes));
                self.cluster = config
                    .controller
                    .as_ref()
                    .map_or_else(String::new, |controller| controller.cluster.clone());
                self.handle(Input::Configure { plugin: self.id, config, node });
                true
            }
            Err(faults) => {
                for fault in faults.iter() {
                    error!("configuration: {fault}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.tick();
        #[cfg(feature = "fault-injection")]
        crate::fault::on_tick(self.vm.as_ref().is_some_and(|vm| vm.holds_lease()));
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        // The SDK panics on `None`, so a stream without a plugin gets a filter that does nothing.
        Some(Box::new(Http::new(self.vm.clone(), self.id, ExchangeId(context_id))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(at) = self.calls.iter().position(|(other, ..)| *other == token) else { return };
        let (_, exchange, call) = self.calls.swap_remove(at);
        let response = host::call_response(headers, body_size);
        self.called(exchange, call, response.as_ref().map(|(status, body)| Called { status: *status, body }));
    }

    fn on_grpc_stream_message(&mut self, token_id: u32, message_size: usize) {
        let message = host::stream_message(message_size);
        self.handle(Input::UplinkMessage { uplink: UplinkId(token_id), message: &message });
    }

    fn on_grpc_stream_close(&mut self, token_id: u32, status_code: u32) {
        let message = host::stream_status_message();
        warn!(
            "controller: the stream through cluster `{}` ended with gRPC status {status_code}{}: {message}",
            self.cluster,
            meaning(status_code)
        );
        self.handle(Input::UplinkClosed { uplink: UplinkId(token_id) });
    }

    fn on_done(&mut self) -> bool {
        self.handle(Input::Retire { plugin: self.id });
        true
    }
}

/// The statuses that a stream to a controller ends with, for people who do not know the numbers.
fn meaning(grpc_status: u32) -> &'static str {
    match grpc_status {
        3 => " (invalid argument)",
        7 => " (permission denied: the controller does not accept `controller.token` for this)",
        8 => " (resource exhausted)",
        12 => " (unimplemented: no controller listens there)",
        14 => " (unavailable)",
        16 => {
            " (unauthenticated: `controller.token` is missing, also where the VM lacks the environment variable of \
             `controller.token_env`, or is not the controller's)"
        }
        _ => "",
    }
}

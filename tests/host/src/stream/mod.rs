//! One HTTP request and its response, which a test drives through the filter.

mod drive;
mod flow;
mod reply;
mod state;

pub(crate) use flow::Flow;
pub use flow::Forwarded;
pub(crate) use flow::edit;
pub use state::LocalResponse;
pub(crate) use state::{LocalReply, StreamState};

use crate::abi::{Action, Direction};
use crate::error::{Outcome, Trap};
use crate::headers::Headers;
use crate::vm::{Context, Vm};

/// A request on its way through one VM. See [`Vm::request`].
///
/// The test plays the connection manager: it passes in the data that arrives from the client and from the upstream, and
/// reads the data that the filter let through.
pub struct Stream {
    vm: Vm,
    id: Option<u32>,
    properties: Vec<(Vec<Vec<u8>>, Vec<u8>)>,
}

// === impl Stream ===

impl Stream {
    pub(crate) fn new(vm: Vm) -> Self {
        Self { vm, id: None, properties: Vec::new() }
    }

    /// The request's headers arrive; the guest gets a context for the stream. Values may be any bytes, as
    /// on the wire.
    pub fn headers<V: AsRef<[u8]>>(&mut self, headers: &[(&str, V)], end_of_stream: bool) -> Outcome<Action> {
        let id = self.create()?;
        self.vm.core.borrow_mut().headers(id, Direction::Request, Headers::from(headers), end_of_stream)
    }

    /// A piece of the request's body arrives.
    pub fn body(&mut self, piece: &[u8], end_of_stream: bool) -> Outcome<Action> {
        let id = self.create()?;
        self.vm.core.borrow_mut().body(id, Direction::Request, piece.to_vec(), end_of_stream)
    }

    /// The request's trailers arrive.
    pub fn request_trailers(&mut self, trailers: &[(&str, &str)]) -> Outcome<Action> {
        let id = self.create()?;
        self.vm.core.borrow_mut().trailers(id, Direction::Request, Headers::from(trailers))
    }

    /// The response's headers arrive.
    pub fn response_headers(&mut self, headers: &[(&str, &str)], end_of_stream: bool) -> Outcome<Action> {
        let id = self.create()?;
        self.vm.core.borrow_mut().headers(id, Direction::Response, Headers::from(headers), end_of_stream)
    }

    /// A piece of the response's body arrives.
    pub fn response_body(&mut self, piece: &[u8], end_of_stream: bool) -> Outcome<Action> {
        let id = self.create()?;
        self.vm.core.borrow_mut().body(id, Direction::Response, piece.to_vec(), end_of_stream)
    }

    /// The response's trailers arrive.
    pub fn response_trailers(&mut self, trailers: &[(&str, &str)]) -> Outcome<Action> {
        let id = self.create()?;
        self.vm.core.borrow_mut().trailers(id, Direction::Response, Headers::from(trailers))
    }

    /// The stream ends, for whatever reason: the access log, then done, then delete, in Envoy's order.
    /// Nothing can be read from the stream afterwards, so it is consumed.
    pub fn finish(self) -> Outcome<()> {
        self.id.map_or(Ok(()), |id| self.vm.core.borrow_mut().finish_stream(id))
    }

    /// Sets the value that `proxy_get_property` returns for a path such as `["upstream", "address"]`. Integers are
    /// eight little-endian bytes, as Envoy writes them.
    pub fn set_property(&mut self, path: &[&str], value: &[u8]) {
        let path: Vec<_> = path.iter().map(|step| step.as_bytes().to_vec()).collect();
        match self.id {
            Some(id) => {
                if let Some(stream) = self.vm.core.borrow_mut().state().stream(id) {
                    stream.properties.insert(path, value.to_vec());
                }
            }
            None => self.properties.push((path, value.to_vec())),
        }
    }

    /// The request's headers as the filter has left them so far.
    pub fn request_headers(&self) -> Headers {
        self.with(|stream| stream.request.headers.clone()).flatten().unwrap_or_default()
    }

    /// The part that the upstream has received.
    pub fn upstream(&self) -> Forwarded {
        self.with(|stream| stream.request.forwarded.clone()).unwrap_or_default()
    }

    /// The part that the client has received, if the response came from the upstream.
    pub fn downstream(&self) -> Forwarded {
        self.with(|stream| stream.response.forwarded.clone()).unwrap_or_default()
    }

    /// The local response that the filter, or the host in its place, sent instead of the upstream's.
    pub fn local_response(&self) -> Option<LocalResponse> {
        self.with(|stream| stream.local_response.clone()).flatten()
    }

    /// Whether the filter reset the stream, or sent a local response when it was too late for one.
    pub fn is_reset(&self) -> bool {
        self.with(|stream| stream.reset).unwrap_or(false)
    }

    /// The guest's context for this stream.
    pub fn context(&self) -> Option<u32> {
        self.id
    }

    fn with<T>(&self, read: impl FnOnce(&StreamState) -> T) -> Option<T> {
        let id = self.id?;
        self.vm.core.borrow_mut().state().stream(id).map(|stream| read(stream))
    }

    fn create(&mut self) -> Outcome<u32> {
        if let Some(id) = self.id {
            return Ok(id);
        }
        let mut core = self.vm.core.borrow_mut();
        let root = core.newest_root().ok_or_else(|| unconfigured(core.trap.clone()))?;
        let mut state = StreamState { root, ..StreamState::default() };
        state.properties.extend(self.properties.drain(..));
        let id = core.state().add_context(Context::Stream(Box::new(state)));
        self.id = Some(id);
        let created = core.notify(id, "proxy_on_context_create", (id, root));
        if created.is_err() {
            core.fail_stream(id);
        }
        created.map(|()| id)
    }
}

/// A stream needs a root: without one the test forgot to configure the VM, or the VM is gone.
fn unconfigured(trap: Option<Trap>) -> Trap {
    trap.unwrap_or_else(|| Trap {
        callback: "proxy_on_context_create",
        message: "the VM has no root context: it was not configured".to_owned(),
    })
}

//! The contexts of one VM, by the host's numbers: plugins (roots) and their streams.
//!
//! A number that is not there is no error: the host may still call for a stream whose creation it gave up, and a
//! panic would take every request of the worker with it.

use crate::host;
use crate::http::Http;
use crate::root::Root;
use fnv::FnvHashMap;
use std::cell::RefCell;

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

#[derive(Default)]
struct Contexts {
    roots: FnvHashMap<u32, Root>,
    streams: FnvHashMap<u32, Http>,
}

/// Before anything else: log and panics go to the host.
pub(crate) fn start() {
    host::start_log();
}

/// Opens a context; `parent` is 0 for a plugin, else the stream's plugin.
pub(crate) fn create(id: u32, parent: u32) {
    with(|contexts| {
        if parent == 0 {
            contexts.roots.insert(id, Root::default());
        } else {
            // A stream without a plugin gets a filter that does nothing.
            let plugin = contexts.roots.get(&parent).and_then(Root::plugin);
            contexts.streams.insert(id, Http::new(plugin));
        }
    });
}

/// Closes a context.
pub(crate) fn delete(id: u32) {
    if let Some(Some(mut http)) = with(|contexts| contexts.streams.remove(&id)) {
        http.end();
    } else if let Some(Some(mut root)) = with(|contexts| contexts.roots.remove(&id)) {
        root.end();
    }
}

/// Runs `call` on a plugin, if there is one of that number.
pub(crate) fn root<T>(id: u32, call: impl FnOnce(&mut Root) -> T) -> Option<T> {
    with(|contexts| contexts.roots.get_mut(&id).map(call)).flatten()
}

/// Runs `call` on a stream, if there is one of that number.
pub(crate) fn http<T>(id: u32, call: impl FnOnce(&mut Http) -> T) -> Option<T> {
    with(|contexts| contexts.streams.get_mut(&id).map(call)).flatten()
}

/// `None`: the host calls from within a call, which it does not do for what is exported here.
fn with<T>(call: impl FnOnce(&mut Contexts) -> T) -> Option<T> {
    CONTEXTS.with(|contexts| contexts.try_borrow_mut().ok().map(|mut contexts| call(&mut contexts)))
}

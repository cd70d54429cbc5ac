//! Which proxies are connected, and which were refused recently, for `/state`.
//!
//! Kept apart from the hub's subscribers, because routing needs none of it.

use super::hub::StreamId;
use super::refusal::Refusal;
use std::collections::{BTreeMap, VecDeque};
use warmpath_core::ids::ProcessId;
use warmpath_core::time::Timestamp;
use warmpath_core::wire::Hello;

/// Refused streams that are remembered, the latest of each proxy.
const REFUSED_MAX: usize = 32;
/// Longest node or version name that is kept, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A proxy that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedProxy {
    /// Its process.
    pub process: ProcessId,
    /// Its name for people.
    pub node: String,
    /// Its filter's version.
    pub version: String,
    /// Bytes of text in its cells; zero if it does not state them.
    pub cell_bytes: u32,
    /// Whether it takes what engines report of their caches.
    pub takes_reports: bool,
    /// When it connected.
    pub since: Timestamp,
}

/// A proxy that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedProxy {
    /// Its process.
    pub process: ProcessId,
    /// Its name for people.
    pub node: String,
    /// Its filter's version.
    pub version: String,
    /// Why.
    pub refusal: Refusal,
    /// When that happened last.
    pub at: Timestamp,
}

/// The record.
#[derive(Debug, Default)]
pub(super) struct Roster {
    connected: BTreeMap<StreamId, ConnectedProxy>,
    refused: VecDeque<RefusedProxy>,
}

// === impl Roster ===

impl Roster {
    pub(super) fn connect(&mut self, id: StreamId, hello: &Hello, now: Timestamp) {
        let process = ProcessId(hello.process);
        self.refused.retain(|refused| refused.process != process);
        let proxy = ConnectedProxy {
            process,
            node: clip(&hello.node).to_owned(),
            version: clip(&hello.version).to_owned(),
            cell_bytes: hello.cell_bytes,
            takes_reports: hello.takes_reports,
            since: now,
        };
        self.connected.insert(id, proxy);
    }

    pub(super) fn leave(&mut self, id: StreamId) {
        self.connected.remove(&id);
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, hello: &Hello, now: Timestamp) {
        let process = ProcessId(hello.process);
        self.refused.retain(|refused| refused.process != process);
        if self.refused.len() >= REFUSED_MAX {
            self.refused.pop_front();
        }
        let (node, version) = (clip(&hello.node).to_owned(), clip(&hello.version).to_owned());
        self.refused.push_back(RefusedProxy { process, node, version, refusal, at: now });
    }

    pub(super) fn connected(&self) -> impl Iterator<Item = (StreamId, &ConnectedProxy)> {
        self.connected.iter().map(|(id, proxy)| (*id, proxy))
    }

    pub(super) fn refused(&self) -> impl Iterator<Item = &RefusedProxy> {
        self.refused.iter()
    }
}

/// The beginning of a name that a proxy chooses.
pub(crate) fn clip(name: &str) -> &str {
    let end = (0..=NAME_BYTES_MAX).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::{REFUSED_MAX, Refusal, Roster};
    use warmpath_core::time::Timestamp;
    use warmpath_core::wire::Hello;

    #[test]
    fn refusals_are_remembered_by_proxy_and_not_for_ever() {
        let mut roster = Roster::default();
        let refuse = |roster: &mut Roster, process| {
            let hello = Hello { process, ..Hello::default() };
            roster.refuse(Refusal::TooMany, &hello, Timestamp::ZERO);
        };
        let processes = |roster: &Roster| roster.refused().map(|proxy| proxy.process.0).collect::<Vec<_>>();
        for process in [1, 2, 1] {
            refuse(&mut roster, process);
        }
        assert_eq!(processes(&roster), [2, 1]);
        for process in 0..1000 {
            refuse(&mut roster, process);
        }
        assert_eq!(roster.refused().count(), REFUSED_MAX);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = "ä".repeat(200);
        assert_eq!(super::clip(&name).len(), 256);
        assert_eq!(super::clip("x"), "x");
    }
}

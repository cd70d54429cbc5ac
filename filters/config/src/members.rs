//! A pool's engines: the lists `endpoints`, `prefill` and `decode`, of addresses and of host names.

use crate::fault::{Problem, Wanted};
use crate::host::{Endpoint, Host};
use crate::pools::{EndpointsRule, Rules};
use crate::reader::{Entry, Fields, Reader, Unique};
use std::net::SocketAddr;
use warmpath_core::limits::ENDPOINTS_MAX;
use warmpath_core::wire::Role;

/// The lists, and the legs that their engines take.
const LISTS: [(&str, Role); 3] =
    [("endpoints", Role::Both), ("prefill", Role::Prefill), ("decode", Role::Decode)];

/// One engine of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Where it listens.
    pub address: SocketAddr,
    /// What runs there, as in [`warmpath_core::wire::PoolEndpoint::identity`].
    pub identity: u64,
    /// The legs that it takes.
    pub role: Role,
}

/// A host name whose addresses are engines of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedMembers {
    /// The name.
    pub host: Host,
    /// The legs that they take.
    pub role: Role,
}

/// All engines of a pool.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub(crate) addresses: Vec<Member>,
    pub(crate) hosts: Vec<NamedMembers>,
}

/// What is unique and bounded over all pools.
pub(crate) struct SeenMembers {
    pub(crate) addresses: Unique,
    pub(crate) count: usize,
}

// === impl Member ===

impl From<SocketAddr> for Member {
    /// An engine of unknown identity that takes whole requests.
    fn from(address: SocketAddr) -> Self {
        Self { address, identity: 0, role: Role::Both }
    }
}

// === impl NamedMembers ===

impl From<Host> for NamedMembers {
    /// Engines that take whole requests.
    fn from(host: Host) -> Self {
        Self { host, role: Role::Both }
    }
}

// === impl Members ===

impl Members {
    fn add(&mut self, entry: &Entry<'_>, role: Role, rules: Rules, seen: &mut Unique, reader: &mut Reader) {
        let endpoint = if rules.takes_hosts {
            reader.parsed(entry, Wanted::Endpoint)
        } else {
            reader.address(entry).map(Endpoint::Address)
        };
        match endpoint {
            Some(Endpoint::Address(address)) => {
                seen.add(&entry.place, address.to_string(), reader);
                self.addresses.push(Member { address, identity: 0, role });
            }
            Some(Endpoint::Host(host)) => {
                seen.add(&entry.place, host.to_string(), reader);
                self.hosts.push(NamedMembers { host, role });
            }
            None => {}
        }
    }
}

/// Takes the lists. A list of legs without `transfer` is a fault: nothing would be split, and the prefill engines would idle.
pub(crate) fn read(
    fields: &mut Fields<'_>,
    rules: Rules,
    seen: &mut SeenMembers,
    reader: &mut Reader,
) -> Members {
    let lists: Vec<_> =
        LISTS.into_iter().filter_map(|(name, role)| Some((fields.optional(name)?, role))).collect();
    match rules.endpoints {
        EndpointsRule::Required if lists.is_empty() => {
            fields.lacks("endpoints", Problem::Missing, reader);
        }
        EndpointsRule::AtLeastOne if lists.iter().all(|(entry, _)| entry.is_empty_list()) => {
            match lists.first() {
                Some((entry, _)) => reader.report(&entry.place, Problem::NoEndpoints),
                None => fields.lacks("endpoints", Problem::NoEndpoints, reader),
            }
        }
        EndpointsRule::Required | EndpointsRule::AtLeastOne | EndpointsRule::Optional => {}
    }
    let mut members = Members::default();
    for (list, role) in &lists {
        let entries = reader.list(list, "endpoints", ENDPOINTS_MAX);
        seen.count += entries.len();
        for entry in &entries {
            members.add(entry, *role, rules, &mut seen.addresses, reader);
        }
    }
    if !fields.has("transfer")
        && let Some((list, _)) = lists.iter().find(|(_, role)| *role != Role::Both)
    {
        reader.report(&list.place, Problem::NoTransfer);
    }
    members
}

//! Names of Services, in a hosts file for the pods of each namespace.
//!
//! A hosts file needs no server, and no cache that expires: it is read at each lookup, so that names follow the Services.

use super::table::Table;
use crate::kubelet::Mount;
use anyhow::Context;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The names that all pods have.
const OWN: &str = "127.0.0.1 localhost\n";

/// The domain of a cluster.
const DOMAIN: &str = "svc.cluster.local";

/// The hosts files.
#[derive(Debug)]
pub(crate) struct Names {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    table: Table,
    /// What each namespace's file holds.
    written: BTreeMap<String, String>,
}

// === impl Names ===

impl Names {
    /// Files below `folder`.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).context("cannot make the folder of hosts files")?;
        // Names have several addresses, and there is no server to ask for others.
        fs::write(folder.join("host.conf"), "multi on\n").context("cannot write host.conf")?;
        fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.1\n")
            .context("cannot write resolv.conf")?;
        fs::write(folder.join("nsswitch.conf"), "hosts: files\n").context("cannot write nsswitch.conf")?;
        Ok(Self { folder: folder.to_owned(), state: Mutex::default() })
    }

    /// The files of a pod of this namespace.
    pub(crate) fn files(&self, namespace: &str) -> Vec<Mount> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        if !state.written.contains_key(namespace) {
            let text = hosts(&state.table, namespace);
            self.write_file(namespace, &text);
            state.written.insert(namespace.to_owned(), text);
        }
        let file = |name: &str, place: &str| Mount { source: self.folder.join(name), place: place.into() };
        vec![
            file(&format!("{namespace}.hosts"), "/etc/hosts"),
            file("host.conf", "/etc/host.conf"),
            file("resolv.conf", "/etc/resolv.conf"),
            file("nsswitch.conf", "/etc/nsswitch.conf"),
        ]
    }

    /// Writes the files again whose names have changed.
    pub(super) fn write(&self, table: &Table) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.table = table.clone();
        for (namespace, written) in &mut state.written {
            let text = hosts(table, namespace);
            if *written != text {
                self.write_file(namespace, &text);
                *written = text;
            }
        }
    }

    /// In place: containers have the file itself, not its folder.
    fn write_file(&self, namespace: &str, text: &str) {
        // Names that are missing make the test fail that needs them.
        let _written = fs::write(self.folder.join(format!("{namespace}.hosts")), text);
    }
}

/// The hosts file of a namespace.
fn hosts(table: &Table, namespace: &str) -> String {
    let mut text = OWN.to_owned();
    for entry in &table.entries {
        let (name, of) = (&entry.name, &entry.namespace);
        // The last form is the absolute one, which a server would know and a file has to spell out.
        let short = if of == namespace { format!(" {name}") } else { String::new() };
        for address in &entry.addresses {
            let _infallible = writeln!(
                text,
                "{address} {name}.{of}.{DOMAIN} {name}.{of}.svc {name}.{of}{short} {name}.{of}.{DOMAIN}."
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::table::Entry;
    use super::*;

    #[test]
    fn short_names_lead_to_services_of_the_own_namespace() {
        let entry = |namespace: &str| Entry {
            namespace: namespace.to_owned(),
            name: "vllm".to_owned(),
            addresses: vec!["10.96.0.7".parse().unwrap()],
            ports: BTreeMap::new(),
        };
        let table = Table { entries: vec![entry("a"), entry("b")] };
        assert_eq!(
            hosts(&table, "a"),
            "127.0.0.1 localhost\n\
             10.96.0.7 vllm.a.svc.cluster.local vllm.a.svc vllm.a vllm vllm.a.svc.cluster.local.\n\
             10.96.0.7 vllm.b.svc.cluster.local vllm.b.svc vllm.b vllm.b.svc.cluster.local.\n"
        );
    }
}

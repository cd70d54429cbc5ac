//! The state that one Envoy process holds for all its VMs.

use crate::abi::LogLevel;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::queues::Queues;
use crate::shared::SharedData;
use std::collections::{BTreeMap, BTreeSet};

/// A property's path, one element a step: `["upstream", "address"]`.
pub(crate) type PropertyPath = Vec<Vec<u8>>;

/// One line that a guest logged or wrote to its standard output or error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The worker whose VM wrote it.
    pub worker: u32,
    /// Its severity.
    pub level: LogLevel,
    /// Its text.
    pub text: String,
}

/// The state of a callout's upstream in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cluster {
    Up,
    Down,
    Unknown,
}

pub(crate) struct Process {
    pub(crate) options: Options,
    pub(crate) clock_ns: u64,
    pub(crate) data: SharedData,
    pub(crate) queues: Queues,
    pub(crate) metrics: Metrics,
    pub(crate) log: Vec<LogLine>,
    pub(crate) properties: BTreeMap<PropertyPath, Vec<u8>>,
    /// `None`: every name is a cluster.
    pub(crate) clusters: Option<BTreeSet<String>>,
    pub(crate) clusters_down: BTreeSet<String>,
    pub(crate) workers: u32,
    random: u64,
}

// === impl Process ===

impl Process {
    pub(crate) fn new(options: Options) -> Self {
        let mut properties = BTreeMap::new();
        for (name, value) in [
            ("plugin_name", &options.plugin_name),
            ("plugin_root_id", &options.plugin_root_id),
            ("plugin_vm_id", &options.vm_id),
        ] {
            properties.insert(vec![name.as_bytes().to_vec()], value.clone().into_bytes());
        }
        Self {
            clock_ns: options.clock_ns,
            random: options.seed,
            options,
            data: SharedData::default(),
            queues: Queues::default(),
            metrics: Metrics::default(),
            log: Vec::new(),
            properties,
            clusters: None,
            clusters_down: BTreeSet::new(),
            workers: 0,
        }
    }

    pub(crate) fn cluster(&self, name: &str) -> Cluster {
        if self.clusters_down.contains(name) {
            Cluster::Down
        } else if self.clusters.as_ref().is_none_or(|known| known.contains(name)) {
            Cluster::Up
        } else {
            Cluster::Unknown
        }
    }

    /// Bytes of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    pub(crate) fn random_bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.random;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

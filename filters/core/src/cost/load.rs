//! Loading KV from below the GPU: its time, in units of prefill work.
//!
//! Loads run beside the steps of other requests, so only the request itself waits for them. As everything in the cost, they are
//! relative to the prefill of as many tokens: with more KV a token, a model has more to load and more to compute.

use crate::num::float;
use crate::wire::Tier;

/// Time to load a token from a tier, over that of computing one at the beginning of a prompt. For Qwen3-32B TP2 on H100 one token
/// takes 55 us to compute. From the host's memory over PCIe it takes 2.6 us at the link's speed, 7 to 11 us as measured with layers
/// between; from one or four NVMe drives 37 or 9 us; from a store over RDMA at 200 Gbit/s 24 us, from a shared file system at
/// 10 GB/s 26 us.
const CPU_WORK: f64 = 0.1;
const DISK_WORK: f64 = 0.5;
const REMOTE_WORK: f64 = 0.45;

/// Tokens that a request has to load at an endpoint, by tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// From the host's memory.
    pub cpu_tokens: u64,
    /// From the disk.
    pub disk_tokens: u64,
    /// From a store that several endpoints share.
    pub remote_tokens: u64,
}

// === impl Loaded ===

impl Loaded {
    /// All of them.
    pub fn tokens(&self) -> u64 {
        self.cpu_tokens.saturating_add(self.disk_tokens).saturating_add(self.remote_tokens)
    }

    /// The prefill work that takes as long as the load, in tokens' worth.
    pub(super) fn work_tokens(&self) -> f64 {
        float(self.cpu_tokens) * work(Tier::Cpu)
            + float(self.disk_tokens) * work(Tier::Disk)
            + float(self.remote_tokens) * work(Tier::Remote)
    }
}

const fn work(tier: Tier) -> f64 {
    match tier {
        Tier::Gpu => 0.0,
        Tier::Cpu => CPU_WORK,
        Tier::Disk => DISK_WORK,
        Tier::Remote => REMOTE_WORK,
    }
}

// Engines compute what would take longer to load.
const _: () = assert!(CPU_WORK < 1.0 && DISK_WORK < 1.0 && REMOTE_WORK < 1.0);

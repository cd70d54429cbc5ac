//! How long keys and values take to come from elsewhere: from a tier below the GPU, or from a peer's GPU.
//!
//! A link carries one load after the other, as a PCIe lane or a network card does: eight loads at once each
//! arrive later than one alone. The fixed part (a launch, a round trip) overlaps with other loads.

use super::params::Preset;

/// The time of one load: `fixed_s + bytes / bytes_per_s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadTime {
    /// Seconds before the first byte.
    pub fixed_s: f64,
    /// Bytes a second once it flows.
    pub bytes_per_s: f64,
}

// === impl LoadTime ===

impl LoadTime {
    /// Host memory over PCIe 5 x16, each GPU with a link of its own: 50 GB/s of the nominal 64. The fixed part is
    /// the low end of what is published for device links.
    pub fn pcie(preset: Preset) -> Self {
        Self { fixed_s: 1e-4, bytes_per_s: 50e9 * preset.gpus() as f64 }
    }

    /// One NVMe drive of the fourth generation.
    pub const NVME: Self = Self { fixed_s: 8e-5, bytes_per_s: 7e9 };
    /// A network of 200 Gbit/s with RDMA, as measured: 4 GB in 360 ms; the fixed part is published as 0.5 to 2 ms.
    pub const RDMA_200G: Self = Self { fixed_s: 1e-3, bytes_per_s: 11e9 };
    /// A network of 400 Gbit/s with RDMA.
    pub const RDMA_400G: Self = Self { fixed_s: 1e-3, bytes_per_s: 40e9 };
    /// A pod network of 25 Gbit/s with TCP; slower than computing the tokens again. Fixed: 2 to 10 ms.
    pub const TCP_25G: Self = Self { fixed_s: 5e-3, bytes_per_s: 2.75e9 };

    /// No time at all.
    pub const INSTANT: Self = Self { fixed_s: 0.0, bytes_per_s: f64::INFINITY };

    /// Seconds of a load of `bytes` over an idle link.
    pub fn seconds(&self, bytes: f64) -> f64 {
        self.fixed_s + bytes / self.bytes_per_s
    }
}

/// A link and the loads that it still has to carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    time: LoadTime,
    free_at_s: f64,
}

// === impl Link ===

impl Link {
    pub(super) fn new(time: LoadTime) -> Self {
        Self { time, free_at_s: f64::NEG_INFINITY }
    }

    /// Queues a load behind those on the link and returns its time of arrival.
    pub(super) fn carry(&mut self, now_s: f64, bytes: f64) -> f64 {
        self.free_at_s = self.free_at_s.max(now_s) + bytes / self.time.bytes_per_s;
        self.free_at_s + self.time.fixed_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_share_a_link_one_after_the_other() {
        let mut link = Link::new(LoadTime { fixed_s: 0.5, bytes_per_s: 10.0 });
        let arrivals = [link.carry(1.0, 10.0), link.carry(1.0, 20.0), link.carry(9.0, 10.0)];
        assert!(arrivals.iter().zip([2.5, 4.5, 10.5]).all(|(is, expected)| (is - expected).abs() < 1e-12));
    }
}

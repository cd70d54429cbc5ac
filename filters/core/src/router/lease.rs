//! The lease on the uplink: the right of one VM of a process to the stream to the controller.
//!
//! ```text
//!               ┌──────────── claimed ────────────┐
//!   Elsewhere ──┤                                 ├──► Held ── lost, released ──► Elsewhere
//!               └─ another holds it, or too early ┘
//! ```
//!
//! A value in shared data with an owner and an end. Its owner renews it; when its VM traps or its plugin is replaced,
//! the first VM that checks after the end takes over. A stream in every VM would multiply the controller's work by the
//! number of workers. Pure: (state, stored value, now) -> verdict; the router does the storing.

use crate::ids::OriginId;
use crate::time::Timestamp;

/// How long a lease lasts without being renewed, in milliseconds: the longest gap in the uplink when its holder dies.
const LEASE_MS: u64 = 1_000;
/// How often it is renewed, in milliseconds, and the longest interval at which the other VMs check it. They check after a
/// random time between half of it and all of it: VMs are configured at the same moment, and if they all checked at once, a
/// free lease would go unnoticed for a whole interval.
const CHECK_MS: u64 = 250;

/// How long a VM that has given it up leaves it to others, in milliseconds, and up to [`CHECK_MS`] more.
const STAND_BACK_MS: u64 = 1_000;

/// One VM's side of the lease.
#[derive(Debug)]
pub(super) struct Lease {
    owner: OriginId,
    is_held: bool,
    checked_at: Timestamp,
    check_after_ms: u64,
}

/// The lease as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredLease {
    owner: OriginId,
    ends_at: Timestamp,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Store this: the lease is free, or ours to renew.
    Claim(StoredLease),
    /// It is another VM's.
    Leave,
}

// === impl Lease ===

impl Lease {
    /// The state of a VM that has not checked yet.
    pub(super) fn new(owner: OriginId) -> Self {
        Self { owner, is_held: false, checked_at: Timestamp::default(), check_after_ms: CHECK_MS }
    }

    /// Whether this VM holds it.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether it is time to check the stored lease.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now.ms_apart(self.checked_at) >= self.check_after_ms
    }

    /// Whether another VM may have taken it, as this one has not renewed it in time.
    pub(super) fn has_lapsed(&self, now: Timestamp) -> bool {
        self.is_held && now.ms_apart(self.checked_at) >= LEASE_MS
    }

    /// Decides by the stored lease.
    pub(super) fn verdict(&self, stored: Option<StoredLease>, now: Timestamp) -> Verdict {
        match stored {
            Some(stored) if stored.owner != self.owner && stored.is_valid(now) => Verdict::Leave,
            _ => Verdict::Claim(StoredLease { owner: self.owner, ends_at: now.plus_ms(LEASE_MS) }),
        }
    }

    /// Records the outcome. Returns whether the lease was won or lost by it.
    pub(super) fn note(&mut self, is_held: bool, now: Timestamp, random: u64) -> bool {
        self.checked_at = now;
        self.check_after_ms = CHECK_MS - if is_held { 0 } else { random % (CHECK_MS / 2) };
        std::mem::replace(&mut self.is_held, is_held) != is_held
    }

    /// Leaves it to the others for longer than they take to look at it.
    pub(super) fn stand_back(&mut self, now: Timestamp, random: u64) {
        self.checked_at = now;
        self.check_after_ms = STAND_BACK_MS + random % CHECK_MS;
    }

    /// Releases it. Returns the value to store if the stored lease is this VM's.
    pub(super) fn release(&mut self, stored: Option<StoredLease>) -> Option<StoredLease> {
        let was_held = std::mem::replace(&mut self.is_held, false);
        let is_ours = stored.is_some_and(|stored| stored.owner == self.owner);
        (was_held && is_ours).then_some(StoredLease { owner: self.owner, ends_at: Timestamp::default() })
    }
}

// === impl StoredLease ===

impl StoredLease {
    /// Reads a stored value; `None` if it is not a lease.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (owner, ends_at) = two_numbers(value)?;
        Some(Self { owner: OriginId(owner), ends_at: Timestamp::from_ms(ends_at) })
    }

    /// The value to store.
    pub(super) fn encode(self) -> [u8; 16] {
        from_two_numbers(self.owner.0, self.ends_at.ms())
    }

    /// Whether it is in force. An end beyond the longest lease was stored before the clock was set back.
    fn is_valid(self, now: Timestamp) -> bool {
        now < self.ends_at && self.ends_at.ms_since(now) <= LEASE_MS
    }
}

/// Two numbers in one stored value, big endian.
pub(super) fn from_two_numbers(first: u64, second: u64) -> [u8; 16] {
    (u128::from(first) << 64 | u128::from(second)).to_be_bytes()
}

/// The two numbers of such a value.
pub(super) fn two_numbers(value: &[u8]) -> Option<(u64, u64)> {
    let (first, rest) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*first), u64::from_be_bytes(*rest.first_chunk::<8>()?)))
}

#[cfg(test)]
mod tests;

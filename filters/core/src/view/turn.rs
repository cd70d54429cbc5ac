//! Turns: the endpoints that this proxy may choose freely while other proxies route at the same time.
//!
//! A proxy receives the bookings of others some milliseconds late. Until then all proxies find the same endpoint best, and
//! a burst of new prompts, one to each proxy, ends up in one queue (herding on stale state). The endpoints of a pool are
//! therefore divided among the proxies (deterministic subsetting), and the division rotates every [`TURN_MS`]. A proxy that
//! chooses an endpoint out of turn adds the cost of contention ([`crate::cost`]). With a fixed division, the endpoints of a
//! busier proxy would always be busier.
//!
//! Turns block nothing. Two proxies that disagree on the time or on the list of proxies are merely as uncoordinated as they
//! would be without turns.

use crate::num::u64_len;
use crate::time::Timestamp;

/// Duration of a turn, in milliseconds: several times the delay of a booking between proxies, so that few bookings
/// cross a rotation, and short compared with a response. From 20 to 400 the simulator shows no significant difference.
const TURN_MS: u64 = 50;

/// One proxy's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    place: usize,
    proxies: usize,
}

// === impl Turn ===

impl Turn {
    /// The turn of the proxy at index `place` among `proxies`.
    pub fn new(place: usize, proxies: usize) -> Self {
        Self { place, proxies }
    }

    /// Whether the endpoint at `position` in a pool of `endpoints` is this proxy's now. `now` is wall-clock time, which the
    /// proxies share.
    pub fn has(self, position: usize, endpoints: usize, now: Timestamp) -> bool {
        // More proxies than endpoints: several have the same turn.
        let hands = u64_len(self.proxies.min(endpoints).max(1));
        let hand = u64_len(self.place).wrapping_add(now.ms() / TURN_MS) % hands;
        u64_len(position) % hands == hand
    }
}

impl Default for Turn {
    /// The turn of a single proxy: always.
    fn default() -> Self {
        Self::new(0, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{TURN_MS, Turn};
    use crate::num::u64_len;
    use crate::time::Timestamp;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn every_endpoint_is_somebodys_and_nobodys_for_good(
            proxies in 1_usize..12, endpoints in 1_usize..12, now_ms in 0_u64..1 << 40,
        ) {
            let owners = |now_ms: u64, position: usize| -> Vec<usize> {
                (0..proxies).filter(|place| Turn::new(*place, proxies).has(position, endpoints, Timestamp::from_ms(now_ms))).collect()
            };
            for position in 0..endpoints {
                let now = owners(now_ms, position);
                prop_assert!(!now.is_empty());
                if proxies <= endpoints {
                    prop_assert_eq!(now.len(), 1);
                }
                let round = 0..u64_len(proxies);
                let had: BTreeSet<usize> =
                    round.flat_map(|turn| owners(now_ms + turn * TURN_MS, position)).collect();
                prop_assert_eq!(had.len(), proxies, "each has it once in a round");
            }
        }
    }

    #[test]
    fn who_is_alone_has_all() {
        assert!((0..5).all(|position| Turn::default().has(position, 5, Timestamp::from_ms(123_456))));
    }
}

//! The interval of a router's ticks.
//!
//! A wake-up costs a thread more than the work that it then does, and a request reads the log by itself. Ticks are therefore
//! only as frequent as other VMs or proxies need this VM's events.

/// Ticks of the VM that holds the uplink while other proxies route too, in milliseconds: they choose by what they have
/// received.
pub(super) const TICK_MS_UPLINK: u64 = 5;
/// Ticks of a VM that holds requests until there is room, in milliseconds: what has become free is idle until then.
pub(super) const TICK_MS_HELD: u64 = 5;
/// Ticks of a busy VM, in milliseconds.
pub(super) const TICK_MS_BUSY: u64 = 25;
/// Ticks of a VM that is not busy, in milliseconds: often enough that the ring does not wrap around behind it.
const TICK_MS_IDLE: u64 = 100;
/// How long a VM counts as busy after it has booked a request, or has sent the controller its siblings' events, in
/// milliseconds.
pub(super) const BUSY_MS: u64 = 1_000;

/// The uplink as one VM sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Another VM holds it, or there is none.
    Elsewhere,
    /// This VM holds it, and it is not open.
    Closed,
    /// It is open and no other proxy routes.
    Alone,
    /// It is open and other proxies route.
    WithPeers,
}

/// Time between two ticks, in milliseconds. `is_hasty`: a request may be paused in vain.
pub(super) fn tick_ms(link: Link, is_busy: bool, is_hasty: bool) -> u64 {
    match link {
        _ if is_hasty && !is_busy => TICK_MS_BUSY,
        Link::Closed => TICK_MS_BUSY,
        _ if !is_busy => TICK_MS_IDLE,
        Link::WithPeers => TICK_MS_UPLINK,
        Link::Elsewhere | Link::Alone => TICK_MS_BUSY,
    }
}

#[cfg(test)]
mod tests {
    use super::{Link, tick_ms};

    #[test]
    fn ticks_are_frequent_only_while_somebody_waits_for_them() {
        assert_eq!(tick_ms(Link::WithPeers, true, true), 5);
        assert_eq!(tick_ms(Link::Alone, true, false), 25);
        assert_eq!(tick_ms(Link::Elsewhere, true, false), 25);
        assert_eq!(tick_ms(Link::WithPeers, false, false), 100);
        assert_eq!(tick_ms(Link::WithPeers, false, true), 25, "a request may be paused in vain");
        assert_eq!(tick_ms(Link::Closed, false, false), 25, "the next attempt to open it is not late");
    }
}

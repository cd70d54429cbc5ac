//! Whether to take a lease, from its record and from how long that has not changed. Pure: time is an argument.
//!
//! The rules are those of client-go's leader election, so that a Kubernetes Lease means here what it means elsewhere. No replica
//! trusts another's clock: a lease has expired when it has not changed for its duration, by the observer's own clock.

use std::time::Duration;
use tokio::time::Instant;

/// How long a holder that falls silent keeps the lease.
pub(super) const LEASE_DURATION: Duration = Duration::from_secs(15);
/// Time between two renewals, and between two looks of the others.
pub(super) const RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// How long a holder continues without a successful renewal: less than the others wait.
pub(super) const RENEW_DEADLINE: Duration = Duration::from_secs(10);

const _: () = assert!(RENEW_DEADLINE.as_secs() < LEASE_DURATION.as_secs());
const _: () = assert!(RENEW_INTERVAL.as_secs() < RENEW_DEADLINE.as_secs());

/// What a lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it; empty when it was given up.
    pub(super) holder: String,
    /// When it was renewed, as its holder wrote it: compared for changes, never used as a time.
    pub(super) renewed: String,
}

/// One replica's view of the lease.
#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    /// What the lease said last, and since when.
    seen: Option<(Record, Instant)>,
    /// The last renewal of this replica's own that succeeded.
    renewed: Option<Instant>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Another replica holds it: look again later.
    Wait,
    /// Write it with this replica as its holder.
    Take,
}

// === impl Election ===

impl Election {
    /// `identity` must differ from that of every other replica.
    pub(super) fn new(identity: String) -> Self {
        Self { identity, seen: None, renewed: None }
    }

    /// What to do with a lease that says this; `None` if there is none.
    pub(super) fn look(&mut self, record: Option<&Record>, now: Instant) -> Step {
        let Some(record) = record else { return Step::Take };
        if record.holder == self.identity || record.holder.is_empty() {
            return Step::Take;
        }
        // Another replica took it.
        self.renewed = None;
        match &self.seen {
            Some((seen, since)) if seen == record => {
                if now.duration_since(*since) >= LEASE_DURATION {
                    Step::Take
                } else {
                    Step::Wait
                }
            }
            _ => {
                self.seen = Some((record.clone(), now));
                Step::Wait
            }
        }
    }

    /// The lease was written with this replica as its holder; the request was sent at `sent`.
    pub(super) fn took(&mut self, sent: Instant) {
        self.renewed = Some(sent);
    }

    /// Whether this replica holds the lease. While the API server is away, that ends before another replica can take it.
    pub(super) fn is_leader(&self, now: Instant) -> bool {
        self.renewed.is_some_and(|renewed| now.duration_since(renewed) < RENEW_DEADLINE)
    }

    /// This replica.
    pub(super) fn identity(&self) -> &str {
        &self.identity
    }
}

#[cfg(test)]
mod tests {
    use super::{Election, LEASE_DURATION, RENEW_DEADLINE, Record, Step};
    use std::time::Duration;
    use tokio::time::Instant;

    fn held(holder: &str, renewed: &str) -> Record {
        Record { holder: holder.to_owned(), renewed: renewed.to_owned() }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_has_not_changed_for_its_duration() {
        let mut election = Election::new("a".to_owned());
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        assert_eq!(election.look(None, at(0)), Step::Take);
        assert_eq!(election.look(Some(&held("", "1")), at(0)), Step::Take, "it was given up");
        assert_eq!(election.look(Some(&held("a", "1")), at(0)), Step::Take, "it is its own");
        assert_eq!(election.look(Some(&held("b", "1")), at(0)), Step::Wait);
        assert_eq!(election.look(Some(&held("b", "2")), at(14)), Step::Wait, "renewed meanwhile");
        assert_eq!(election.look(Some(&held("b", "2")), at(28)), Step::Wait);
        assert_eq!(election.look(Some(&held("b", "2")), at(14) + LEASE_DURATION), Step::Take);
    }

    #[test]
    fn a_holder_that_cannot_renew_stops_before_another_one_may_start() {
        let mut election = Election::new("a".to_owned());
        let start = Instant::now();
        assert!(!election.is_leader(start));
        election.took(start);
        assert!(election.is_leader(start + RENEW_DEADLINE - Duration::from_millis(1)));
        assert!(!election.is_leader(start + RENEW_DEADLINE));
        election.took(start + RENEW_DEADLINE);
        assert_eq!(election.look(Some(&held("thief", "9")), start + RENEW_DEADLINE), Step::Wait);
        assert!(!election.is_leader(start + RENEW_DEADLINE), "it was stolen");
    }
}

//! What is due, in the order of time; of one moment, in the order in which it was planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use warmpath_core::time::Timestamp;

/// See the module.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    entries: BinaryHeap<Entry<T>>,
    planned: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Timestamp,
    number: u64,
    due: T,
}

// === impl Agenda ===

impl<T> Agenda<T> {
    pub(super) fn new() -> Self {
        Self { entries: BinaryHeap::new(), planned: 0 }
    }

    pub(super) fn plan(&mut self, at: Timestamp, due: T) {
        self.planned += 1;
        self.entries.push(Entry { at, number: self.planned, due });
    }

    /// Drops entries.
    #[cfg(test)]
    pub(super) fn retain(&mut self, is_kept: impl Fn(&T) -> bool) {
        self.entries.retain(|entry| is_kept(&entry.due));
    }

    /// When the next entry is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.entries.peek().map(|entry| entry.at)
    }

    /// The next entry, if it is due by `now`.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, T)> {
        if self.next_at()? > now {
            return None;
        }
        self.entries.pop().map(|entry| (entry.at, entry.due))
    }
}

// === impl Entry ===

/// Reversed: the heap yields its greatest.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::Agenda;
    use warmpath_core::time::Timestamp;

    #[test]
    fn what_is_due_comes_by_time_and_then_as_it_was_planned() {
        let mut agenda = Agenda::new();
        for (ms, name) in [(2, "late"), (1, "first"), (1, "second"), (3, "later")] {
            agenda.plan(Timestamp::from_ms(ms), name);
        }
        let due: Vec<_> = std::iter::from_fn(|| agenda.pop(Timestamp::from_ms(2))).collect();
        assert_eq!(due.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["first", "second", "late"]);
        assert_eq!(agenda.next_at(), Some(Timestamp::from_ms(3)));
    }
}

//! The log in shared data: how the VMs of this process tell each other what they did.
//!
//! A ring of pages ([`Page`]), each one value. Reading the open page is one hostcall and appending to it
//! one more. A VM that starts reads all pages that there are, and knows what its siblings know.

use crate::host::{self, Conflict};
use warmpath_core::wire::{Event, Page, PageError, Record, Source};

/// Pages in the ring: 4 MiB at the soft size, some seconds of a busy proxy's events. Idle VMs read on
/// every tick, so only a stopped worker can fall behind so far.
const PAGES: u64 = 1024;
/// Bytes of a page beyond which the next one is opened. A page is copied for each request, so it is small.
const PAGE_BYTES_SOFT_MAX: usize = 4 * 1024;
/// Times that an append is tried before it is left to the next tick.
const APPEND_TRIES_MAX: u32 = 16;

/// One VM's place in the log.
pub(crate) struct SharedLog {
    prefix: String,
    number: u64,
    /// The key of page `number`: made once a page, not once a request.
    key: String,
    read_to: usize,
    /// The open page as it was last read: appending to it needs no second look, for the compare-and-swap
    /// notices if it is stale.
    open: Option<Open>,
}

/// What a read found besides records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadReport {
    /// The ring ran round: records were lost.
    pub(crate) has_overrun: bool,
    /// Records could not be decoded.
    pub(crate) is_malformed: bool,
}

/// What an append found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AppendReport {
    /// How often another VM came in between.
    pub(crate) conflicts: u32,
    /// Whether all was appended.
    pub(crate) is_done: bool,
    /// See [`ReadReport`].
    pub(crate) read: ReadReport,
}

struct Open {
    page: Page,
    mark: Option<u32>,
}

// === impl SharedLog ===

impl SharedLog {
    /// Opens the log of this process for views over cells of `cell_bytes`, at its oldest page.
    pub(crate) fn open(cell_bytes: usize) -> Self {
        let prefix = format!("warmpath/1/{cell_bytes}/page/");
        let mut log = Self { prefix, number: 0, key: String::new(), read_to: Page::start(), open: None };
        if host::shared(&log.key(0)).mark.is_none() {
            log.lay_out();
        }
        log.go_to(log.oldest());
        log
    }

    /// Gives `each` every record since the last read. One hostcall when there is no full page to finish.
    /// Where the ring has overrun, nothing is read: the next read starts at the oldest page that is left.
    pub(crate) fn read(&mut self, each: &mut dyn FnMut(Record)) -> ReadReport {
        let mut report = ReadReport::default();
        self.open = self.read_to_open(&mut report, each);
        report
    }

    /// Appends events, after giving `each` every record that was there before them.
    pub(crate) fn append(
        &mut self,
        source: Source,
        events: &[Event],
        each: &mut dyn FnMut(Record),
    ) -> AppendReport {
        let mut report = AppendReport::default();
        let mut rest = events;
        while report.conflicts < APPEND_TRIES_MAX {
            let had_overrun = report.read.has_overrun;
            let open = match self.open.take().filter(|open| open.mark.is_some()) {
                Some(open) => Some(open),
                None => self.read_to_open(&mut report.read, each),
            };
            let Some(mut open) = open else {
                if report.read.has_overrun && !had_overrun {
                    continue;
                }
                return report;
            };
            let mut taken = 0;
            for event in rest {
                if open.page.end() >= PAGE_BYTES_SOFT_MAX {
                    break;
                }
                open.page.push(source, event);
                taken += 1;
            }
            match host::set_shared(&self.key, open.page.as_bytes(), open.mark) {
                Ok(()) => {
                    self.read_to = open.page.end();
                    if self.read_to >= PAGE_BYTES_SOFT_MAX {
                        // Sealed by this append: nobody will add to it.
                        self.go_to(self.number + 1);
                    }
                    rest = rest.get(taken..).unwrap_or_default();
                    if rest.is_empty() {
                        report.is_done = true;
                        return report;
                    }
                }
                Err(Conflict) => report.conflicts += 1,
            }
        }
        report
    }

    /// Reads on until the page that takes the next record, and returns it. `None`: the ring has overrun.
    fn read_to_open(&mut self, report: &mut ReadReport, each: &mut dyn FnMut(Record)) -> Option<Open> {
        // Bounded: every turn but the last finishes a page.
        for _ in 0..=PAGES {
            let stored = host::shared(&self.key);
            let Ok(page) = Page::from_bytes(stored.value) else {
                report.is_malformed = true;
                return Some(Open { page: Page::new(self.number), mark: stored.mark });
            };
            if page.number() > self.number {
                report.has_overrun = true;
                self.go_to(self.oldest());
                return None;
            }
            if page.number() < self.number {
                // The slot still holds the page of the ring's last round: ours is to be written.
                return Some(Open { page: Page::new(self.number), mark: stored.mark });
            }
            match page.read(self.read_to, &mut *each) {
                Ok(()) => {}
                Err(PageError::NoHeader | PageError::Truncated(_) | PageError::BadEvent(_)) => {
                    report.is_malformed = true;
                }
            }
            self.read_to = page.end();
            if page.end() < PAGE_BYTES_SOFT_MAX {
                return Some(Open { page, mark: stored.mark });
            }
            self.go_to(self.number + 1);
        }
        None
    }

    /// Stores an empty page in each slot, so that every later store can be a compare-and-swap.
    fn lay_out(&self) {
        for number in 0..PAGES {
            let key = self.key(number);
            if host::shared(&key).mark.is_none() {
                let _ = host::set_shared(&key, Page::new(number).as_bytes(), None);
            }
        }
    }

    /// The oldest page that is still there: the newest has been written to, and the ring behind it follows.
    fn oldest(&self) -> u64 {
        let mut newest = 0;
        for slot in 0..PAGES {
            let stored = host::shared(&self.key(slot));
            if let Ok(page) = Page::from_bytes(stored.value)
                && page.end() > Page::start()
            {
                newest = newest.max(page.number());
            }
        }
        newest.saturating_sub(PAGES - 1)
    }

    /// Goes to the start of a page.
    fn go_to(&mut self, number: u64) {
        self.number = number;
        self.key = self.key(number);
        self.read_to = Page::start();
    }

    fn key(&self, number: u64) -> String {
        format!("{}{}", self.prefix, number % PAGES)
    }
}

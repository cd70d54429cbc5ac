//! The log in shared data, through which the VMs of one process share their events.
//!
//! A ring of pages ([`Page`]), each one value. Reading the open page takes one access to shared data, and appending to
//! it another; a queue would wake every sibling for every request. The compare-and-swap on the page makes
//! the append fail if a sibling came in between: its records are read first, so all VMs read one order.
//!
//! Pages are lost one at a time, when the ring overtakes a VM that is stopped. Each page is therefore self-contained:
//! the first [`crate::wire::Prefix`] of every append is written from its first cell, and only those behind it continue it.

use super::shared::{Conflict, SharedMap, Version};
use crate::wire::{Kind, Page, PageError, PrefixDecoder, PrefixEncoder, Record};

/// Pages in the ring: 4 MiB at the soft size, some seconds of a busy proxy's events. Idle VMs read on every tick, so only
/// a stopped worker can fall so far behind.
const PAGES: u64 = 1024;
/// Bytes of a page beyond which the next one is opened. A page is copied for each request, so it is small.
const PAGE_BYTES_SOFT_MAX: usize = 4 * 1024;
/// Tries to append to one page before the rest is left to the next flush. Each failed try is a sibling's success, so the
/// bound is on the time of one callback only.
const TRIES_PER_PAGE_MAX: u32 = 16;

/// The shape of a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pages: u64,
    page_bytes_soft_max: usize,
}

/// One VM's place in the log.
#[derive(Debug)]
pub(super) struct Log {
    shape: Shape,
    prefix: String,
    number: u64,
    /// The key of page `number`: built once a page, not once a request.
    key: String,
    read_to: usize,
    /// The open page as it was last read: appending to it needs no second look, for the compare-and-swap fails if it
    /// is stale.
    open: Option<Open>,
    /// The cursor of the page's prefixes.
    prefixes: PrefixDecoder,
}

/// The problems of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadReport {
    /// The ring wrapped around: records were lost.
    pub(super) has_overrun: bool,
    /// Records could not be decoded.
    pub(super) is_malformed: bool,
}

/// The result of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AppendReport {
    /// Records that are in the log now, counted from the first; the rest is not.
    pub(super) appended: usize,
    /// How often another VM appended first.
    pub(super) conflicts: u32,
    /// See [`ReadReport`].
    pub(super) read: ReadReport,
}

#[derive(Debug)]
struct Open {
    page: Page,
    version: Option<Version>,
}

// === impl Shape ===

impl Default for Shape {
    fn default() -> Self {
        Self { pages: PAGES, page_bytes_soft_max: PAGE_BYTES_SOFT_MAX }
    }
}

// === impl Log ===

impl Log {
    /// Opens the log of this process for views over cells of `cell_bytes`, at its oldest page. All VMs open it in the
    /// same shape.
    pub(super) fn open(shared: &mut impl SharedMap, cell_bytes: usize, shape: Shape) -> Self {
        let mut log = Self {
            shape,
            prefix: format!("warmpath/1/{cell_bytes}/page/"),
            number: 0,
            key: String::new(),
            read_to: Page::start(),
            open: None,
            prefixes: PrefixDecoder::default(),
        };
        if shared.get(&log.key_of(0)).version.is_none() {
            log.lay_out(shared);
        }
        let oldest = log.oldest(shared);
        log.go_to(oldest);
        log
    }

    /// The page that is read next, counted from the first of all.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many pages the ring has.
    pub(super) fn pages(&self) -> u64 {
        self.shape.pages
    }

    /// Passes every record since the last read to `each`. One look at shared data when there is no full page to finish.
    /// Where the ring has overrun, nothing is read: the next read starts at the oldest page that is left.
    pub(super) fn read(&mut self, shared: &mut impl SharedMap, mut each: impl FnMut(Record)) -> ReadReport {
        let mut report = ReadReport::default();
        self.open = self.read_to_open(shared, &mut report, &mut each);
        report
    }

    /// Appends records, after passing to `each` every record that was there before them. Where the ring has overrun, it stops as
    /// [`Self::read`] does.
    pub(super) fn append(
        &mut self,
        shared: &mut impl SharedMap,
        records: &[Record],
        mut each: impl FnMut(Record),
    ) -> AppendReport {
        let mut report = AppendReport::default();
        let mut tries = 0;
        while tries < TRIES_PER_PAGE_MAX
            && let Some(rest) = records.get(report.appended..).filter(|rest| !rest.is_empty())
        {
            let open = match self.open.take().filter(|open| open.version.is_some()) {
                Some(open) => Some(open),
                None => self.read_to_open(shared, &mut report.read, &mut each),
            };
            let Some(mut open) = open else { return report };
            let taken = fill(&mut open.page, rest, self.shape.page_bytes_soft_max);
            let stored = shared.set(&self.key, open.page.as_bytes(), open.version);
            if stored == Err(Conflict) {
                tries += 1;
                report.conflicts += 1;
                continue;
            }
            tries = 0;
            report.appended += taken;
            self.read_to = open.page.end();
            if self.read_to >= self.shape.page_bytes_soft_max {
                // Sealed by this append: no VM will add to it.
                self.go_to(self.number + 1);
            }
        }
        report
    }

    /// Passes every record from the start of page `from` to the last one that was read to `each`, and perhaps some behind it; prefixes
    /// as they are written. `false`: some are gone from the ring, or cannot be read.
    pub(super) fn read_again(
        &self,
        shared: &mut impl SharedMap,
        from: u64,
        mut each: impl FnMut(Record),
    ) -> bool {
        (from..=self.number).all(|number| {
            let page = Page::from_bytes(shared.get(&self.key_of(number)).value);
            // The one that is open may not have been written to yet.
            let is_next = |page: &Page| number == self.number && page.number() < number;
            page.is_ok_and(|page| {
                is_next(&page) || page.number() == number && page.read(Page::start(), &mut each).is_ok()
            })
        })
    }

    /// Reads on until the page that takes the next record, and returns it. `None`: the ring has overrun.
    fn read_to_open(
        &mut self,
        shared: &mut impl SharedMap,
        report: &mut ReadReport,
        each: &mut impl FnMut(Record),
    ) -> Option<Open> {
        // Bounded: every turn but the last finishes a page.
        for _ in 0..=self.shape.pages {
            let stored = shared.get(&self.key);
            let version = stored.version;
            let Ok(page) = Page::from_bytes(stored.value) else {
                report.is_malformed = true;
                return Some(Open { page: Page::new(self.number), version });
            };
            if page.number() > self.number {
                report.has_overrun = true;
                let oldest = self.oldest(shared);
                self.go_to(oldest);
                return None;
            }
            if page.number() < self.number {
                // The slot still holds the page of the ring's last round: ours is to be written.
                return Some(Open { page: Page::new(self.number), version });
            }
            report.is_malformed |= !self.read_page(&page, each);
            self.read_to = page.end();
            if page.end() < self.shape.page_bytes_soft_max {
                return Some(Open { page, version });
            }
            self.go_to(self.number + 1);
        }
        None
    }

    /// Passes on the records of a page behind `read_to`. `false`: some could not be read.
    fn read_page(&mut self, page: &Page, each: &mut impl FnMut(Record)) -> bool {
        let mut is_whole = true;
        let prefixes = &mut self.prefixes;
        let read = page.read(self.read_to, |mut record| {
            if let Some(Kind::Prefix(prefix)) = &record.event.kind {
                let Ok(whole) = prefixes.decode(prefix) else {
                    is_whole = false;
                    return;
                };
                record.event.kind = Some(Kind::Prefix(whole));
            }
            each(record);
        });
        match read {
            Ok(()) => is_whole,
            Err(PageError::NoHeader | PageError::Truncated(_) | PageError::BadEvent(_)) => false,
        }
    }

    /// Stores an empty page in each slot, so that every later store can be a compare-and-swap.
    fn lay_out(&self, shared: &mut impl SharedMap) {
        for number in 0..self.shape.pages {
            let key = self.key_of(number);
            if shared.get(&key).version.is_none() {
                let _ = shared.set(&key, Page::new(number).as_bytes(), None);
            }
        }
    }

    /// The oldest page that is still there: the newest has been written to, and the ring behind it follows.
    fn oldest(&self, shared: &mut impl SharedMap) -> u64 {
        let mut newest = 0;
        for slot in 0..self.shape.pages {
            if let Ok(page) = Page::from_bytes(shared.get(&self.key_of(slot)).value)
                && page.end() > Page::start()
            {
                newest = newest.max(page.number());
            }
        }
        newest.saturating_sub(self.shape.pages - 1)
    }

    /// Goes to the start of a page.
    fn go_to(&mut self, number: u64) {
        self.number = number;
        self.key = self.key_of(number);
        self.read_to = Page::start();
        self.prefixes = PrefixDecoder::default();
    }

    fn key_of(&self, number: u64) -> String {
        format!("{}{}", self.prefix, number % self.shape.pages)
    }
}

/// Puts records into a page until it has `bytes_soft_max`; returns how many.
fn fill(page: &mut Page, records: &[Record], bytes_soft_max: usize) -> usize {
    let mut prefixes = PrefixEncoder::default();
    let mut taken = 0;
    for record in records {
        if page.end() >= bytes_soft_max {
            break;
        }
        match &record.event.kind {
            Some(Kind::Prefix(whole)) => page.push(record.source, record.at, &prefixes.encode(whole).into()),
            _ => page.push(record.source, record.at, &record.event),
        }
        taken += 1;
    }
    taken
}

#[cfg(test)]
mod tests;

//! The log in shared data as a sibling would read it.

use crate::support::Host;
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::wire::{Page, Record};

/// Pages in the ring, counted here once more: a test that fills the ring must know when it is full.
pub(crate) const LOG_PAGES: u64 = 1024;

/// Every record that the ring still holds, oldest first.
pub(crate) fn records(host: &Host) -> Vec<Record> {
    let prefix = format!("warmpath/1/{CELL_BYTES_DEFAULT}/page/");
    let stored = host.shared().into_iter().filter(|(key, _)| key.starts_with(&prefix));
    let mut pages: Vec<Page> = stored.map(|(_, value)| Page::from_bytes(value).unwrap()).collect();
    pages.sort_by_key(Page::number);
    let mut records = Vec::new();
    for page in pages {
        page.read(Page::start(), |record| records.push(record)).unwrap();
    }
    records
}

//! The log in shared data as a sibling would read it.

use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::wire::{Page, Record};
use warmpath_host::Host;

/// Pages in the ring. The filter's own constant is out of reach, so it is counted here once more: a test
/// that fills the ring must know when it is full.
pub(crate) const LOG_PAGES: u64 = 1024;

/// Every record that the ring still holds, oldest first.
pub(crate) fn records(host: &Host) -> Vec<Record> {
    let stored = (0..LOG_PAGES)
        .filter_map(|slot| host.shared(&format!("warmpath/1/{CELL_BYTES_DEFAULT}/page/{slot}")));
    let mut pages: Vec<Page> = stored.map(|(value, _)| Page::from_bytes(value).unwrap()).collect();
    pages.sort_by_key(Page::number);
    let mut records = Vec::new();
    for page in pages {
        page.read(Page::start(), |record| records.push(record)).unwrap();
    }
    records
}

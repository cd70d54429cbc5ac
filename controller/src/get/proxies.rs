//! `warmpath get proxies`: the proxies that are connected, to any replica of the controller.

use super::Rows;
use super::words::{UNKNOWN, age, or_unknown};
use crate::api::{ProxyState, StatePage};

pub(super) fn rows(state: &StatePage, is_wide: bool) -> Rows {
    let mut headings = vec!["NODE", "VERSION", "CONNECTED", "REQUESTS", "HELD"];
    if is_wide {
        headings.extend(["REPLICA", "PROCESS", "CELL-BYTES"]);
    }
    Rows { headings, rows: state.proxies.iter().map(|proxy| row(proxy, is_wide)).collect() }
}

fn row(proxy: &ProxyState, is_wide: bool) -> Vec<String> {
    let mut row = vec![
        or_unknown(Some(&proxy.node)),
        or_unknown(Some(&proxy.version)),
        age(proxy.connected_ms),
        proxy.requests.to_string(),
        proxy.held.to_string(),
    ];
    if is_wide {
        let cell_bytes = proxy.cell_bytes.map_or_else(|| UNKNOWN.to_owned(), |bytes| bytes.to_string());
        row.extend([or_unknown(Some(&proxy.replica)), proxy.process.clone(), cell_bytes]);
    }
    row
}

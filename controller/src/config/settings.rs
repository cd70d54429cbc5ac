//! The validated configuration: nothing in it is optional any more, and every value is within its limits.

use super::fields::{Entry, Fields, Reader};
use super::pools::{self, Pool};
use super::problem::{Fault, Problems};
use super::tree;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use warmpath_core::limits::{CELL_BYTES_DEFAULT, CELL_BYTES_MAX, CELL_BYTES_MIN};
use warmpath_core::num::u64_len;
use warmpath_core::wire;

/// Port of the state stream when the file names none: beside Envoy's customary xDS port.
const GRPC_PORT_DEFAULT: u16 = 18_000;
/// Port of metrics and health when the file names none.
const HTTP_PORT_DEFAULT: u16 = 18_002;
/// Time between two scrapes of one engine. Engines update their gauges once a step, some 20 to 50 ms;
/// what was sent meanwhile is known from the proxies' own bookings.
const SCRAPE_INTERVAL_MS_DEFAULT: u64 = 200;
/// How long one scrape may take: a busy engine's API server answers late.
const SCRAPE_TIMEOUT_MS_DEFAULT: u64 = 1_000;
/// Failed scrapes in a row until an endpoint counts as unhealthy.
const UNHEALTHY_AFTER_DEFAULT: u32 = 3;
/// Bounds of the interval and the timeout, in milliseconds.
const SCRAPE_MS_MIN: u64 = 10;
const SCRAPE_MS_MAX: u64 = 60_000;
/// Bound of `unhealthy_after`.
const UNHEALTHY_AFTER_MAX: u64 = 100;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen. A change needs a restart.
    pub listen: Listen,
    /// How engines are scraped.
    pub scrape: Scrape,
    /// Bytes of prompt text in a cell; every proxy must have the same. A change needs a restart.
    pub cell_bytes: usize,
    /// Who serves what, in order of preference.
    pub pools: Vec<Pool>,
}

/// Addresses to listen on; port 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The state stream.
    pub grpc: SocketAddr,
    /// Metrics, health and explanations.
    pub http: SocketAddr,
}

/// How engines are scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// From the start of one scrape to that of the next.
    pub interval: Duration,
    /// The longest that one scrape may take.
    pub timeout: Duration,
    /// Failures in a row that make an endpoint unhealthy.
    pub unhealthy_after: u32,
}

// === impl Settings ===

impl Settings {
    /// Settings with the defaults and no pools.
    pub fn new(listen: Listen) -> Self {
        Self { listen, scrape: Scrape::default(), cell_bytes: CELL_BYTES_DEFAULT, pools: Vec::new() }
    }

    /// Reads a YAML file's text; on failure with everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let root = tree::parse(text)?;
        let mut reader = Reader::default();
        let settings = read(&Entry::root(&root), &mut reader);
        Problems::check(reader.problems)?;
        settings.ok_or_else(|| {
            Problems::one(super::Problem { line: 0, field: String::new(), fault: Fault::Empty })
        })
    }

    /// The pools as the event that tells proxies of them.
    pub fn pools_event(&self) -> wire::Pools {
        wire::Pools { pools: self.pools.iter().map(Pool::to_wire).collect() }
    }
}

// === impl Listen ===

impl Default for Listen {
    fn default() -> Self {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            grpc: SocketAddr::new(local, GRPC_PORT_DEFAULT),
            http: SocketAddr::new(local, HTTP_PORT_DEFAULT),
        }
    }
}

// === impl Scrape ===

impl Default for Scrape {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(SCRAPE_INTERVAL_MS_DEFAULT),
            timeout: Duration::from_millis(SCRAPE_TIMEOUT_MS_DEFAULT),
            unhealthy_after: UNHEALTHY_AFTER_DEFAULT,
        }
    }
}

fn read(root: &Entry<'_>, reader: &mut Reader) -> Option<Settings> {
    let mut fields = reader.fields(root)?;
    let listen = fields.optional("listen").and_then(|entry| read_listen(&entry, reader));
    let scrape = fields.optional("scrape").and_then(|entry| read_scrape(&entry, reader));
    let bounds = u64_len(CELL_BYTES_MIN)..=u64_len(CELL_BYTES_MAX);
    let cell_bytes = fields.optional("cell_bytes").and_then(|entry| reader.number(&entry, bounds));
    let pools = fields.required("pools", reader).and_then(|entry| pools::read(&entry, reader));
    fields.finish(reader);
    Some(Settings {
        listen: listen.unwrap_or_default(),
        scrape: scrape.unwrap_or_default(),
        cell_bytes: cell_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(CELL_BYTES_DEFAULT),
        pools: pools.unwrap_or_default(),
    })
}

fn read_listen(entry: &Entry<'_>, reader: &mut Reader) -> Option<Listen> {
    let mut fields = reader.fields(entry)?;
    let default = Listen::default();
    let (grpc, http) = (fields.optional("grpc"), fields.optional("http"));
    let address = |entry: &Option<Entry<'_>>, default, reader: &mut Reader| {
        entry.as_ref().and_then(|entry| reader.address(entry)).unwrap_or(default)
    };
    let listen =
        Listen { grpc: address(&grpc, default.grpc, reader), http: address(&http, default.http, reader) };
    // Port 0 is another port each time.
    if listen.grpc == listen.http && listen.http.port() != 0 {
        let line = grpc.as_ref().map_or(entry.line, |grpc| grpc.line);
        let (line, at) = http.as_ref().map_or((line, "grpc"), |http| (http.line, "http"));
        let fault = Fault::Both { value: listen.http.to_string() };
        reader.report(line, format!("{}.{at}", entry.path), fault);
    }
    fields.finish(reader);
    Some(listen)
}

fn read_scrape(entry: &Entry<'_>, reader: &mut Reader) -> Option<Scrape> {
    let mut fields = reader.fields(entry)?;
    let default = Scrape::default();
    let interval = millis(&mut fields, "interval_ms", reader);
    let timeout = millis(&mut fields, "timeout_ms", reader);
    let unhealthy_after =
        fields.optional("unhealthy_after").and_then(|entry| reader.number(&entry, 1..=UNHEALTHY_AFTER_MAX));
    fields.finish(reader);
    Some(Scrape {
        interval: interval.unwrap_or(default.interval),
        timeout: timeout.unwrap_or(default.timeout),
        unhealthy_after: unhealthy_after
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(default.unhealthy_after),
    })
}

fn millis(fields: &mut Fields<'_>, name: &'static str, reader: &mut Reader) -> Option<Duration> {
    let entry = fields.optional(name)?;
    reader.number(&entry, SCRAPE_MS_MIN..=SCRAPE_MS_MAX).map(Duration::from_millis)
}

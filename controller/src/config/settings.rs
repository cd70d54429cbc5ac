//! The validated configuration: every default is filled in, and every value is within its limits.

use super::kubernetes::{self, Kubernetes};
use super::tree;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use warmpath_config::pools::{self, EndpointsRule, Rules};
use warmpath_config::{Entry, Faults, Fields, Pool, Reader, Unique, cells, omitted};
use warmpath_core::limits::CELL_BYTES_DEFAULT;
use warmpath_core::prompt::OMITTED_PREFIXES_DEFAULT;
use warmpath_core::wire;

/// Port of the state stream when the file names none: beside Envoy's customary xDS port.
const GRPC_PORT_DEFAULT: u16 = 18_000;
/// Port of metrics and health when the file names none.
const HTTP_PORT_DEFAULT: u16 = 18_002;
/// Time between two scrapes of one engine. What was sent meanwhile is known from the proxies' own bookings, and each page
/// costs the engine some milliseconds.
const SCRAPE_INTERVAL_MS_DEFAULT: u64 = 1_000;
/// The same while the page is stale and traffic runs.
const SCRAPE_INTERVAL_MS_MIN_DEFAULT: u64 = 200;
/// How long one scrape may take: a busy engine's API server responds late.
const SCRAPE_TIMEOUT_MS_DEFAULT: u64 = 1_000;
/// Failed scrapes in a row until an endpoint counts as unhealthy.
const UNHEALTHY_AFTER_DEFAULT: u32 = 3;
/// Bounds of the interval and the timeout, in milliseconds.
const SCRAPE_MS_MIN: u64 = 10;
const SCRAPE_MS_MAX: u64 = 60_000;
/// Bound of `unhealthy_after`.
const UNHEALTHY_AFTER_MAX: u64 = 100;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to listen. A change needs a restart.
    pub listen: Listen,
    /// Where engines connect to that publish KV events so. A change needs a restart.
    pub listen_kv_events: Option<SocketAddr>,
    /// How engines are scraped.
    pub scrape: Scrape,
    /// Bytes of prompt text in a cell; every proxy must have the same. A change needs a restart.
    pub cell_bytes: usize,
    /// What text of a system prompt begins with that engines cut out; every proxy should have the same. A change needs a
    /// restart.
    pub omitted_prefixes: Vec<String>,
    /// What requests for explanations must carry. `None`: they are served only on a loopback address. A change needs a
    /// restart.
    pub explain_token: Option<String>,
    /// Who serves what, in order of preference.
    pub pools: Vec<Pool>,
    /// What is followed in a cluster. A change needs a restart.
    pub kubernetes: Option<Kubernetes>,
    /// The certificate of the gRPC port; `None` for plaintext. A change of its content needs no restart; one of its place does.
    pub tls: Option<Tls>,
    /// The file with the token that proxies and peers must present; `None` asks for none. As with `tls`.
    pub token_file: Option<PathBuf>,
    /// The filter that is served to proxies; `None` serves none. A change needs a restart.
    pub wasm_file: Option<PathBuf>,
}

/// A certificate's files, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
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
    /// The same while what was seen is stale and traffic runs; at most `interval`.
    pub interval_min: Duration,
    /// The longest that one scrape may take.
    pub timeout: Duration,
    /// Failures in a row that make an endpoint unhealthy.
    pub unhealthy_after: u32,
}

// === impl Settings ===

impl Settings {
    /// Settings with the defaults and no pools.
    pub fn new(listen: Listen) -> Self {
        Self {
            listen,
            listen_kv_events: None,
            scrape: Scrape::default(),
            cell_bytes: CELL_BYTES_DEFAULT,
            omitted_prefixes: OMITTED_PREFIXES_DEFAULT.map(str::to_owned).to_vec(),
            explain_token: None,
            pools: Vec::new(),
            kubernetes: None,
            tls: None,
            token_file: None,
            wasm_file: None,
        }
    }

    /// Reads a YAML file's text.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        let root = tree::parse(text)?;
        let mut reader = Reader::default();
        let settings = read(&Entry::root(&root), &mut reader);
        reader.finish(settings).map_err(Faults::by_line)
    }

    /// The pools as the event that proxies receive.
    pub fn pools_event(&self) -> wire::Pools {
        pools::to_wire(&self.pools)
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
            interval_min: Duration::from_millis(SCRAPE_INTERVAL_MS_MIN_DEFAULT),
            timeout: Duration::from_millis(SCRAPE_TIMEOUT_MS_DEFAULT),
            unhealthy_after: UNHEALTHY_AFTER_DEFAULT,
        }
    }
}

fn read(root: &Entry<'_>, reader: &mut Reader) -> Settings {
    let mut fields = reader.fields(root);
    let listen = fields.optional("listen").map(|entry| read_listen(&entry, reader));
    let scrape = fields.optional("scrape").map(|entry| read_scrape(&entry, reader));
    let cell_bytes = cells::read(&mut fields, reader);
    let omitted_prefixes = omitted::read(&mut fields, reader);
    let explain_token = fields.optional("explain_token").and_then(|entry| reader.name(&entry));
    let engines: Option<pools::ReadEngines> = Some(pools::read_engines);
    let rules = Rules { endpoints: EndpointsRule::Required, takes_hosts: true, engines };
    let kubernetes = fields.optional("kubernetes").map(|entry| kubernetes::read(&entry, reader));
    let pools =
        if kubernetes.is_some() { fields.optional("pools") } else { fields.required("pools", reader) };
    let pools = pools.map(|entry| pools::read(&entry, rules, reader));
    let tls = fields.optional("tls").map(|entry| read_tls(&entry, reader));
    let token_file = file(fields.optional("token_file"), reader);
    let wasm_file = file(fields.optional("wasm_file"), reader);
    fields.finish(reader);
    let (listen, listen_kv_events) = listen.unwrap_or_default();
    Settings {
        listen,
        listen_kv_events,
        scrape: scrape.unwrap_or_default(),
        cell_bytes,
        omitted_prefixes,
        explain_token,
        pools: pools.unwrap_or_default(),
        kubernetes,
        tls,
        token_file,
        wasm_file,
    }
}

fn read_tls(entry: &Entry<'_>, reader: &mut Reader) -> Tls {
    let mut fields = reader.fields(entry);
    let cert = file(fields.required("cert", reader), reader);
    let key = file(fields.required("key", reader), reader);
    fields.finish(reader);
    Tls { cert: cert.unwrap_or_default(), key: key.unwrap_or_default() }
}

fn file(entry: Option<Entry<'_>>, reader: &mut Reader) -> Option<PathBuf> {
    reader.name(&entry?).map(PathBuf::from)
}

fn read_listen(entry: &Entry<'_>, reader: &mut Reader) -> (Listen, Option<SocketAddr>) {
    let mut fields = reader.fields(entry);
    let default = Listen::default();
    let grpc = fields.optional("grpc");
    let http = fields.optional("http");
    let kv_events = fields.optional("kv_events");
    fields.finish(reader);
    let mut address = |field: &Option<Entry<'_>>, default: SocketAddr| {
        field.as_ref().and_then(|entry| reader.address(entry)).unwrap_or(default)
    };
    let listen = Listen { grpc: address(&grpc, default.grpc), http: address(&http, default.http) };
    let place = |field: Option<Entry<'_>>, name: &str| {
        field.map_or_else(|| entry.place.field(name), |entry| entry.place)
    };
    // The file is at fault, not the default that it collides with; so a default comes first.
    let is_http_default = http.is_none();
    let kv_events_address = kv_events.as_ref().and_then(|entry| reader.address(entry));
    let mut all = vec![(place(grpc, "grpc"), listen.grpc), (place(http, "http"), listen.http)];
    if is_http_default {
        all.reverse();
    }
    all.extend(kv_events_address.map(|address| (place(kv_events, "kv_events"), address)));
    let mut taken = Unique::new("choose another port");
    // Port 0 is another port each time.
    for (place, address) in all.into_iter().filter(|(_, address)| address.port() != 0) {
        taken.add(&place, address.to_string(), reader);
    }
    (listen, kv_events_address)
}

fn read_scrape(entry: &Entry<'_>, reader: &mut Reader) -> Scrape {
    let mut fields = reader.fields(entry);
    let default = Scrape::default();
    let interval = millis(&mut fields, "interval_ms", reader);
    let interval_min = millis(&mut fields, "interval_ms_min", reader);
    let timeout = millis(&mut fields, "timeout_ms", reader);
    let unhealthy_after = fields.optional("unhealthy_after");
    let unhealthy_after = unhealthy_after.and_then(|entry| reader.number(&entry, 1..=UNHEALTHY_AFTER_MAX));
    fields.finish(reader);
    let interval = interval.unwrap_or(default.interval);
    Scrape {
        interval,
        // A file that asks for shorter intervals than that at all times is right in itself.
        interval_min: interval_min.unwrap_or(default.interval_min).min(interval),
        timeout: timeout.unwrap_or(default.timeout),
        unhealthy_after: unhealthy_after.unwrap_or(default.unhealthy_after),
    }
}

fn millis(fields: &mut Fields<'_>, name: &'static str, reader: &mut Reader) -> Option<Duration> {
    let entry = fields.optional(name)?;
    reader.number(&entry, SCRAPE_MS_MIN..=SCRAPE_MS_MAX).map(Duration::from_millis)
}

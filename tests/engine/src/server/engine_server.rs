//! The handle of a running engine.

use super::{
    config::ServerConfig,
    events::{Publisher, Sources},
    fault::{Fault, Faults},
    hub::Hub,
    listen,
    lora::Adapters,
    metrics,
    sleep::Sleep,
    state::State,
};
use crate::{
    api::Reading,
    model::Root,
    text::{Cut, Filler, Template, Vocabulary},
};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::JoinHandle,
};

/// Pause between two looks at the connections of an engine that drains.
const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A simulated engine that listens. Dropping it stops it at once; [`Self::shutdown`] also waits for the end.
#[derive(Debug)]
pub struct EngineServer {
    app: Arc<App>,
    addr: SocketAddr,
    listener: JoinHandle<()>,
    side: JoinHandle<()>,
    driver: JoinHandle<()>,
}

/// What all connections of an engine share.
#[derive(Debug)]
pub(super) struct App {
    pub(super) config: ServerConfig,
    pub(super) adapters: Adapters,
    pub(super) hub: Arc<Hub>,
    pub(super) cut: Cut,
    publisher: Option<Publisher>,
    pub(super) faults: Arc<Faults>,
    pub(super) sleep: Sleep,
    addr: SocketAddr,
    /// Where other engines find it.
    pub(super) side_addr: SocketAddr,
    pub(super) stop: Notify,
    /// Connections of clients that are open.
    pub(super) connections: AtomicUsize,
    requests: Mutex<BTreeMap<&'static str, u64>>,
    /// The page of `/metrics` that a fault keeps as it is, and the order's name.
    frozen: Mutex<Option<(u64, String)>>,
    faulted: AtomicU64,
    ids: AtomicU64,
}

// === impl EngineServer ===

impl EngineServer {
    /// Binds the address and begins to serve; must be called inside a tokio runtime.
    pub async fn start(config: ServerConfig) -> io::Result<Self> {
        let socket = TcpListener::bind(config.listen).await?;
        let addr = socket.local_addr()?;
        let transfer = config.transfer.as_ref();
        let side_host = transfer.and_then(|transfer| transfer.side_host).unwrap_or(addr.ip());
        let side_port = transfer.map_or(0, |transfer| transfer.side_port);
        let side_socket = TcpListener::bind((side_host, side_port)).await?;
        let side_addr = side_socket.local_addr()?;
        let cut = match &config.model_dir {
            None => Cut::FourBytes,
            Some(folder) => Cut::Model(Arc::new(Vocabulary::read(folder).map_err(io::Error::other)?)),
        };
        let faults = Arc::new(Faults::new());
        let (publishing, to_publish) = mpsc::unbounded_channel();
        let publisher = match &config.events {
            None => None,
            Some(events) => Some(Publisher::start(events, addr.ip(), Arc::clone(&faults), to_publish).await?),
        };
        let app = Arc::new(App {
            addr,
            side_addr,
            hub: Arc::new(Hub::new(&config, publisher.is_some().then_some(publishing))),
            cut,
            publisher,
            adapters: Adapters::of(&config.adapters),
            config,
            faults,
            sleep: Sleep::default(),
            stop: Notify::new(),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            frozen: Mutex::default(),
            faulted: AtomicU64::new(0),
            ids: AtomicU64::new(0),
        });
        for fault in &app.config.faults {
            app.faults.put(fault);
        }
        let hub = Arc::clone(&app.hub);
        let driver = tokio::spawn(async move { hub.drive().await });
        let listener = tokio::spawn(listen::listen(Arc::clone(&app), socket, addr));
        let side = tokio::spawn(listen::listen_aside(Arc::clone(&app), side_socket, side_addr));
        Ok(Self { app, addr, listener, side, driver })
    }

    /// Where the engine listens; the same through all faults.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where other engines find it, for what bootstrap servers are named by.
    pub fn side_addr(&self) -> SocketAddr {
        self.app.side_addr
    }

    /// The name sent in `x-engine`.
    pub fn name(&self) -> &str {
        &self.app.config.name
    }

    /// Starts a fault and returns once it is in effect: after [`Fault::Refuse`] the port is closed.
    pub async fn fault(&self, fault: Fault) {
        self.app.put_fault(&fault).1.await;
    }

    /// Like [`Self::fault`], and ends the fault after `time` on the wall clock.
    pub async fn fault_for(&self, fault: Fault, time: Duration) {
        let (order, applied) = self.app.put_fault(&fault);
        applied.await;
        self.app.lift_after(order, time);
    }

    /// Where it publishes KV events now, if it does; waits while it is dead.
    pub async fn events_endpoint(&self) -> Option<String> {
        self.app.event_sources().await.map(|sources| sources.endpoint)
    }

    /// The engine's numbers.
    pub fn state(&self) -> State {
        self.app.state()
    }

    /// Empties the prefix cache, as a restart would.
    pub fn reset_cold(&self) {
        self.app.hub.forget();
    }

    /// Closes the port, and waits until the requests that it has are done, for `time_max` at most: vLLM's `--shutdown-timeout`.
    /// Other engines still get the prompts that it keeps for them.
    pub async fn drain(&self, time_max: Duration) {
        self.fault(Fault::Refuse).await;
        let done = async {
            while self.app.connections.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(DRAIN_LOOK_INTERVAL).await;
            }
        };
        // What is not done by then is cut, as vLLM's is.
        let _ = tokio::time::timeout(time_max, done).await;
    }

    /// Breaks all connections, closes the port and waits until all tasks have ended.
    pub async fn shutdown(mut self) {
        self.driver.abort();
        self.side.abort();
        self.app.stop.notify_one();
        let _ = (&mut self.listener).await;
        let _ = (&mut self.side).await;
        let _ = (&mut self.driver).await;
    }
}

impl Drop for EngineServer {
    fn drop(&mut self) {
        self.listener.abort();
        self.side.abort();
        self.driver.abort();
    }
}

// === impl App ===

impl App {
    /// Orders a fault; the future waits until the listener has acted on it.
    pub(super) fn put_fault(&self, fault: &Fault) -> (u64, impl Future<Output = ()> + use<>) {
        if *fault == Fault::Cold {
            self.hub.forget();
        }
        let order = self.faults.put(fault);
        let faults = Arc::clone(&self.faults);
        (order, async move { faults.applied(order).await })
    }

    /// How it reads requests.
    pub(super) fn reading(&self) -> Reading {
        let template = if let Cut::Model(_) = self.cut { Vocabulary::TEMPLATE } else { Template::Own };
        Reading { media: self.config.media, template }
    }

    /// The output that follows from a prompt.
    pub(super) fn filler(&self, fingerprint: u64) -> Filler {
        self.cut.filler(fingerprint, self.config.seed)
    }

    /// Where KV events come from, if they do.
    pub(super) async fn event_sources(&self) -> Option<Sources> {
        self.publisher.as_ref()?.sources().await
    }

    /// A request has ended the process.
    pub(super) fn die(&self) {
        self.faults.put(&Fault::Die);
    }

    /// What the process calls itself to other engines; another one has another name.
    pub(super) fn engine_id(&self) -> String {
        let Self { config, addr, hub, .. } = self;
        let process =
            Root::new(&config.name, &addr.to_string(), "").apart(hub.restarts.load(Ordering::Relaxed));
        let part = |number| process.apart(number);
        let [high, low] = [0, 1].map(|number| part(number).fingerprint(b""));
        let hex = format!("{high:016x}{low:016x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Ends an order later, without waiting for it here.
    pub(super) fn lift_after(&self, order: u64, time: Duration) {
        let faults = Arc::clone(&self.faults);
        tokio::spawn(async move { faults.lift_after(order, time).await });
    }

    pub(super) fn count_request(&self, path: &'static str) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(path).or_default() += 1;
    }

    /// A number that no other response of this engine has.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn count_fault(&self) {
        self.faulted.fetch_add(1, Ordering::Relaxed);
    }

    /// `/metrics` as it is now, or as if so many requests ran.
    pub(super) fn metrics_page(&self, running: Option<u32>) -> String {
        self.hub.read(|mut readings| {
            if let Some(running) = running {
                readings.stats.running = running as usize;
            }
            metrics::render(&readings, &self.hub.params, &self.config)
        })
    }

    /// `/metrics` as it was when it was first asked for under this order.
    pub(super) fn frozen_page(&self, order: u64) -> String {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*frozen {
            Some((of, page)) if *of == order => page.clone(),
            _ => {
                let page = self.metrics_page(None);
                *frozen = Some((order, page.clone()));
                page
            }
        }
    }

    pub(super) fn state(&self) -> State {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = requests.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect();
        self.hub.read(|readings| State {
            name: self.config.name.clone(),
            requests,
            prompt_tokens: readings.stats.prefix_cache_queries,
            cached_tokens: readings.stats.prefix_cache_hits,
            prefill_tokens_computed: readings.stats.prefill_tokens_computed,
            generation_tokens: readings.stats.generation_tokens,
            busy_s: readings.stats.busy_s,
            running: readings.stats.running,
            waiting: readings.stats.waiting,
            finished: readings.stats.finished,
            aborted: readings.stats.aborted,
            rejected: readings.rejected,
            faulted: self.faulted.load(Ordering::Relaxed),
            preemptions: readings.stats.preemptions,
            blocks_cached: readings.stats.blocks_cached,
            blocks_in_use: readings.stats.blocks_in_use,
            blocks_total: readings.stats.blocks_total,
            legs: readings.legs,
            fetch_error: readings.fetch_error.clone(),
            slept: self.sleep.slept(),
        })
    }
}

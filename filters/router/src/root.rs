//! The plugin's root: configuration, the tick, and the feed's callbacks.

use crate::feed::Feed;
use crate::host;
use crate::http::Http;
use crate::proxy::Proxy;
use log::{error, info};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use warmpath_core::config::Config;
use warmpath_core::time::Timestamp;

/// How often the VM that holds the feed sends to the controller while there is something to tell and other proxies
/// route, too: they choose by what they have heard.
const TICK_FEED: Duration = Duration::from_millis(5);
/// How often a busy VM tells what has waited. A request looks at the log for itself, and a wake-up costs a thread more
/// than what it then does.
const TICK: Duration = Duration::from_millis(25);
/// How often a VM that is not busy looks at the log, so that the ring does not run round behind it.
const TICK_IDLE: Duration = Duration::from_millis(100);

/// The first Envoy in which a filter may stop at the headers and still get the body
/// (`allow_on_headers_stop_iteration`), as (major, minor).
const ENVOY_MIN: (u64, u64) = (1, 35);

/// One configured plugin in one VM.
#[derive(Default)]
pub(crate) struct Root {
    plugin: Option<Plugin>,
}

struct Plugin {
    config: Rc<Config>,
    proxy: Rc<RefCell<Proxy>>,
    feed: Option<Feed>,
    tick: Duration,
}

// === impl Root ===

impl Root {
    fn on_feed(&mut self, each: impl FnOnce(&mut Feed, &mut Proxy, Timestamp)) {
        let Some(Plugin { proxy, feed: Some(feed), .. }) = &mut self.plugin else { return };
        let mut proxy = proxy.borrow_mut();
        each(feed, &mut proxy, host::now());
        // What happens to the feed is rare, and who watches it wants to know at once.
        proxy.metrics.flush();
    }
}

// === impl Plugin ===

impl Plugin {
    /// The time until the next tick.
    fn pace(&self, proxy: &Proxy, now: Timestamp) -> Duration {
        let feed = self.feed.as_ref().filter(|feed| feed.has_lease());
        match feed {
            Some(feed) if feed.is_closed() => TICK,
            _ if !proxy.is_busy(now) => TICK_IDLE,
            Some(_) if proxy.view.has_rivals() => TICK_FEED,
            _ => TICK,
        }
    }
}

/// Envoy's version, as (major, minor); `None` in a host that does not tell.
fn envoy_version() -> Option<(u64, u64)> {
    let part = |name| host::number_property(vec!["xds", "node", "user_agent_build_version", "version", name]);
    Some((part("major_number")?, part("minor_number")?))
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        if let Some(version) = envoy_version()
            && version < ENVOY_MIN
        {
            error!(
                "this is Envoy {}.{}, and Warmpath needs {}.{} or newer: an older one never shows the body to a \
                 filter that stops at the headers, and every request would hang",
                version.0, version.1, ENVOY_MIN.0, ENVOY_MIN.1
            );
            return false;
        }
        match Config::parse(&host::plugin_configuration(size)) {
            Ok(config) => {
                let proxy = Proxy::of_vm(&config);
                proxy.borrow_mut().configure(&config, host::now());
                let feed = config.controller_cluster.clone().map(Feed::new);
                self.plugin = Some(Plugin { config: Rc::new(config), proxy, feed, tick: TICK_FEED });
                host::set_tick_period(TICK_FEED);
                true
            }
            Err(errors) => {
                for error in &errors.0 {
                    error!("configuration: {error}");
                }
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let Some(plugin) = &mut self.plugin else { return };
        let mut proxy = plugin.proxy.borrow_mut();
        let now = host::now();
        proxy.tick(now);
        if let Some(feed) = &mut plugin.feed {
            feed.tick(&mut proxy, now);
        }
        proxy.metrics.flush();
        let tick = plugin.pace(&proxy, now);
        drop(proxy);
        if tick != plugin.tick {
            plugin.tick = tick;
            host::set_tick_period(tick);
        }
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        let plugin = self.plugin.as_ref();
        // The SDK answers `None` with a panic, so a stream without a plugin gets a filter that does nothing.
        Some(Box::new(Http::new(plugin.map(|plugin| (Rc::clone(&plugin.proxy), Rc::clone(&plugin.config))))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Root {
    fn on_grpc_stream_message(&mut self, token_id: u32, message_size: usize) {
        let bytes = host::stream_message(message_size);
        self.on_feed(|feed, proxy, now| feed.message(proxy, token_id, &bytes, now));
    }

    fn on_grpc_stream_close(&mut self, token_id: u32, status_code: u32) {
        info!("controller: stream ended with gRPC status {status_code}");
        self.on_feed(|feed, proxy, now| feed.ended(proxy, token_id, now));
    }

    fn on_done(&mut self) -> bool {
        self.on_feed(|feed, proxy, _| feed.release(proxy));
        if let Some(plugin) = &self.plugin {
            plugin.proxy.borrow_mut().metrics.flush();
        }
        true
    }
}

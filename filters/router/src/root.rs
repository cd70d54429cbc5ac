//! The plugin's root: configuration, the tick, and the feed's callbacks.

use crate::feed::Feed;
use crate::host;
use crate::proxy::Proxy;
use log::{error, info};
use std::cell::RefCell;
use std::rc::Rc;
use warmpath_core::config::Config;

/// How often the VM that holds the feed sends to the controller, in milliseconds.
const TICK_FEED_MS: u32 = 5;
/// How often any other VM looks at the log, so that the ring does not run round behind it, in milliseconds. A
/// request looks for itself, and a wake-up costs a thread more than what it then does.
const TICK_MS: u32 = 25;

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
    tick_ms: u32,
}

// === impl Root ===

impl Root {
    /// Takes its configuration. `false`: refused, and the host refuses the plugin.
    pub(crate) fn configure(&mut self, size: usize) -> bool {
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
                proxy.borrow_mut().configure(&config, host::now_us() / 1000);
                let feed = config.controller_cluster.clone().map(Feed::new);
                self.plugin = Some(Plugin { config: Rc::new(config), proxy, feed, tick_ms: TICK_FEED_MS });
                host::set_tick_period(TICK_FEED_MS);
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

    /// What its streams share; `None` before it has been configured.
    pub(crate) fn plugin(&self) -> Option<(Rc<RefCell<Proxy>>, Rc<Config>)> {
        self.plugin.as_ref().map(|plugin| (Rc::clone(&plugin.proxy), Rc::clone(&plugin.config)))
    }

    /// Hears what siblings said, tells what waits, looks after the feed.
    pub(crate) fn tick(&mut self) {
        let Some(plugin) = &mut self.plugin else { return };
        let mut proxy = plugin.proxy.borrow_mut();
        let now_ms = host::now_us() / 1000;
        proxy.tick(now_ms);
        if let Some(feed) = &mut plugin.feed {
            feed.tick(&mut proxy, now_ms);
        }
        proxy.metrics.flush();
        let has_feed = plugin.feed.as_ref().is_some_and(Feed::has_lease);
        let tick_ms = if has_feed { TICK_FEED_MS } else { TICK_MS };
        if tick_ms != plugin.tick_ms {
            plugin.tick_ms = tick_ms;
            host::set_tick_period(tick_ms);
        }
    }

    /// A message of the feed.
    pub(crate) fn stream_message(&mut self, stream: u32, size: usize) {
        let bytes = host::stream_message(size);
        self.on_feed(|feed, proxy, now_ms| feed.message(proxy, stream, &bytes, now_ms));
    }

    /// The end of the feed.
    pub(crate) fn stream_closed(&mut self, stream: u32, status: u32) {
        info!("controller: stream ended with gRPC status {status}");
        self.on_feed(|feed, proxy, now_ms| feed.ended(proxy, stream, now_ms));
    }

    /// Its own end: another plugin, or another VM, goes on.
    pub(crate) fn end(&mut self) {
        self.on_feed(|feed, proxy, _| feed.release(proxy));
        if let Some(plugin) = &self.plugin {
            plugin.proxy.borrow_mut().metrics.flush();
        }
    }

    fn on_feed(&mut self, each: impl FnOnce(&mut Feed, &mut Proxy, u64)) {
        let Some(Plugin { proxy, feed: Some(feed), .. }) = &mut self.plugin else { return };
        let mut proxy = proxy.borrow_mut();
        each(feed, &mut proxy, host::now_us() / 1000);
        // What happens to the feed is rare, and who watches it wants to know at once.
        proxy.metrics.flush();
    }
}

/// Envoy's version, as (major, minor); `None` in a host that does not tell.
fn envoy_version() -> Option<(u64, u64)> {
    let major = host::number_property("xds\0node\0user_agent_build_version\0version\0major_number")?;
    let minor = host::number_property("xds\0node\0user_agent_build_version\0version\0minor_number")?;
    Some((major, minor))
}

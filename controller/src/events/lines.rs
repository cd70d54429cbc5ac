//! How the feeds of all engines are reached: by those that receive for them, and by those that take their reports.

use super::feed::{Arrival, Order};
use super::listen::choose;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// The feeds by engine and rank. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    lines: Arc<Mutex<BTreeMap<(SocketAddr, u32), Line>>>,
}

/// The way to one feed.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What comes over connections that the engine makes; none where the controller connects.
    pub(super) arrivals: Option<mpsc::Sender<Arrival>>,
    pub(super) orders: mpsc::Sender<Order>,
}

// === impl Lines ===

impl Lines {
    /// The blocks that are known of a rank come to what its engine can hold: nothing else can be there.
    pub fn filled(&self, endpoint: SocketAddr, rank: u32) {
        self.order(endpoint, rank, Order::Filled);
    }

    pub(super) fn order(&self, endpoint: SocketAddr, rank: u32, order: Order) {
        if let Some(line) = self.lock().get(&(endpoint, rank)) {
            // That its blocks fill it is said again with the next ones. Another process is announced once: it has a place of its own.
            if order != Order::Filled || line.orders.capacity() > 1 {
                let _ = line.orders.try_send(order);
            }
        }
    }

    /// Whether an engine may connect from an address.
    pub(super) fn expect(&self, ip: IpAddr) -> bool {
        let lines = self.lock();
        let mut connecting = lines.iter().filter(|(_, line)| line.arrivals.is_some());
        connecting.any(|((engine, _), _)| engine.ip().to_canonical() == ip)
    }

    /// The feed of the engine that connects from an address, by the port of its topic.
    pub(super) fn of_peer(&self, ip: IpAddr, port: Option<u16>, rank: u32) -> Option<mpsc::Sender<Arrival>> {
        let lines = self.lock();
        let connecting = lines.iter().filter(|(_, line)| line.arrivals.is_some());
        let engine = choose(connecting.map(|((engine, _), _)| *engine), ip, port)?;
        lines.get(&(engine, rank))?.arrivals.clone()
    }

    pub(super) fn insert(&self, endpoint: SocketAddr, rank: u32, line: Line) {
        self.lock().insert((endpoint, rank), line);
    }

    pub(super) fn remove(&self, endpoint: SocketAddr, rank: u32) {
        self.lock().remove(&(endpoint, rank));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(SocketAddr, u32), Line>> {
        // No update leaves it half done.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

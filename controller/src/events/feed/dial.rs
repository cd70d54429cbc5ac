//! A connection to a publisher that is bound, made again and again.

use super::Arrival;
use crate::events::frame::Message;
use crate::events::zmtp::{Connection, Kind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Time between two tries, at first. An engine that restarts publishes nothing for seconds: it is to be met before.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The same after several in vain.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Passes on what is published at an address, until nobody takes it any more.
pub(super) async fn dial(address: SocketAddr, topic: String, arrivals: mpsc::Sender<Arrival>) {
    let mut wait = RETRY_MIN;
    for connection in 0.. {
        let mut received = 0_u64;
        let why = follow(address, &topic, connection, &arrivals, &mut received).await;
        if arrivals.send(Arrival::Disconnected { connection, why }).await.is_err() {
            return;
        }
        wait = if received > 0 { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
        sleep(wait).await;
    }
}

/// One connection. Returns why it has ended.
async fn follow(
    address: SocketAddr,
    topic: &str,
    connection: u64,
    arrivals: &mpsc::Sender<Arrival>,
    received: &mut u64,
) -> &'static str {
    let mut socket = match Connection::connect(address, Kind::Subscriber).await {
        Ok(socket) => socket,
        Err(error) => return error.label(),
    };
    if let Err(error) = socket.subscribe(topic).await {
        return error.label();
    }
    if arrivals.send(Arrival::Connected { connection }).await.is_err() {
        return "ended";
    }
    loop {
        let message = match socket.receive().await {
            Ok(parts) => Message::published(&parts),
            Err(error) => return error.label(),
        };
        match message {
            Ok(message) => {
                *received += 1;
                if arrivals.send(Arrival::Message { connection, message }).await.is_err() {
                    return "ended";
                }
            }
            Err(error) => return error.label(),
        }
    }
}

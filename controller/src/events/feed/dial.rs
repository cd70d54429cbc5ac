//! A connection to a publisher that is bound, made again and again.

use super::Arrival;
use crate::events::TOPIC_BYTES_MAX;
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
    // To all topics: a publisher sends nothing of others to whoever subscribes to one, and a topic that nobody publishes would look
    // like an engine that is idle.
    if let Err(error) = socket.subscribe("").await {
        return error.label();
    }
    if arrivals.send(Arrival::Connected { connection }).await.is_err() {
        return "ended";
    }
    let mut is_foreign = false;
    loop {
        let message = match socket.receive().await {
            Ok(parts) => Message::published(&parts),
            Err(error) => return error.label(),
        };
        match message {
            Ok(message) if !message.topic.starts_with(topic.as_bytes()) => {
                let topic = String::from_utf8_lossy(&message.topic).chars().take(TOPIC_BYTES_MAX).collect();
                if !std::mem::replace(&mut is_foreign, true)
                    && arrivals.send(Arrival::Foreign { connection, topic }).await.is_err()
                {
                    return "ended";
                }
            }
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

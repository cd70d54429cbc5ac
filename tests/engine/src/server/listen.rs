//! The listening socket and its connections, as the faults allow them.

use super::{engine_server::App, legs, route};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Pause between attempts to listen again where a fault had closed the socket and the port is still taken.
const REBIND_INTERVAL: Duration = Duration::from_millis(20);

/// Accepts connections of other engines until it is aborted; the socket is closed while the engine is dead.
pub(super) async fn listen_aside(app: Arc<App>, socket: TcpListener, addr: SocketAddr) {
    let mut watch = app.faults.watch();
    let mut connections = JoinSet::new();
    let mut socket = Some(socket);
    let mut deaths = 0;
    loop {
        let (is_alive, deaths_now) = {
            let in_force = watch.borrow_and_update();
            (in_force.is_alive(), in_force.deaths)
        };
        if deaths_now != deaths {
            deaths = deaths_now;
            connections.shutdown().await;
        }
        if !is_alive {
            socket = None;
        } else if socket.is_none() {
            socket = rebind(addr).await;
        }
        tokio::select! {
            changed = watch.changed() => if changed.is_err() { break },
            Some(stream) = accept(socket.as_ref()) => {
                let app = Arc::clone(&app);
                let service = service_fn(move |request| legs::respond(Arc::clone(&app), request));
                connections.spawn(async move {
                    // How it ends is what the other engine sees.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Accepts connections until shutdown; closes and reopens the socket as faults start and end.
pub(super) async fn listen(app: Arc<App>, socket: TcpListener, addr: SocketAddr) {
    let mut watch = app.faults.watch();
    let mut connections = JoinSet::new();
    let mut socket = Some(socket);
    let mut deaths = 0;
    loop {
        let in_force = watch.borrow_and_update().clone();
        if !in_force.is_open() {
            socket = None;
        } else if socket.is_none() {
            socket = rebind(addr).await;
        }
        if in_force.deaths != deaths {
            deaths = in_force.deaths;
            // Connections end by themselves, and take their requests back from the model.
            while connections.join_next().await.is_some() {}
            app.hub.restart();
            app.sleep.restart();
        }
        app.faults.set_applied(in_force.orders());
        tokio::select! {
            () = app.stop.notified() => break,
            changed = watch.changed() => if changed.is_err() { break },
            Some(stream) = accept(socket.as_ref()) => {
                let open = OpenConnection::of(&app);
                connections.spawn(serve(open, stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(socket);
    connections.shutdown().await;
}

/// The port may be taken for a moment; `None` makes the caller come back.
async fn rebind(addr: SocketAddr) -> Option<TcpListener> {
    loop {
        match TcpListener::bind(addr).await {
            Ok(socket) => return Some(socket),
            Err(_) => tokio::time::sleep(REBIND_INTERVAL).await,
        }
    }
}

async fn accept(socket: Option<&TcpListener>) -> Option<TcpStream> {
    let Some(socket) = socket else { return std::future::pending().await };
    let (stream, _) = socket.accept().await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// A connection that counts as open as long as this lives.
struct OpenConnection(Arc<App>);

// === impl OpenConnection ===

impl OpenConnection {
    fn of(app: &Arc<App>) -> Self {
        app.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(app))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection until it ends or a fault ends it.
async fn serve(open: OpenConnection, stream: TcpStream) {
    let app = &open.0;
    let mut watch = app.faults.watch();
    let deaths = watch.borrow_and_update().deaths;
    // The connection that ordered the death still gets its response.
    let gave_order = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| route::respond(Arc::clone(app), Arc::clone(&gave_order), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            changed = watch.changed() => {
                let in_force = watch.borrow_and_update().clone();
                let is_dead = in_force.deaths != deaths && !gave_order.load(Ordering::Relaxed);
                if changed.is_err() || is_dead {
                    return;
                }
                if !in_force.is_open() {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

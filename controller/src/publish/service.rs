//! `warmpath.v1.State/Sync` as a service of the gRPC server.
//!
//! Written by hand: it has one method, and generated code would bring the protobuf compiler into every
//! build for it.

use super::codec::SyncCodec;
use super::session::{self, Shared};
use bytes::Bytes;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use warmpath_core::wire::{STREAM_SERVICE, Up};

/// Path of the method.
const SYNC_PATH: &str = "/warmpath.v1.State/Sync";
/// The largest message from a proxy, in bytes.
const UP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages that wait between a session and its connection. Few: what waits longer is in the backlog,
/// where it can be coalesced.
const SEND_MESSAGES_MAX: usize = 2;

/// The service.
#[derive(Clone, Debug)]
pub struct StateService {
    shared: Shared,
}

#[derive(Debug)]
struct Sync {
    shared: Shared,
}

// === impl StateService ===

impl StateService {
    /// Serves `shared`.
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

impl NamedService for StateService {
    const NAME: &'static str = STREAM_SERVICE;
}

impl Service<http::Request<Body>> for StateService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != SYNC_PATH {
            return Box::pin(ready(Ok(Status::unimplemented("no such method").into_http())));
        }
        let method = Sync { shared: self.shared.clone() };
        let mut grpc = Grpc::new(SyncCodec).max_decoding_message_size(UP_BYTES_MAX);
        Box::pin(async move { Ok(grpc.streaming(method, request).await) })
    }
}

// === impl Sync ===

impl StreamingService<Up> for Sync {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Up>>) -> Self::Future {
        let (down, messages) = mpsc::channel(SEND_MESSAGES_MAX);
        tokio::spawn(session::run(self.shared.clone(), request.into_inner(), down));
        ready(Ok(Response::new(ReceiverStream::new(messages))))
    }
}

#[cfg(test)]
mod tests {
    use super::SYNC_PATH;
    use warmpath_core::wire::{STREAM_METHOD, STREAM_SERVICE};

    #[test]
    fn the_path_is_the_contracts() {
        assert_eq!(SYNC_PATH, format!("/{STREAM_SERVICE}/{STREAM_METHOD}"));
    }
}

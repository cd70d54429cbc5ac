//! An API server for unit tests: a function from a request to a response, called in this process. No socket and no time.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tonic::codegen::Service;

/// What responds.
type Respond = dyn FnMut(Request<Bytes>) -> Response<String> + Send;

/// The API server.
#[derive(Clone)]
pub(crate) struct FakeApi(Arc<Mutex<Respond>>);

// === impl FakeApi ===

impl FakeApi {
    /// A client of an API server that responds so.
    pub(crate) fn client(respond: impl FnMut(Request<Bytes>) -> Response<String> + Send + 'static) -> Client {
        Client::new(Self(Arc::new(Mutex::new(respond))), "default")
    }
}

impl Service<Request<Body>> for FakeApi {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let respond = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let response = respond.lock().unwrap()(Request::from_parts(parts, body));
            Ok(response.map(|text| Full::new(text.into())))
        })
    }
}

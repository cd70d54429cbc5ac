//! The task of one stream: requests in; responses out whenever the resources change.

use super::{Kind, Refused, Reply, Resources, Session};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Responses that may wait for one Envoy to read them: one of each kind.
const RESPONSES_MAX: usize = Kind::ALL.len();
/// How long the final status may wait for an Envoy that does not read.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// The responses of a stream.
pub type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A variant of the protocol: how its messages change a session, and come from one.
pub trait Variant: Send + 'static {
    /// What Envoy sends.
    type Request: Send + 'static;
    /// What Envoy is sent.
    type Response: Send + 'static;

    /// Applies a request: a subscription, an ACK or a NACK.
    fn take(session: &mut Session, request: Self::Request) -> Result<Option<Reply>, Refused>;

    /// What to send of a kind now, if anything. It counts as sent.
    fn respond(session: &mut Session, kind: Kind, resources: &Resources) -> Option<Self::Response>;
}

/// Is notified of what one stream sends and receives. Dropped when the stream ends.
pub trait Observer: Send + 'static {
    /// The Envoy was sent a version.
    fn sent(&mut self, node: &str, kind: Kind);

    /// The Envoy has replied.
    fn replied(&mut self, reply: Reply);
}

/// Serves one stream in a task of its own, until the Envoy leaves or the sender of `resources` is gone.
pub fn open<V: Variant>(
    resources: &watch::Receiver<Resources>,
    observer: impl Observer,
    requests: Request<Streaming<V::Request>>,
) -> Response<Responses<V::Response>> {
    let (responses, out) = mpsc::channel(RESPONSES_MAX);
    tokio::spawn(run::<V>(resources.clone(), observer, requests.into_inner(), responses));
    Response::new(Box::pin(ReceiverStream::new(out)))
}

async fn run<V: Variant>(
    mut resources: watch::Receiver<Resources>,
    mut observer: impl Observer,
    mut requests: Streaming<V::Request>,
    responses: mpsc::Sender<Result<V::Response, Status>>,
) {
    let mut session = Session::default();
    loop {
        let ended = tokio::select! {
            request = requests.message() => match request {
                Ok(Some(request)) => match V::take(&mut session, request) {
                    Ok(reply) => {
                        if let Some(reply) = reply {
                            observer.replied(reply);
                        }
                        None
                    }
                    Err(refused) => Some(refused.into()),
                },
                Ok(None) | Err(_) => return,
            },
            changed = resources.changed() => changed.err().map(|_| Status::unavailable("the controller stops")),
        };
        if let Some(status) = ended {
            // Whether the status arrives changes nothing: the stream ends either way.
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, responses.send(Err(status))).await;
            return;
        }
        for kind in Kind::ALL {
            let response = V::respond(&mut session, kind, &resources.borrow());
            let Some(response) = response else { continue };
            observer.sent(session.node(), kind);
            if responses.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }
}

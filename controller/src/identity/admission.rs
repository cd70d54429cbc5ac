//! The check before every RPC: without a valid token, a client is neither served nor believed.

use super::lock;
use super::token::Tokens;
use crate::logs::Paced;
use crate::metrics::Metrics;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// The header, and the scheme in it.
const AUTHORIZATION: &str = "authorization";
const BEARER: &[u8] = b"bearer ";

/// The services that everybody may use: gateways of somebody else have no token of Warmpath's, and the picker passes on what it gets.
const OPEN: [&str; 1] = ["/envoy.service.ext_proc.v3.ExternalProcessor/"];

/// Marks an RPC that needs no token.
#[derive(Clone, Copy, Debug)]
struct Open;

/// The check, for one connection or for all.
#[derive(Clone, Debug)]
pub struct Admission {
    tokens: Option<Arc<Mutex<Tokens>>>,
    metrics: Arc<Metrics>,
    paced: Arc<Paced>,
}

/// Why an RPC is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unauthenticated {
    /// It has no token.
    Absent,
    /// Its header is not `Bearer <token>`.
    Malformed,
    /// Its token is invalid or expired.
    Wrong,
}

// === impl Admission ===

impl Admission {
    pub(super) fn new(tokens: Option<Arc<Mutex<Tokens>>>, metrics: Arc<Metrics>) -> Self {
        Self { tokens, metrics, paced: Arc::default() }
    }

    fn admit(&self, metadata: &MetadataMap) -> Result<(), Unauthenticated> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let header = metadata.get(AUTHORIZATION).ok_or(Unauthenticated::Absent)?;
        let (scheme, token) =
            header.as_bytes().split_at_checked(BEARER.len()).ok_or(Unauthenticated::Malformed)?;
        if !scheme.eq_ignore_ascii_case(BEARER) {
            return Err(Unauthenticated::Malformed);
        }
        let is_valid = lock(tokens).is_valid(token, Instant::now());
        if is_valid { Ok(()) } else { Err(Unauthenticated::Wrong) }
    }

    fn log(&self, reason: &'static str, request: &Request<()>) {
        if self.paced.is_due(reason) {
            let from = request.remote_addr().map(|address| address.to_string());
            tracing::warn!(from, reason, "refused an RPC: it does not present the token in token_file");
        }
    }
}

/// Marks an RPC of a service that everybody may use, before its path is gone.
pub fn open<B>(mut request: http::Request<B>) -> http::Request<B> {
    if OPEN.iter().any(|service| request.uri().path().starts_with(service)) {
        request.extensions_mut().insert(Open);
    }
    request
}

impl Interceptor for Admission {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if request.extensions().get::<Open>().is_some() {
            return Ok(request);
        }
        let Err(refused) = self.admit(request.metadata()) else { return Ok(request) };
        let reason = refused.label();
        self.metrics.unauthenticated.get_or_create(&[("reason", reason)]).inc();
        self.log(reason, &request);
        Err(Status::unauthenticated(refused.message()))
    }
}

// === impl Unauthenticated ===

impl Unauthenticated {
    /// Its name in metrics.
    fn label(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Malformed => "malformed",
            Self::Wrong => "wrong",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Absent => "the controller requires a token: authorization: Bearer <token>",
            Self::Malformed => "the authorization is not a bearer token",
            Self::Wrong => "the token is not valid",
        }
    }
}

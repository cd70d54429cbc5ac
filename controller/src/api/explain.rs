//! `POST /explain?path=/v1/chat/completions`: where the request in the body would go, by the controller's
//! own view. The same code decides in the proxies; what may differ is how fresh their view is.

use super::{Api, Explain};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{self, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, RandomState};
use subtle::ConstantTimeEq;
use thiserror::Error;
use warmpath_core::cost::Weights;
use warmpath_core::ids::TenantId;
use warmpath_core::limits::BODY_BYTES_MAX;
use warmpath_core::prompt::{self, PromptError, Request};
use warmpath_core::router::EXPLAIN_TOKEN_HEADER;
use warmpath_core::routing::{Explanation, NoEndpoint, Options, Query, target};
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;

/// The request's path when the query names none.
const PATH_DEFAULT: &str = "/v1/chat/completions";

/// The query string.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    path: Option<String>,
}

/// Why there is nothing to explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum ExplainError {
    #[error("explanations need a token: set explain_token, or listen on a loopback address")]
    Off,
    #[error("the header x-warmpath-explain-token is absent or wrong")]
    Token,
    #[error("the body cannot be read: {0}")]
    Body(#[from] PromptError),
    #[error("{0}")]
    NoEndpoint(#[from] NoEndpoint),
}

/// An error's JSON, shaped as the engines shape theirs.
#[derive(Debug, Serialize)]
struct ErrorPage {
    error: ErrorBody,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    message: String,
    code: &'static str,
}

/// Responds with an explanation.
pub(super) async fn show(
    State(api): State<Api>,
    extract::Query(parameters): extract::Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // Before the body is read: whoever may not ask must not fill the controller's memory.
    if let Err(error) = admit(&api.explain, &headers) {
        return error.into_response();
    }
    let Ok(_turn) = api.explanations.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let path = parameters.path.as_deref().unwrap_or(PATH_DEFAULT);
    let nonce = RandomState::new().hash_one(0);
    let format = prompt::Api::of_path(path);
    // Read before the hub is locked: a long body takes longer than all else.
    let request = Request::parse(format, &body).map(|request| request.omitting(&api.omitted_prefixes));
    let explanation = request.map_err(ExplainError::from).and_then(|mut request| {
        let shared = &api.shared;
        shared.with(|hub, now| {
            let view = hub.index().view();
            request.target = target(view, &request, now);
            explain(view, (format, &request, body.len()), nonce, now)
        })
    });
    match explanation {
        Ok(explanation) => Json(explanation).into_response(),
        Err(error) => error.into_response(),
    }
}

fn admit(explain: &Explain, headers: &HeaderMap) -> Result<(), ExplainError> {
    match explain {
        Explain::Everybody => Ok(()),
        Explain::Nobody => Err(ExplainError::Off),
        Explain::Token(token) => {
            let given = headers.get(EXPLAIN_TOKEN_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
            if given.ct_eq(token.as_bytes()).into() { Ok(()) } else { Err(ExplainError::Token) }
        }
    }
}

fn explain(
    view: &View,
    (api, request, body_bytes): (prompt::Api, &Request<'_>, usize),
    nonce: u64,
    now: Timestamp,
) -> Result<Explanation, ExplainError> {
    let query = Query::of_request(view, api, Some(request), body_bytes, now)?;
    let options = Options { alternates: usize::MAX, nonce, now, weights: Weights::default() };
    Ok(Explanation::of(&query, TenantId::default(), &options)?)
}

// === impl ExplainError ===

impl ExplainError {
    fn status(self) -> StatusCode {
        match self {
            Self::Off | Self::Token => StatusCode::FORBIDDEN,
            Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::NoEndpoint(NoEndpoint::UnknownModel) => StatusCode::NOT_FOUND,
            Self::NoEndpoint(NoEndpoint::NoneKnown) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Off => "explain_off",
            Self::Token => "explain_token",
            Self::Body(error) => error.label(),
            Self::NoEndpoint(reason) => reason.label(),
        }
    }
}

impl IntoResponse for ExplainError {
    fn into_response(self) -> Response {
        let error = ErrorBody { message: self.to_string(), code: self.code() };
        (self.status(), Json(ErrorPage { error })).into_response()
    }
}

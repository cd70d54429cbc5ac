//! The router's own responses, in the shape that OpenAI clients understand.

use super::io::Reply;
use crate::routing::{Explanation, NoEndpoint};
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");
/// When a client may try again after 503, in seconds: a scrape finds a recovered engine sooner.
const RETRY_AFTER: (&str, &str) = ("retry-after", "1");

/// The response to a request that has no endpoint.
pub(super) fn no_endpoint(reason: NoEndpoint, model: &str) -> Reply {
    let (status, kind, param) = match reason {
        NoEndpoint::UnknownModel => (404, "NotFoundError", Some("model")),
        NoEndpoint::NoneKnown => (503, "ServiceUnavailableError", None),
    };
    let message = match reason {
        NoEndpoint::UnknownModel => format!("The model `{model}` does not exist."),
        NoEndpoint::NoneKnown => format!("{reason}; try again later"),
    };
    let body = json!({"error": {"message": message, "type": kind, "param": param, "code": reason.label()}});
    let mut headers = vec![JSON, ("x-warmpath-reason", reason.label())];
    if status == 503 {
        headers.push(RETRY_AFTER);
    }
    Reply { status, headers, body: body.to_string().into_bytes() }
}

/// The response to a request that asked for the decision.
pub(super) fn explanation(explanation: &Explanation) -> Reply {
    let body = serde_json::to_vec(explanation).unwrap_or_default();
    Reply { status: 200, headers: vec![JSON], body }
}

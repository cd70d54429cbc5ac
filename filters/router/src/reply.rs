//! Answers that the filter gives itself, in the shape that OpenAI clients understand.

use crate::host;
use serde_json::json;
use warmpath_core::decision::NoEndpoint;

/// When a client may try again after 503, in seconds: a scrape finds a recovered engine sooner.
const RETRY_AFTER_S: &str = "1";

/// Answers a request that has no endpoint.
pub(crate) fn no_endpoint(reason: NoEndpoint, model: &str) {
    let (status, kind, param) = match reason {
        NoEndpoint::UnknownModel => (404, "NotFoundError", Some("model")),
        NoEndpoint::NoneKnown | NoEndpoint::NoneHealthy => (503, "ServiceUnavailableError", None),
    };
    let message = match reason {
        NoEndpoint::UnknownModel => format!("The model `{model}` does not exist."),
        NoEndpoint::NoneKnown | NoEndpoint::NoneHealthy => format!("{reason}; try again later"),
    };
    let body = json!({"error": {"message": message, "type": kind, "param": param, "code": reason.label()}});
    let mut headers = vec![("content-type", "application/json"), ("x-warmpath-reason", reason.label())];
    if status == 503 {
        headers.push(("retry-after", RETRY_AFTER_S));
    }
    host::reply(status, headers, body.to_string().as_bytes());
}

/// Answers with JSON.
pub(crate) fn json(body: &[u8]) {
    host::reply(200, vec![("content-type", "application/json")], body);
}

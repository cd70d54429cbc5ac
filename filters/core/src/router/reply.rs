//! The router's own responses, as the API that the client speaks writes them.

use super::io::{Called, Reply};
use super::reasons::{NotHeld, Unread};
use crate::limits::{BODY_BYTES_KEPT_MAX, NAME_BYTES_MAX};
use crate::prompt::{Api, PromptError};
use crate::routing::{Explanation, NoEndpoint};
use crate::wire::HeldFor;
use serde_json::json;

/// When a client may try again after 429 or 503, in seconds: a scrape finds a recovered engine sooner.
const RETRY_AFTER: &str = "1";
/// The longest time after which a client is asked to try again, in seconds.
const RETRY_AFTER_S_MAX: u64 = 3_600;
/// Bytes of a request id that is sent back: Envoy's and most clients' are UUIDs.
const REQUEST_ID_BYTES_MAX: usize = 256;
/// Headers of these responses that scripts in browsers may read besides those that they always may.
const EXPOSED_HEADERS: &str = "request-id,retry-after,x-request-id,x-warmpath-reason";

/// Says why a request was refused; the name is llm-d's.
const DROPPED_HEADER: &str = "x-llm-d-request-dropped-reason";

/// What a response must know of its request.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    /// Whether it speaks Anthropic's API, otherwise OpenAI's.
    pub(super) is_anthropic: bool,
    /// Whether it is a script in a browser, from another site.
    pub(super) has_origin: bool,
    request_id: Option<String>,
}

// === impl Caller ===

impl Caller {
    /// One of whom nothing is known.
    pub(super) const fn unknown() -> Self {
        Self { is_anthropic: false, has_origin: false, request_id: None }
    }

    /// Takes the format of the path.
    pub(super) fn note_api(&mut self, api: Api) {
        self.is_anthropic |= matches!(api, Api::Messages | Api::CountTokens);
    }

    /// Takes `x-request-id`, unless it is none that can be sent back.
    pub(super) fn note_request_id(&mut self, value: &[u8]) {
        let id = std::str::from_utf8(value).ok().filter(|id| is_header_value(id));
        self.request_id = id.filter(|id| id.len() <= REQUEST_ID_BYTES_MAX).map(str::to_owned);
    }

    /// A response of the API's format.
    fn reply(&self, status: u16, body: Vec<u8>) -> Reply {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if let Some(id) = &self.request_id {
            headers.push(("x-request-id", id.clone()));
            if self.is_anthropic {
                headers.push(("request-id", id.clone()));
            }
        }
        if self.has_origin {
            // As the engines do by default: nothing here depends on cookies.
            headers.push(("access-control-allow-origin", "*".to_owned()));
            headers.push(("access-control-expose-headers", EXPOSED_HEADERS.to_owned()));
        }
        Reply { status, headers, body }
    }

    /// An error of the API's format. `label` is its stable name.
    fn error(&self, status: u16, label: &'static str, param: Option<&str>, message: &str) -> Reply {
        let (openai, anthropic) = match status {
            404 => ("NotFoundError", "not_found_error"),
            413 => ("RequestEntityTooLargeError", "request_too_large"),
            415 => ("UnsupportedMediaTypeError", "invalid_request_error"),
            429 => ("RateLimitError", "rate_limit_error"),
            503 => ("ServiceUnavailableError", "overloaded_error"),
            _ => ("BadRequestError", "invalid_request_error"),
        };
        let body = if self.is_anthropic {
            let error = json!({"type": anthropic, "message": message});
            json!({"type": "error", "error": error, "request_id": self.request_id})
        } else {
            json!({"error": {"message": message, "type": openai, "param": param, "code": label}})
        };
        let mut reply = self.reply(status, body.to_string().into_bytes());
        reply.headers.push(("x-warmpath-reason", label.to_owned()));
        if matches!(status, 429 | 503) {
            reply.headers.push(("retry-after", RETRY_AFTER.to_owned()));
        }
        reply
    }
}

/// The response to a request that has no endpoint.
pub(super) fn no_endpoint(reason: NoEndpoint, model: &str, caller: &Caller) -> Reply {
    match reason {
        NoEndpoint::UnknownModel => {
            let message = format!("The model `{}` does not exist.", shown(model));
            caller.error(404, reason.label(), Some("model"), &message)
        }
        NoEndpoint::NoneKnown => {
            caller.error(503, reason.label(), None, &format!("{reason}; try again later"))
        }
    }
}

/// The response to a request that is not held, or no longer. `wait_ms`: when it may have another try; `None`: nobody knows.
pub(super) fn not_held(reason: NotHeld, held_for: HeldFor, wait_ms: Option<u64>, caller: &Caller) -> Reply {
    let (status, awaited) = match held_for {
        HeldFor::Endpoint => (503, "an endpoint"),
        HeldFor::Room => (429, "room at an endpoint"),
    };
    let (dropped, why) = match (reason, held_for) {
        (NotHeld::Crowded, _) => ("rejected-saturated", "the wait is too long"),
        (NotHeld::Full, HeldFor::Room) => ("rejected-saturated", "too many wait already"),
        (NotHeld::Full, HeldFor::Endpoint) => ("rejected-no-endpoints", "too many wait already"),
        (NotHeld::Shed, _) => ("evicted", "more important ones wait"),
        (NotHeld::Expired, _) => ("rejected-ttl-expired", "it has waited for as long as it may"),
    };
    let message = format!("The request needs {awaited}, and {why}; try again later.");
    let mut reply = caller.error(status, reason.label(), None, &message);
    if let Some(wait_ms) = wait_ms {
        let seconds = wait_ms.div_ceil(1_000).clamp(1, RETRY_AFTER_S_MAX);
        reply.headers.retain(|(name, _)| *name != "retry-after");
        reply.headers.push(("retry-after", seconds.to_string()));
    }
    reply.headers.push((DROPPED_HEADER, dropped.to_owned()));
    reply
}

/// The response to a request whose model could not be read, where several pools could be meant.
pub(super) fn lost_model(unread: Unread, caller: &Caller) -> Reply {
    let (status, cure) = match unread {
        Unread::Encoded => (415, "it is compressed; send it without content-encoding".to_owned()),
        Unread::NotJson => (415, "it is neither JSON nor a form; send JSON as application/json".to_owned()),
        Unread::Form => (400, "it is a malformed form; check its boundary and its end".to_owned()),
        Unread::Prompt(PromptError::TooLarge) => {
            let max = BODY_BYTES_KEPT_MAX / (1024 * 1024);
            (413, format!("it is larger than {max} MiB; send images and files by URL, or fewer of them"))
        }
        Unread::Prompt(PromptError::WrongShape) => {
            (400, "it is no JSON object with a string as `model`; name one model".to_owned())
        }
        Unread::Prompt(PromptError::Truncated) => (400, "its JSON ends early; send all of it".to_owned()),
        Unread::Prompt(PromptError::NotUtf8) => (400, "it is not UTF-8; encode it as UTF-8".to_owned()),
        Unread::Prompt(PromptError::TooDeep) => (400, "its JSON is nested too deep; nest it less".to_owned()),
        Unread::Prompt(PromptError::NotJson | PromptError::Empty) | Unread::NoBody | Unread::Withheld => {
            (400, "it is not valid JSON; send a JSON object with a `model`".to_owned())
        }
    };
    caller.error(status, unread.label(), None, &format!("The model cannot be read from the body: {cure}."))
}

/// The response to a request with fields that only the router may set, whose body is too large to be edited.
pub(super) fn steering(caller: &Caller) -> Reply {
    let message =
        "The body has a field that only the proxy may set, such as `kv_transfer_params`: send it without.";
    caller.error(400, "transfer_fields", None, message)
}

/// The response of an endpoint to the router's own call, in place of one that failed.
pub(super) fn rescued(response: Called<'_>, is_stream: bool, caller: &Caller) -> Reply {
    let mut reply = caller.reply(response.status, response.body.to_vec());
    if is_stream && response.status == 200 {
        let content_type = reply.headers.iter_mut().find(|(name, _)| *name == "content-type");
        if let Some((_, value)) = content_type {
            "text/event-stream; charset=utf-8".clone_into(value);
        }
    }
    reply
}

/// The response to a request whose body is too large to be searched for such fields.
pub(super) fn unsearched(caller: &Caller) -> Reply {
    let max = BODY_BYTES_KEPT_MAX / (1024 * 1024);
    let message =
        format!("The body is larger than {max} MiB: send images and files by URL, or fewer of them.");
    caller.error(413, Unread::Prompt(PromptError::TooLarge).label(), None, &message)
}

/// The response of an endpoint that is all that there is to generate.
pub(super) fn complete(body: &[u8], caller: &Caller) -> Reply {
    caller.reply(200, body.to_vec())
}

/// The response to a request that asked for the decision.
pub(super) fn explanation(explanation: &Explanation, caller: &Caller) -> Reply {
    caller.reply(200, serde_json::to_vec(explanation).unwrap_or_default())
}

/// The list of all models.
pub(super) fn models(list: Vec<u8>, caller: &Caller) -> Reply {
    caller.reply(200, list)
}

/// Whether a client's text may be written into a header. Bytes beyond ASCII may: a route matches a name as the
/// configuration writes it, in UTF-8.
pub(super) fn is_header_value(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

/// A name as far as a message repeats it.
fn shown(name: &str) -> &str {
    let end = (0..=NAME_BYTES_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    name.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn body(reply: &Reply) -> Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn each_api_gets_its_own_error() {
        let mut caller = Caller::default();
        caller.note_request_id(b"id-1");
        let openai = no_endpoint(NoEndpoint::UnknownModel, "x", &caller);
        assert_eq!(body(&openai)["error"]["type"], "NotFoundError");
        caller.note_api(Api::Messages);
        let anthropic = no_endpoint(NoEndpoint::UnknownModel, "x", &caller);
        assert_eq!(
            body(&anthropic),
            json!({
                "type": "error",
                "error": {"type": "not_found_error", "message": "The model `x` does not exist."},
                "request_id": "id-1",
            })
        );
        assert_eq!((openai.status, anthropic.status), (404, 404));
        assert_eq!(
            (header(&openai, "x-request-id"), header(&anthropic, "request-id")),
            (Some("id-1"), Some("id-1"))
        );
    }

    #[test]
    fn scripts_of_other_sites_may_read_an_error_and_others_need_not() {
        let mut caller = Caller::default();
        let reply = |caller: &Caller| no_endpoint(NoEndpoint::NoneKnown, "", caller);
        assert_eq!(header(&reply(&caller), "access-control-allow-origin"), None);
        caller.has_origin = true;
        assert_eq!(header(&reply(&caller), "access-control-allow-origin"), Some("*"));
        assert_eq!(header(&reply(&caller), "retry-after"), Some("1"));
    }

    #[test]
    fn what_a_client_sent_cannot_break_a_header_or_fill_a_response() {
        let mut caller = Caller::default();
        for id in [b"a\r\nx: y".as_slice(), b"\xFF", &[b'a'; REQUEST_ID_BYTES_MAX + 1]] {
            caller.note_request_id(id);
            assert_eq!(header(&models(Vec::new(), &caller), "x-request-id"), None);
        }
        let long = "漢".repeat(100_000);
        assert!(no_endpoint(NoEndpoint::UnknownModel, &long, &caller).body.len() < 1_000);
    }
}

//! One request as Envoy shows it: headers, body, answer, end.
//!
//! ```text
//!   headers ─┬─ nothing to read: route by load ─► sent
//!            └─ pause ─► body whole ─► route ─► sent ─► answer's headers, first byte, end
//! ```
//!
//! The filter must stop at the headers (`allow_on_headers_stop_iteration`), or Envoy would pick a host before
//! the body has come.

use crate::flight::{Answer, DECISION_HEADER, Flight};
use crate::host;
use crate::metrics::Unread;
use crate::proxy::Proxy;
use crate::route::{self, DESTINATION_HEADER, Incoming, MODEL_HEADER, Outcome};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::cell::RefCell;
use std::rc::Rc;
use warmpath_core::config::Config;
use warmpath_core::limits::BODY_BYTES_MAX;
use warmpath_core::prompt::{Api, PromptError};
use warmpath_core::usage::TAIL_BYTES_MAX;

/// Asks for the decision instead of an answer, when the configuration says `explain`.
const EXPLAIN_HEADER: &str = "x-warmpath-explain";
/// Makes the VM trap, so that tests can see what is left after one.
#[cfg(feature = "fault-injection")]
const TRAP_HEADER: &str = "x-warmpath-test-trap";
/// Headers that only the filter may set.
const OWN_HEADERS: [&str; 4] = [DESTINATION_HEADER, MODEL_HEADER, DECISION_HEADER, EXPLAIN_HEADER];

/// One HTTP stream.
pub(crate) struct Http {
    plugin: Option<(Rc<RefCell<Proxy>>, Rc<Config>)>,
    state: State,
}

enum State {
    /// Nothing seen, or nothing to do.
    Idle,
    /// Waiting for the end of the body.
    Reading { api: Api, wants_explanation: bool },
    /// On its way.
    Sent(Box<Flight>, Answer),
}

/// What the filter needs of the request's headers, from one look at all of them.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the headers")]
struct Head {
    is_post: bool,
    api: Option<Api>,
    is_encoded: bool,
    is_json: Option<bool>,
    length: Option<usize>,
    is_upgrade: bool,
    wants_explanation: bool,
}

// === impl Http ===

impl Http {
    pub(crate) fn new(plugin: Option<(Rc<RefCell<Proxy>>, Rc<Config>)>) -> Self {
        Self { plugin, state: State::Idle }
    }

    fn route(&mut self, incoming: &Incoming<'_>) -> Action {
        let Some((proxy, config)) = &self.plugin else { return Action::Continue };
        match route::route(&mut proxy.borrow_mut(), config, incoming) {
            Outcome::Sent(flight) => {
                self.state = State::Sent(flight, Answer::default());
                Action::Continue
            }
            Outcome::Answered => {
                self.state = State::Idle;
                Action::Pause
            }
        }
    }

    fn route_body(&mut self, size: usize) -> Action {
        let State::Reading { api, wants_explanation } = self.state else { return Action::Continue };
        let body;
        let body = if size > BODY_BYTES_MAX {
            Err(Unread::Prompt(PromptError::TooLarge))
        } else {
            body = host::request_body(size);
            Ok(body.as_slice())
        };
        self.route(&Incoming { api, body, wants_explanation })
    }
}

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let Some((_, config)) = &self.plugin else { return Action::Continue };
        let head = Head::read(&host::request_headers(), config.is_explaining);
        let api = head.api.unwrap_or(Api::ModelOnly);
        let wants_explanation = head.wants_explanation;
        if let Some(unread) = head.unread(end_of_stream) {
            return self.route(&Incoming { api, body: Err(unread), wants_explanation });
        }
        self.state = State::Reading { api, wants_explanation };
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match self.state {
            State::Reading { .. } if end_of_stream || size > BODY_BYTES_MAX => self.route_body(size),
            State::Reading { .. } => Action::Pause,
            State::Idle | State::Sent(..) => Action::Continue,
        }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // Trailers end a body that had no end of its own.
        self.route_body(BODY_BYTES_MAX)
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let Some((proxy, _)) = &self.plugin else { return Action::Continue };
        let State::Sent(flight, answer) = &mut self.state else { return Action::Continue };
        flight.answered(&mut proxy.borrow_mut(), answer, end_of_stream);
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        // Of a long stream nearly every call does no more than this: no hostcall, no memory.
        let State::Sent(flight, answer) = &mut self.state else { return Action::Continue };
        answer.has_ended |= end_of_stream;
        if size == 0 {
            return Action::Continue;
        }
        if !answer.has_first_byte
            && let Some((proxy, _)) = &self.plugin
        {
            flight.first_byte(&mut proxy.borrow_mut(), answer);
        }
        if flight.has_usage {
            let start = size.saturating_sub(TAIL_BYTES_MAX);
            answer.usage.push(&host::response_body(start, size - start));
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        if let State::Sent(_, answer) = &mut self.state {
            answer.has_ended = true;
        }
        Action::Continue
    }
}

impl Drop for Http {
    /// The end of the stream, however it came. The SDK drops what the host deletes, and the host deletes every
    /// stream; `on_log` comes a moment before and tells no more.
    fn drop(&mut self) {
        let Some((proxy, _)) = &self.plugin else { return };
        if let State::Sent(flight, answer) = std::mem::replace(&mut self.state, State::Idle) {
            flight.end(&mut proxy.borrow_mut(), &answer);
        }
    }
}

// === impl Head ===

impl Head {
    /// Reads the headers and removes those that only the filter may set.
    fn read(headers: &[(String, Vec<u8>)], is_explaining: bool) -> Self {
        let mut head = Self::default();
        for (name, value) in headers {
            let text = || String::from_utf8_lossy(value);
            match name.as_str() {
                ":method" => head.is_post = value == b"POST",
                ":path" => head.api = Some(Api::of_path(&text())),
                "content-type" => head.is_json = Some(is_json(value)),
                "content-encoding" => head.is_encoded = !value.is_empty() && value != b"identity",
                "content-length" => head.length = text().parse().ok(),
                "upgrade" => head.is_upgrade = true,
                #[cfg(feature = "fault-injection")]
                TRAP_HEADER => std::process::abort(),
                name if OWN_HEADERS.contains(&name) => {
                    head.wants_explanation |= is_explaining && name == EXPLAIN_HEADER;
                    host::remove_request_header(name);
                }
                _ => {}
            }
        }
        head
    }

    /// Why the body is not worth waiting for; `None` if it is.
    fn unread(&self, end_of_stream: bool) -> Option<Unread> {
        if end_of_stream || !self.is_post || self.is_upgrade {
            Some(Unread::NoBody)
        } else if self.is_encoded {
            Some(Unread::Encoded)
        } else if self.is_json == Some(false) {
            Some(Unread::NotJson)
        } else if self.length.is_some_and(|length| length > BODY_BYTES_MAX) {
            Some(Unread::Prompt(PromptError::TooLarge))
        } else {
            None
        }
    }
}

/// Whether a media type is JSON, or a kind of it.
fn is_json(media_type: &[u8]) -> bool {
    media_type.windows(4).any(|part| part.eq_ignore_ascii_case(b"json"))
}

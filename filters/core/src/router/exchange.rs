//! One request and its response, from the first header to the last byte.
//!
//! ```text
//!   head ─┬─ nothing to read ──────────────► route ─┬─────────────► Sent ─► Responding ─► (gone)
//!         └─► Reading ── body is whole ────►   │    ├─► Passed ─────┤ │          │
//!                          ▲                   │    ├─► Prefilling ─┘ │          │
//!                          │                   │    └─► Held ─────────┤          │
//!                          └───────────────────│──────────┘           │          │
//!                                              └ reply ───────────────┴──────────┴── the stream is deleted ─► (gone)
//!
//!   Sent, a decode leg ── fails ─► Rescuing ─┬─ reply ─► (gone)
//!                                            └─────────► Responding, with the failure
//! ```
//!
//! Each state owns what is valid in it and nothing else: a booking exists exactly as long as `Sent`, `Prefilling`, `Rescuing` and
//! `Responding` do, so no path can forget to release it or release it twice. Beside them stand the legs that run with their requests, and
//! the calls that cannot be taken back.

use super::body::Body;
use super::head::{Head, Hints, LegHead, Route};
use super::hold::Held;
use super::io::{ExchangeId, Headers, Output, PluginId};
use super::ledger::Booking;
use super::legs::{Awaited, Prefilling, Rescuing, Spare};
use super::metrics::Counter;
use super::reasons::Unread;
use super::reply::Caller;
use super::response::Responding;
use super::shared::SharedMap;
use super::siblings::When;
use super::{Clock, Router, models, reply};
use crate::body::{Fields, Kind};
use crate::config::Config;
use crate::ids::{CellHash, ResponseId};
use crate::prompt::{Api, Media};
use crate::time::Timestamp;
use crate::wire::OutcomeClass;
use std::rc::Rc;

/// The state of one request.
#[derive(Debug)]
pub(super) enum Exchange {
    /// Waits for the end of its body.
    Reading(Reading),
    /// Was left to Envoy's own policy.
    Passed(Passed),
    /// Waits for an endpoint, or for room at one.
    Held(Box<Held>),
    /// Waits while one endpoint computes its prompt for another.
    Prefilling(Box<Prefilling>),
    /// Was sent to an endpoint.
    Sent(Sent),
    /// Was a decode leg that failed; another endpoint is asked to do it all.
    Rescuing(Box<Rescuing>),
    /// Its response has begun.
    Responding(Responding),
}

/// See [`Exchange::Reading`].
#[derive(Debug)]
pub(super) struct Reading {
    /// The plugin that it came through.
    pub(super) plugin: PluginId,
    pub(super) config: Rc<Config>,
    pub(super) api: Api,
    /// Whether the client may see the decision.
    pub(super) may_explain: bool,
    pub(super) wants_explanation: bool,
    /// Whether it is a request for work, so that what it comes to says something of the endpoint.
    pub(super) is_judged: bool,
    /// The stored response that the path names.
    pub(super) stored: Option<ResponseId>,
    /// What the headers say, in case the body cannot be read.
    pub(super) hints: Hints,
    /// Where the proxy's route leads.
    pub(super) route: Route,
    pub(super) kind: Kind,
    pub(super) caller: Caller,
    /// The headers of its prefill leg; `None`: no pool splits requests.
    pub(super) leg: Option<LegHead>,
    /// Bytes of the body that have come.
    pub(super) received_bytes: usize,
    /// What was read of a body in pieces.
    pub(super) fields: Fields,
}

/// See [`Exchange::Sent`].
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) booking: Booking,
    pub(super) kept: Kept,
}

/// What is kept of a request for its response.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) pool: String,
    pub(super) size: Estimate,
    /// The format of request and response; `None` where pieces of the response have no bytes.
    pub(super) api: Option<Api>,
    pub(super) is_stream: bool,
    /// Whether its usage is read.
    pub(super) reads_usage: bool,
    /// Whether what it comes to says something of the endpoint: only requests for work do.
    pub(super) is_judged: bool,
    /// When its prefill is over by the model: of a response that is no stream, which shows no first token.
    pub(super) prefilled_at: Option<Timestamp>,
    /// When a first token is overdue for so long that the endpoint counts as silent; `None`: that was published.
    pub(super) silent_at: Option<Timestamp>,
    /// When a decode leg may be served once more, if it is stuck by then; `None`: that is no use.
    pub(super) overdue_at: Option<Timestamp>,
    /// The decision in one line, where the configuration explains.
    pub(super) summary: Option<String>,
    /// The model that replaced the one that the request names.
    pub(super) target: Option<String>,
    /// The pool in whose series it is counted; `None` where Envoy chose, because the name may then be the client's.
    pub(super) counted_as: Option<Rc<str>>,
    /// What it waits for, as a decode leg.
    pub(super) awaited: Option<Awaited>,
    /// What it takes to serve it once more, until its response begins.
    pub(super) spare: Option<Box<Spare>>,
}

/// See [`Exchange::Passed`].
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) model: String,
    pub(super) chain: Vec<CellHash>,
    pub(super) sent_at: Timestamp,
    /// What it will be once its endpoint is known, but for the booking.
    pub(super) kept: Kept,
}

/// The size of a prompt, as estimated at dispatch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    /// Prompt text in bytes; `None` where the prompt was given in tokens.
    pub(super) text_bytes: Option<u64>,
    /// Parts that are not text.
    pub(super) media: Media,
    pub(super) prompt_tokens: u64,
    /// Tokens that the endpoint should hold.
    pub(super) held_tokens: u64,
    /// Tokens of those that it was believed to find.
    pub(super) cached_tokens: u64,
}

// === impl Kept ===

impl Kept {
    /// Counts the request in the totals and in its pool's series.
    pub(super) fn count(&self, counter: Counter, out: &mut Vec<Output>) {
        out.push(Output::Count(counter, 1));
        out.extend(self.counted_as.clone().map(|pool| Output::CountInPool(pool, counter)));
    }
}

// === impl Router ===

impl<S: SharedMap> Router<S> {
    pub(super) fn request_head(
        &mut self,
        clock: &impl Clock,
        id: ExchangeId,
        plugin: PluginId,
        (headers, cluster, ends): (Headers<'_>, Option<&str>, bool),
        out: &mut Vec<Output>,
    ) {
        let Some(config) = self.config_of(plugin) else { return };
        self.settle_resumed();
        let head = Head::read(headers, &config, out);
        let several = self.has_several_pools();
        if several && head.lists_models() {
            out.push(Output::Reply(reply::models(models::list(&self.view), &head.caller)));
            return;
        }
        let unread = head.unread(ends, self.keeps_large_bodies());
        let unread = unread.or_else(|| (!self.pauses(clock, plugin)).then_some(Unread::Withheld));
        let body = unread.map(|unread| match head.model() {
            Some(model) if several && unread == Unread::NoBody => Body::Path(model),
            _ => Body::Unread(unread),
        });
        let leg = self.view.has_split_pools().then(|| LegHead::of(headers, &head, &config));
        let reading = Reading {
            plugin,
            config,
            leg,
            api: head.api(),
            may_explain: head.may_explain,
            wants_explanation: head.wants_explanation,
            is_judged: head.is_post,
            stored: head.stored(),
            route: Route { cluster: cluster.map(str::to_owned), model: head.own_model },
            hints: head.hints,
            fields: head.kind.fields(),
            kind: head.kind,
            caller: head.caller,
            received_bytes: 0,
        };
        if let Some(body) = body {
            self.route_body(clock, id, (reading, None), body, out);
        } else {
            self.exchanges.insert(id, Exchange::Reading(reading));
            self.await_body(id, plugin, out);
            out.push(Output::Pause);
        }
    }

    /// The host deleted the stream. A response that has not ended was cut short.
    pub(super) fn ended(&mut self, clock: &impl Clock, id: ExchangeId, out: &mut Vec<Output>) {
        self.forget_body(id);
        self.end_companion(clock, id, out);
        match self.exchanges.remove(&id) {
            None | Some(Exchange::Reading(_)) => {}
            Some(Exchange::Held(held)) => self.end_held(&held, clock.now(), out),
            Some(Exchange::Prefilling(prefilling)) => {
                out.push(Output::Count(Counter::Aborted, 1));
                self.end_prefilling(*prefilling, clock.now(), out);
            }
            Some(Exchange::Rescuing(rescuing)) => {
                out.push(Output::Count(Counter::Aborted, 1));
                self.end_rescuing(*rescuing, clock.now(), out);
            }
            Some(Exchange::Passed(_)) => out.push(Output::Count(Counter::Aborted, 1)),
            Some(Exchange::Sent(sent)) => {
                out.push(Output::Count(Counter::Aborted, 1));
                sent.kept.count(Counter::Outcome(OutcomeClass::None), out);
                let ended = sent.booking.end(&mut self.ledger, clock.now());
                self.publish(ended, When::Soon, clock.now(), out);
            }
            Some(Exchange::Responding(responding)) => {
                out.push(Output::Count(Counter::Aborted, 1));
                self.finish(clock, responding, false, out);
            }
        }
    }

    /// Publishes the silence of endpoints whose first tokens are overdue, once for each request.
    pub(super) fn note_silence(&mut self, plugin: PluginId, now: Timestamp, out: &mut Vec<Output>) {
        let (mut silent, mut overdue) = (Vec::new(), Vec::new());
        for (id, exchange) in &mut self.exchanges {
            let waiting = match exchange {
                Exchange::Sent(sent) => Some(sent),
                // Headers may come long before the first token.
                Exchange::Responding(responding) => responding.waiting(),
                Exchange::Reading(_)
                | Exchange::Held(_)
                | Exchange::Passed(_)
                | Exchange::Prefilling(_)
                | Exchange::Rescuing(_) => None,
            };
            if let Some(sent) = waiting {
                if sent.kept.overdue_at.is_some_and(|at| at <= now) && sent.kept.spare.is_some() {
                    let sent_at = now.minus_ms(sent.booking.age_us(now) / 1000);
                    overdue.push((*id, sent.booking.endpoint(), sent_at));
                }
                if sent.kept.silent_at.is_some_and(|at| at <= now) {
                    sent.kept.silent_at = None;
                    sent.kept.count(Counter::Outcome(OutcomeClass::Silent), out);
                    silent.push(sent.booking.silent(now));
                }
            }
        }
        for kind in silent {
            self.publish([kind], When::Soon, now, out);
        }
        // Where all are full, a second copy of the work would make it worse.
        overdue.retain(|(_, endpoint, sent_at)| self.view.is_stuck(*endpoint, *sent_at));
        let overdue = overdue.into_iter().map(|(id, ..)| id).collect();
        self.rescue_overdue(overdue, plugin, now, out);
    }
}

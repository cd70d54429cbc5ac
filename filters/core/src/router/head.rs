//! A request's headers: they determine whether its body is worth waiting for, and some of them a client must not set.

use super::io::Output;
use super::models::ModelsPath;
use super::reasons::Unread;
use super::reply::{Caller, is_header_value};
use crate::body::{Kind, Named};
use crate::config::{Config, Explain};
use crate::ids::{ResponseId, SessionKey, TenantId};
use crate::limits::{BODY_BYTES_KEPT_MAX, BODY_BYTES_MAX};
use crate::prompt::{Api, PromptError};
use crate::steering;

/// Where Envoy's `override_host` policy reads the choice; the name is that of the Gateway API's endpoint picker protocol.
pub const DESTINATION_HEADER: &str = "x-gateway-destination-endpoint";
/// Where Envoy's routes read the model's name; same source.
pub const MODEL_HEADER: &str = "x-gateway-model-name";
/// Set on responses whose request a rule gave another model, to the model's name.
pub const TARGET_HEADER: &str = "x-warmpath-model";
/// The headers that name a request's objective: llm-d's, and the Gateway API's.
const OBJECTIVE_HEADERS: [&str; 2] = ["x-llm-d-inference-objective", "x-gateway-inference-objective"];
/// Those that name its tenant.
const TENANT_HEADERS: [&str; 2] = ["x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"];
/// Set on responses when the configuration says `explain`.
pub const DECISION_HEADER: &str = "x-warmpath-decision";
/// Requests the decision in place of a response, when the configuration says `explain`.
pub const EXPLAIN_HEADER: &str = "x-warmpath-explain";
/// Carries the token that entitles to either, when the configuration names one.
pub const EXPLAIN_TOKEN_HEADER: &str = "x-warmpath-explain-token";
/// The property of a stream with its decision in one line, for the proxy's access log. Clients never see it.
pub(super) const DECISION_PROPERTY: &str = "warmpath.decision";
/// Where Envoy reads how often it may retry this request.
pub(super) const RETRIES_HEADER: &str = "x-envoy-max-retries";
/// Where Envoy reads on what it may retry this request, in addition to its route's conditions.
pub(super) const RETRY_ON_HEADER: &str = "x-envoy-retry-on";
/// Headers that only the router may set, and those with which a client could change Envoy's time limits and retries. An
/// engine would be blamed for a client's time limit. All are removed.
const OWN_HEADERS: [&str; 13] = [
    DESTINATION_HEADER,
    MODEL_HEADER,
    DECISION_HEADER,
    EXPLAIN_HEADER,
    EXPLAIN_TOKEN_HEADER,
    RETRIES_HEADER,
    RETRY_ON_HEADER,
    "x-envoy-retry-grpc-on",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
];

/// The parts of a request's headers that the router needs, read in one pass.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the headers")]
pub(super) struct Head {
    /// Whether it is a request for work.
    pub(super) is_post: bool,
    api: Option<Api>,
    stored: Option<ResponseId>,
    is_read: bool,
    models: Option<ModelsPath>,
    query_model: String,
    is_encoded: bool,
    pub(super) kind: Kind,
    pub(super) caller: Caller,
    pub(super) hints: Hints,
    /// The model that the client's own header names.
    pub(super) own_model: Option<Vec<u8>>,
    /// Whether the client may see the decision.
    pub(super) may_explain: bool,
    /// Whether it requests the decision in place of a response, and may have it.
    pub(super) wants_explanation: bool,
}

/// Headers of a request that its prefill leg must not have: those that describe the body or the connection, and those that change
/// what the response looks like, which nobody but the router reads.
const LEFT_HEADERS: [&str; 12] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The headers of a prefill leg: the request's own, so that an engine that asks for a key or names requests finds them.
#[derive(Clone, Debug, Default)]
pub(super) struct LegHead {
    /// Pseudo-headers first.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// Whether the request states its length.
    pub(super) has_length: bool,
    pub(super) caller: Caller,
}

/// Where the proxy's route leads, as it was chosen by the client's headers.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    /// The cluster; `None`: there is none, or it does not matter.
    pub(super) cluster: Option<String>,
    /// The model that it may have been chosen by: that of the client's own header.
    pub(super) model: Option<Vec<u8>>,
}

/// What a request's headers say, in case its body cannot be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    /// Bytes of the body; `None`: not known.
    pub(super) length: Option<usize>,
    /// Its model, by the configured header.
    pub(super) model: Option<String>,
    /// Its session, and the place of its header among the configured ones.
    session: Option<(usize, SessionKey)>,
    /// Its objective.
    pub(super) objective: Option<String>,
    /// Its tenant.
    pub(super) tenant: TenantId,
}

// === impl Head ===

impl Head {
    /// Reads the headers and removes those that only the router may set.
    pub(super) fn read(headers: &[(String, Vec<u8>)], config: &Config, out: &mut Vec<Output>) -> Self {
        let explain = &config.explain;
        let mut head = Self { may_explain: *explain == Explain::Everybody, ..Self::default() };
        for (name, value) in headers {
            let text = || String::from_utf8_lossy(value);
            head.hints.take(name, value, config);
            match name.as_str() {
                ":method" => {
                    head.is_post = value == b"POST";
                    head.is_read = value == b"GET" || value == b"HEAD";
                }
                ":path" => head.read_path(&text()),
                "content-type" => head.kind = Kind::of(value),
                "content-encoding" => {
                    let coding = value.trim_ascii();
                    head.is_encoded = !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
                }
                "content-length" => head.hints.length = text().parse().ok(),
                "anthropic-version" => head.caller.is_anthropic = true,
                "origin" => head.caller.has_origin = true,
                "x-request-id" => head.caller.note_request_id(value),
                name => {
                    out.extend(ignored(name, config).map(Output::RemoveRequestHeader));
                    if let Some(own) =
                        OWN_HEADERS.into_iter().chain(steering::HEADERS).find(|own| *own == name)
                    {
                        head.wants_explanation |= own == EXPLAIN_HEADER;
                        if own == MODEL_HEADER {
                            head.own_model = Some(value.clone());
                        }
                        head.may_explain |= own == EXPLAIN_TOKEN_HEADER && is_token(explain, value);
                        out.push(Output::RemoveRequestHeader(own));
                    }
                }
            }
        }
        head.wants_explanation &= head.may_explain;
        if head.is_encoded && matches!(head.kind, Kind::Json | Kind::Form | Kind::Text) {
            head.kind = Kind::Encoded;
        }
        head
    }

    fn read_path(&mut self, path: &str) {
        let api = Api::of_path(path);
        self.api = Some(api);
        self.caller.note_api(api);
        self.stored = stored_response(path);
        self.models = ModelsPath::of(path);
        if let Some((_, query)) = path.split_once('?') {
            self.query_model = Named::of_query(query).model;
        }
    }

    /// The format that the path names.
    pub(super) fn api(&self) -> Api {
        self.api.unwrap_or(Api::ModelOnly)
    }

    /// The stored response that the path names.
    pub(super) fn stored(&self) -> Option<ResponseId> {
        self.stored
    }

    /// Whether it asks for the list of models.
    pub(super) fn lists_models(&self) -> bool {
        self.is_read && self.models == Some(ModelsPath::List)
    }

    /// The model that the path or its query names: of a request without a body, such as a WebSocket to `/v1/realtime`.
    pub(super) fn model(&self) -> Option<String> {
        match &self.models {
            Some(ModelsPath::One(model)) => Some(model.clone()),
            Some(ModelsPath::List) | None => Some(self.query_model.clone()).filter(|model| !model.is_empty()),
        }
    }

    /// Why the body is not worth waiting for; `None` if it is. `keeps_large`: a large one is, too.
    pub(super) fn unread(&self, ends: bool, keeps_large: bool) -> Option<Unread> {
        let bytes_max = if keeps_large { BODY_BYTES_KEPT_MAX } else { BODY_BYTES_MAX };
        // One with an `upgrade` is read like any: an engine that does not upgrade takes it for a plain POST.
        if ends || !self.is_post {
            Some(Unread::NoBody)
        } else if self.is_encoded && self.kind != Kind::Encoded {
            Some(Unread::Encoded)
        } else if self.kind == Kind::Opaque {
            Some(Unread::NotJson)
        } else if self.hints.length.is_some_and(|length| length > bytes_max) {
            Some(Unread::Prompt(PromptError::TooLarge))
        } else {
            None
        }
    }
}

// === impl LegHead ===

impl LegHead {
    /// Of a request with these `headers`.
    pub(super) fn of(headers: &[(String, Vec<u8>)], head: &Head, config: &Config) -> Self {
        let is_passed_on = |name: &str| {
            !name.starts_with("x-envoy-")
                && ignored(name, config).is_none()
                && !LEFT_HEADERS.contains(&name)
                && !OWN_HEADERS.contains(&name)
                && !steering::HEADERS.contains(&name)
        };
        let (pseudo, others): (Vec<_>, Vec<_>) = headers
            .iter()
            .filter(|(name, _)| is_passed_on(name))
            .cloned()
            .partition(|(name, _)| name.starts_with(':'));
        Self {
            headers: pseudo.into_iter().chain(others).collect(),
            has_length: head.hints.length.is_some(),
            caller: head.caller.clone(),
        }
    }
}

// === impl Route ===

impl Route {
    /// The cluster to which a request for this model goes. A route by model is chosen again when the router sets the header;
    /// if the client had set it to another model, the cluster is that model's.
    pub(super) fn cluster(&self, model: &str) -> Option<&str> {
        let is_final = self.model.as_ref().is_none_or(|own| own == model.as_bytes());
        self.cluster.as_deref().filter(|_| is_final)
    }
}

// === impl Hints ===

impl Hints {
    fn take(&mut self, name: &str, value: &[u8], config: &Config) {
        let at = config.affinity_headers.iter().position(|header| header == name);
        if let Some(at) = at.filter(|_| !value.is_empty())
            && self.session.is_none_or(|(better, _)| at < better)
        {
            self.session = Some((at, SessionKey::of(name, value)));
        }
        if names(name, config.objective_header.as_deref(), &OBJECTIVE_HEADERS) {
            self.objective = std::str::from_utf8(value).ok().map(str::to_owned);
        }
        if names(name, config.tenant_header.as_deref(), &TENANT_HEADERS) {
            self.tenant = std::str::from_utf8(value).map_or(TenantId::default(), TenantId::of);
        }
        if config.model_header.as_deref() == Some(name) {
            let model = std::str::from_utf8(value).ok().filter(|model| is_header_value(model));
            self.model = model.filter(|model| !model.is_empty()).map(str::to_owned);
        }
    }

    /// The client's session.
    pub(super) fn session(&self) -> Option<SessionKey> {
        self.session.map(|(_, key)| key)
    }
}

/// Whether a header is the one that names something: the `configured` one, or else any of the `standard` ones.
fn names(name: &str, configured: Option<&str>, standard: &[&str]) -> bool {
    configured.map_or_else(|| standard.contains(&name), |configured| configured == name)
}

/// A standard header in whose place the configuration names another: whatever the client sends in it, engines must not believe it.
fn ignored(name: &str, config: &Config) -> Option<&'static str> {
    let other = |standard: &[&'static str], configured: Option<&str>| {
        let found = standard.iter().find(|standard| **standard == name)?;
        configured.is_some_and(|configured| configured != *found).then_some(*found)
    };
    let objective = other(&OBJECTIVE_HEADERS, config.objective_header.as_deref());
    objective.or_else(|| other(&TENANT_HEADERS, config.tenant_header.as_deref()))
}

/// Whether a value is the token that entitles to explanations. Its bytes are compared without a shortcut, so that the time
/// shows nothing of where a wrong one differs.
fn is_token(explain: &Explain, value: &[u8]) -> bool {
    let Explain::Token(token) = explain else { return false };
    let differences = token.bytes().zip(value).fold(0, |sum, (ours, theirs)| sum | (ours ^ theirs));
    token.len() == value.len() && differences == 0
}

/// The response that a path reads, deletes or cancels: `/v1/responses/<id>`, whatever follows.
fn stored_response(path: &str) -> Option<ResponseId> {
    let (_, rest) = path.split_once("/v1/responses/")?;
    let id = rest.split(['/', '?']).next().filter(|id| !id.is_empty())?;
    Some(ResponseId::of(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HoldLimits;
    use crate::limits::CELL_BYTES_DEFAULT;
    use crate::wire::Pools;

    fn config(explain: Explain) -> Config {
        Config {
            pools: Pools::default(),
            controller: None,
            cell_bytes: CELL_BYTES_DEFAULT,
            alternates: 0,
            omitted_prefixes: Vec::new(),
            affinity_headers: vec!["x-session-id".to_owned(), "x-user".to_owned()],
            model_header: Some(MODEL_HEADER.to_owned()),
            tenant_header: None,
            objective_header: None,
            hold: HoldLimits::default(),
            explain,
        }
    }

    fn read(headers: &[(&str, &str)]) -> (Head, Vec<Output>) {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let mut out = Vec::new();
        (Head::read(&headers, &config(Explain::Everybody), &mut out), out)
    }

    #[test]
    fn a_body_is_waited_for_only_where_a_prompt_can_be_read() {
        let post = (":method", "POST");
        let cases = [
            (vec![post], None),
            (vec![post, ("content-type", "Application/JSON; charset=utf-8")], None),
            (vec![post, ("content-encoding", "identity")], None),
            (vec![(":method", "GET")], Some(Unread::NoBody)),
            (vec![(":method", "GET"), ("upgrade", "websocket")], Some(Unread::NoBody)),
            (vec![post, ("upgrade", "websocket")], None),
            (vec![post, ("content-encoding", "gzip")], None),
            (
                vec![post, ("content-encoding", "gzip"), ("content-type", "multipart/form-data; boundary=x")],
                Some(Unread::Encoded),
            ),
            (vec![post, ("content-type", "multipart/form-data; boundary=x")], None),
            (vec![post, ("content-type", "application/x-www-form-urlencoded")], None),
            (vec![post, ("content-type", "audio/wav")], Some(Unread::NotJson)),
            (vec![post, ("content-length", "16777216")], None),
            (vec![post, ("content-length", "16777217")], Some(Unread::Prompt(PromptError::TooLarge))),
        ];
        for (headers, unread) in cases {
            assert_eq!(read(&headers).0.unread(false, false), unread, "{headers:?}");
        }
        assert_eq!(read(&[post]).0.unread(true, false), Some(Unread::NoBody));
    }

    #[test]
    fn a_large_body_is_waited_for_where_only_its_model_leads_to_its_pool() {
        let unread =
            |length: &str| read(&[(":method", "POST"), ("content-length", length)]).0.unread(false, true);
        assert_eq!(unread("67108864"), None);
        assert_eq!(unread("67108865"), Some(Unread::Prompt(PromptError::TooLarge)));
    }

    #[test]
    fn a_path_names_a_stored_response() {
        let of = |path: &str| read(&[(":path", path)]).0.stored();
        let id = Some(ResponseId::of("resp_1"));
        assert_eq!(of("/v1/responses/resp_1"), id);
        assert_eq!(of("/llm/v1/responses/resp_1/cancel?x=1"), id);
        assert_eq!(of("/v1/responses/resp_1?include=usage"), id);
        assert_eq!((of("/v1/responses/"), of("/v1/responses"), of("/v1/models/x")), (None, None, None));
    }

    #[test]
    fn explanations_need_the_token_where_there_is_one() {
        let secret = Explain::Token("secret".into());
        let asks = |explain: &Explain, token: &str| {
            let headers = [(EXPLAIN_HEADER, "1"), (EXPLAIN_TOKEN_HEADER, token)];
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
            Head::read(&headers, &config(explain.clone()), &mut Vec::new()).wants_explanation
        };
        assert!(asks(&secret, "secret") && asks(&Explain::Everybody, ""));
        for wrong in ["", "secre", "secrets", "Secret"] {
            assert!(!asks(&secret, wrong), "{wrong}");
        }
        assert!(!asks(&Explain::Nobody, "secret"));
    }

    #[test]
    fn the_best_header_names_the_session_and_an_empty_one_names_none() {
        let session = |headers: &[(&str, &str)]| read(headers).0.hints.session();
        let named = |name: &str, value: &str| Some(SessionKey::of(name, value.as_bytes()));
        assert_eq!(session(&[("x-user", "u"), ("x-session-id", "s")]), named("x-session-id", "s"));
        assert_eq!(session(&[("x-user", "u"), ("x-session-id", "")]), named("x-user", "u"));
        assert_eq!(session(&[("x-session-id", "a"), ("x-session-id", "b")]), named("x-session-id", "a"));
        assert_eq!(session(&[("x-other", "u")]), None);
        assert_ne!(named("x-user", "s"), named("x-session-id", "s"));
    }

    #[test]
    fn a_model_is_read_from_a_header_before_that_is_removed() {
        let (head, out) = read(&[(MODEL_HEADER, "llama")]);
        assert_eq!(head.hints.model.as_deref(), Some("llama"));
        assert_eq!(out, [Output::RemoveRequestHeader(MODEL_HEADER)]);
        for model in ["", "a\nb"] {
            assert_eq!(read(&[(MODEL_HEADER, model)]).0.hints.model, None, "{model:?}");
        }
    }

    #[test]
    fn a_tenant_is_named_by_the_standard_headers_or_by_the_configured_one_alone() {
        let tenant = |configured: Option<&str>, name: &str| {
            let config =
                Config { tenant_header: configured.map(str::to_owned), ..config(Explain::Everybody) };
            let (headers, mut out) = ([(name.to_owned(), b"acme".to_vec())], Vec::new());
            let head = Head::read(&headers, &config, &mut out);
            (head.hints.tenant == TenantId::of("acme"), out)
        };
        for standard in TENANT_HEADERS {
            assert_eq!(tenant(None, standard), (true, Vec::new()));
            assert_eq!(tenant(Some(standard), standard), (true, Vec::new()));
            let removed = vec![Output::RemoveRequestHeader(standard)];
            assert_eq!(tenant(Some("x-tenant"), standard), (false, removed));
        }
        assert_eq!(tenant(Some("x-tenant"), "x-tenant"), (true, Vec::new()));
        assert_eq!(tenant(None, "x-tenant"), (false, Vec::new()));
    }

    #[test]
    fn an_objective_is_named_by_the_standard_headers_or_by_the_configured_one_alone() {
        let config =
            Config { objective_header: Some("x-objective".to_owned()), ..config(Explain::Everybody) };
        let headers = [("x-objective", "batch"), ("x-llm-d-inference-objective", "interactive")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        let mut out = Vec::new();
        let head = Head::read(&headers, &config, &mut out);
        assert_eq!(head.hints.objective.as_deref(), Some("batch"));
        assert_eq!(out, [Output::RemoveRequestHeader("x-llm-d-inference-objective")]);
        let leg = LegHead::of(&headers, &head, &config);
        assert_eq!(leg.headers, [("x-objective".to_owned(), b"batch".to_vec())]);
    }

    #[test]
    fn every_copy_of_an_own_header_is_removed() {
        let (head, out) =
            read(&[(EXPLAIN_HEADER, "1"), ("x-other", "1"), (DESTINATION_HEADER, "10.0.0.1:1")]);
        assert!(head.wants_explanation);
        let removed = [EXPLAIN_HEADER, DESTINATION_HEADER].map(Output::RemoveRequestHeader);
        assert_eq!(out, removed);
    }
}

//! The routes: public paths to the engines, with what is tried again; a refusal for all other paths.

use super::cluster::ENGINES;
use super::listener::{GATEWAY, SILENCE_MAX};
use super::value::{duration, uint32};
use super::wasm;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{DataSource, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryBackOff;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, FilterConfig, HeaderMatcher, RetryPolicy, Route, RouteAction, RouteConfiguration,
    RouteMatch, VirtualHost,
};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use envoy_types::util::pack_any;
use std::collections::HashMap;
use std::time::Duration;

/// The APIs for inference.
const PUBLIC: &str = "(/inference|/v2)?/(v1/.+|generate|(de)?tokenize|embed|encode|pooling|classify|score|rerank|health|version)";
/// What is not public of that.
const PRIVATE: &str = "/v1/((un)?load_lora_adapter|loads)([/?;#%].*)?";

/// The response to paths that are not public.
const REFUSAL: &str = concat!(
    r#"{"error":{"message":"This path is not public here.","#,
    r#""type":"NotFoundError","param":null,"code":"path_not_public"}}"#
);

/// Envoy's condition under which it looks at the status codes. The filter adds it for a request that has another endpoint.
const RETRY_ON_STATUS: &str = "retriable-status-codes";

const BACK_OFF_MIN: Duration = Duration::from_millis(1);
const BACK_OFF_MAX: Duration = Duration::from_millis(10);

/// What Envoy tries again at the next endpoint of the filter's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Envoy's conditions, comma separated.
    pub conditions: String,
    /// Answers that mean "ask another".
    pub status_codes: Vec<u32>,
    /// Attempts after the first.
    pub retries_max: u32,
}

// === impl Retry ===

impl Default for Retry {
    /// As shipped: with the filter, which adds `RETRY_ON_STATUS`.
    fn default() -> Self {
        Self {
            conditions: "connect-failure,refused-stream,reset".to_owned(),
            status_codes: vec![429, 503],
            retries_max: 3,
        }
    }
}

impl Retry {
    /// What the shipped filter makes of the default.
    pub fn with_status_codes() -> Self {
        let Self { conditions, status_codes, retries_max } = Self::default();
        Self { conditions: format!("{conditions},{RETRY_ON_STATUS}"), status_codes, retries_max }
    }
}

/// The routes of the gateway.
pub fn route(retry: &Retry) -> RouteConfiguration {
    let to_engines = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(ENGINES.to_owned())),
        timeout: Some(duration(Duration::ZERO)),
        idle_timeout: Some(duration(SILENCE_MAX)),
        retry_policy: Some(RetryPolicy {
            retry_on: retry.conditions.clone(),
            num_retries: Some(uint32(retry.retries_max)),
            retriable_status_codes: retry.status_codes.clone(),
            retry_back_off: Some(RetryBackOff {
                base_interval: Some(duration(BACK_OFF_MIN)),
                max_interval: Some(duration(BACK_OFF_MAX)),
            }),
            ..RetryPolicy::default()
        }),
        ..RouteAction::default()
    };
    RouteConfiguration {
        name: GATEWAY.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![
                Route {
                    r#match: Some(public_paths()),
                    action: Some(Action::Route(to_engines)),
                    ..Route::default()
                },
                refusal(),
            ],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    }
}

fn public_paths() -> RouteMatch {
    let is_private = HeaderMatcher {
        name: ":path".to_owned(),
        invert_match: true,
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(regex(PRIVATE))),
            ..StringMatcher::default()
        })),
        ..HeaderMatcher::default()
    };
    RouteMatch {
        path_specifier: Some(PathSpecifier::SafeRegex(regex(PUBLIC))),
        headers: vec![is_private],
        ..RouteMatch::default()
    }
}

/// All other paths, past the filter.
fn refusal() -> Route {
    let response = DirectResponseAction {
        status: 404,
        body: Some(DataSource {
            specifier: Some(Specifier::InlineString(REFUSAL.to_owned())),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    };
    let content_type = HeaderValueOption {
        header: Some(HeaderValue {
            key: "content-type".to_owned(),
            value: "application/json".to_owned(),
            ..HeaderValue::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    };
    let without_filter = FilterConfig { disabled: true, ..FilterConfig::default() };
    Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
            ..RouteMatch::default()
        }),
        action: Some(Action::DirectResponse(response)),
        response_headers_to_add: vec![content_type],
        typed_per_filter_config: HashMap::from([(wasm::NAME.to_owned(), pack_any(without_filter))]),
        ..Route::default()
    }
}

fn regex(text: &str) -> RegexMatcher {
    RegexMatcher { regex: text.to_owned(), ..RegexMatcher::default() }
}

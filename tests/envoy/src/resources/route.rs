//! The route: everything to the engines, and what is tried again.

use super::cluster::ENGINES;
use super::listener::{GATEWAY, SILENCE_MAX};
use super::value::{duration, uint32};
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryBackOff;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use std::time::Duration;

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
    /// As shipped.
    fn default() -> Self {
        Self {
            conditions: "connect-failure,refused-stream,reset,retriable-status-codes".to_owned(),
            status_codes: vec![429, 503],
            retries_max: 3,
        }
    }
}

/// The routes of the gateway: one, to the engines.
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
    let any_path =
        RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..RouteMatch::default() };
    RouteConfiguration {
        name: GATEWAY.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![Route {
                r#match: Some(any_path),
                action: Some(Action::Route(to_engines)),
                ..Route::default()
            }],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    }
}

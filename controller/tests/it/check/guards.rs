//! Filters that deny requests: whether they stand before ours.

use super::plain::pages;
use super::wrong;
use serde_json::{Value, json};
use warmpath::check::envoy::{Wanted, check};
use warmpath::check::finding::Findings;

const FILTERS: &str =
    "/configs/1/static_listeners/0/listener/filter_chains/0/filters/0/typed_config/http_filters";

/// As Envoy Gateway orders its filters by default.
#[test]
fn what_denies_requests_stands_before_the_filter() {
    let guard = |name: &str, is_disabled: bool| {
        let of_type = format!("type.googleapis.com/envoy.extensions.filters.http.x.v3.{name}");
        json!({"name": name, "disabled": is_disabled, "typed_config": {"@type": of_type}})
    };
    let with_filters = |guards: &[Value], place: usize, splits: bool| {
        let mut pages = pages();
        let filters = pages.config_dump.pointer_mut(FILTERS).unwrap();
        filters.as_array_mut().unwrap().splice(place..place, guards.iter().cloned());
        let wanted = Wanted {
            leg_clusters: splits.then_some(Some("engines".to_owned())).into_iter().collect(),
            endpoints: (8001..=8008).map(|port| format!("127.0.0.1:{port}")).collect(),
            pools: 1,
            ..Wanted::default()
        };
        let mut findings = Findings::new("");
        check(&pages, Some(&wanted), &mut findings);
        wrong(findings)
    };
    for name in ["RBAC", "LocalRateLimit", "RateLimit", "ExtAuthz", "JwtAuthentication"] {
        assert_eq!(with_filters(&[guard(name, false)], 0, true), [""; 0], "{name} first");
        assert_eq!(with_filters(&[guard(name, true)], 1, true), [""; 0], "{name} is on nowhere");
        let behind = with_filters(&[guard(name, false)], 1, false);
        assert_eq!(behind, [format!("warning filter.guards listener gateway: {name}")]);
    }
    let both = [guard("RBAC", false), guard("RateLimit", false)];
    assert_eq!(
        with_filters(&both, 1, true),
        ["error filter.guards listener gateway: RBAC, RateLimit, and requests are split"]
    );
}

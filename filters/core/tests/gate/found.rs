//! What of an earlier turn counts as found: the view knows what engines should hold, and what their responses say of that.

use warmpath_core::ids::EndpointId;
use warmpath_core::time::Timestamp;
use warmpath_core::view::View;
use warmpath_core::wire::{
    Ended, Hold, Kind, Outcome, OutcomeClass, Pool, PoolEndpoint, Pools, Reporting, Routed, Trust, Turn,
    UsageSeen,
};

const TURNS: u64 = 40;
const TOKENS: u64 = 6_400;

/// The share that counts as lost after some turns of one conversation, of each of which the engine found so many tokens.
fn lost_share(cached_tokens: u64, trust: Trust, is_learned: bool) -> f64 {
    let endpoint = EndpointId::of("10.0.0.1:80").0;
    let pool = Pool {
        name: "p".into(),
        models: vec!["m".into()],
        endpoints: vec![PoolEndpoint { address: "10.0.0.1:80".into(), ..PoolEndpoint::default() }],
        hold: Some(Hold { room_ms_max: 60_000, ..Hold::default() }),
        ..Pool::default()
    };
    let mut view = View::default();
    let mut now = Timestamp::from_ms(1_000_000);
    view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), now);
    let reporting = Reporting { endpoint, trust: trust.into(), is_cleared: true };
    view.apply(&Kind::Reporting(reporting).into(), now);
    for request in 1..=TURNS {
        let turn = Turn { conversation: 1, tokens: TOKENS, is_learned, ..Turn::default() };
        let cells = (0..50 + request).collect();
        let routed = Routed { endpoint, cells, origin: 1, request, turn: Some(turn), ..Routed::default() };
        let outcome = Outcome {
            endpoint,
            class: OutcomeClass::Served.into(),
            origin: 1,
            request,
            ..Outcome::default()
        };
        let usage = UsageSeen {
            pool: "p".into(),
            endpoint,
            prompt_tokens: TOKENS,
            cached_tokens: Some(cached_tokens),
            expected_prompt_tokens: TOKENS,
            expected_cached_tokens: if request == 1 { 0 } else { TOKENS },
            ..UsageSeen::default()
        };
        let ended = Ended { origin: 1, request };
        let kinds =
            [Kind::Routed(routed), Kind::Outcome(outcome), Kind::UsageSeen(usage), Kind::Ended(ended)];
        for kind in kinds {
            view.apply(&kind.into(), now);
        }
        now = now.plus_ms(2_000);
    }
    view.admission("p").unwrap().lost_share()
}

#[test]
fn what_an_engine_does_not_find_is_lost_though_nobody_saw_it_go() {
    assert!(lost_share(TOKENS, Trust::None, false) < 0.01, "it finds all");
    let lost = lost_share(0, Trust::None, false);
    assert!(lost > 0.8, "{lost}: it finds nothing");
    let lost = lost_share(TOKENS / 2, Trust::None, false);
    assert!((0.3..0.6).contains(&lost), "{lost}: it finds half");
}

#[test]
fn a_prompt_whose_text_is_not_known_is_not_lost_where_all_else_is_reported() {
    assert!(lost_share(TOKENS, Trust::Whole, true) < 0.01, "no report can have it");
    assert!(lost_share(TOKENS, Trust::Whole, false) > 0.99, "the reports do not have it");
}

//! What engines report, against a model that keeps each engine's blocks and walks them.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use std::collections::BTreeMap;
use warmpath_core::ids::{CellHash, EndpointId, OriginId, ProcessId, Slot};
use warmpath_core::limits::REPORTED_CELLS_MAX;
use warmpath_core::time::Timestamp;
use warmpath_core::view::{Applied, Match, View};
use warmpath_core::wire::{
    Current, Event, Kind, Outcome, OutcomeClass, Pool, PoolEndpoint, Pools, PrefixDecoder, Reported,
    Reporting, Routed, Tier, Trust,
};

const ENDPOINTS: usize = 4;
const TIERS: [Tier; 4] = [Tier::Gpu, Tier::Cpu, Tier::Disk, Tier::Remote];

#[derive(Clone, Debug)]
enum Action {
    /// KV of the last letter's cell comes into a tier of an engine.
    Keep(usize, Vec<u8>, usize),
    /// It leaves the engine.
    Evict(usize, Vec<u8>),
    /// A request was served there.
    Serve(usize, Vec<u8>),
    /// The controller states its trust.
    Rely(usize, usize),
    /// The engine's cache was cleared.
    Clear(usize),
}

/// One engine and what the controller has reported of it.
#[derive(Clone, Debug, Default)]
struct Engine {
    blocks: BTreeMap<Vec<u8>, usize>,
    reported: BTreeMap<Vec<u8>, usize>,
    trust: Trust,
}

fn address(at: usize) -> String {
    format!("10.0.{}.{}:8000", at / 256, at % 256)
}

fn id(at: usize) -> u64 {
    EndpointId::of(&address(at)).0
}

/// The cell of a text's last letter, which names all letters up to it.
fn cell(text: &[u8]) -> u64 {
    EndpointId::of(&format!("{text:?}")).0
}

fn chain(text: &[u8]) -> Vec<u64> {
    (1..=text.len()).map(|end| cell(&text[..end])).collect()
}

fn hashes(cells: &[u64]) -> Vec<CellHash> {
    cells.iter().copied().map(CellHash).collect()
}

fn view(endpoints: usize) -> View {
    let endpoints =
        (0..endpoints).map(|at| PoolEndpoint { address: address(at), ..PoolEndpoint::default() }).collect();
    let pool = Pool { name: "p".into(), models: vec!["m".into()], endpoints, ..Pool::default() };
    let mut view = View::new(256, 7);
    view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
    view
}

fn reporting(at: usize, trust: Trust, is_cleared: bool) -> Event {
    Kind::Reporting(Reporting { endpoint: id(at), trust: trust.into(), is_cleared }).into()
}

fn stored(at: usize, tier: Tier, stored: Vec<u64>) -> Event {
    Kind::Reported(Reported { endpoint: id(at), tier: tier.into(), stored, removed: vec![] }).into()
}

fn removed(at: usize, removed: Vec<u64>) -> Event {
    Kind::Reported(Reported { endpoint: id(at), tier: Tier::Gpu.into(), stored: vec![], removed }).into()
}

/// A request without a number is learned at once.
fn served(at: usize, text: &[u8]) -> Event {
    Kind::Routed(Routed { endpoint: id(at), cells: chain(text), ..Routed::default() }).into()
}

fn found(view: &View, text: &[u8]) -> Vec<Match> {
    let mut found = Vec::new();
    view.find(&hashes(&chain(text)), &mut found);
    assert!(found.is_sorted_by_key(|found| found.slot));
    found
}

fn whole(events: Vec<Event>) -> Vec<Event> {
    let mut prefixes = PrefixDecoder::default();
    let whole = |event: Event| match &event.kind {
        Some(Kind::Prefix(prefix)) => Kind::Prefix(prefixes.decode(prefix).unwrap()).into(),
        _ => event,
    };
    events.into_iter().map(whole).collect()
}

// === impl Engine ===

impl Engine {
    /// The events of a controller whose engine has come from the blocks that were reported to those that there are.
    fn report(&mut self, at: usize) -> Vec<Event> {
        let whole_way = |text: &Vec<u8>| {
            let way = (1..=text.len()).map(|end| self.blocks.get(&text[..end]).copied());
            way.collect::<Option<Vec<usize>>>().map(|tiers| tiers.into_iter().max().unwrap_or_default())
        };
        let now: BTreeMap<Vec<u8>, usize> =
            self.blocks.keys().filter_map(|text| Some((text.clone(), whole_way(text)?))).collect();
        let gone = self.reported.keys().filter(|text| !now.contains_key(*text)).map(|text| cell(text));
        let mut events = vec![removed(at, gone.collect())];
        for (rank, tier) in TIERS.into_iter().enumerate() {
            let new = now.iter().filter(|(text, of)| **of == rank && self.reported.get(*text) != Some(of));
            events.push(stored(at, tier, new.map(|(text, _)| cell(text)).collect()));
        }
        self.reported = now;
        events
    }

    /// The tiers of a text's cells from the first, as reported.
    fn tiers(&self, text: &[u8]) -> Vec<usize> {
        (1..=text.len()).map_while(|end| self.reported.get(&text[..end]).copied()).collect()
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..2, 1..7)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        16 => (0..ENDPOINTS, text(), 0..TIERS.len()).prop_map(|(at, text, tier)| Action::Keep(at, text, tier)),
        6 => (0..ENDPOINTS, text()).prop_map(|(at, text)| Action::Evict(at, text)),
        4 => (0..ENDPOINTS, text()).prop_map(|(at, text)| Action::Serve(at, text)),
        2 => (0..ENDPOINTS, 0_usize..4).prop_map(|(at, trust)| Action::Rely(at, trust)),
        1 => (0..ENDPOINTS).prop_map(Action::Clear),
    ]
}

/// Performs an action on the model, and returns its events.
fn perform(engines: &mut [Engine], action: &Action) -> Vec<Event> {
    match action {
        Action::Keep(at, text, tier) => {
            // Engines compute a prompt from its beginning.
            for end in 1..=text.len() {
                engines[*at].blocks.entry(text[..end].to_vec()).or_insert(*tier);
            }
            engines[*at].report(*at)
        }
        Action::Evict(at, text) => {
            engines[*at].blocks.remove(text);
            engines[*at].report(*at)
        }
        Action::Serve(at, text) => vec![served(*at, text)],
        Action::Rely(at, trust) => {
            let trust = [Trust::None, Trust::Whole, Trust::Partial, Trust::Suspect][*trust];
            engines[*at].trust = trust;
            vec![reporting(*at, trust, false)]
        }
        Action::Clear(at) => {
            let trust = engines[*at].trust;
            engines[*at] = Engine { trust, ..Engine::default() };
            vec![reporting(*at, trust, true)]
        }
    }
}

fn check(view: &View, engines: &[Engine], text: &[u8]) -> Result<(), TestCaseError> {
    let mut learned = Vec::new();
    view.prefixes().find(&hashes(&chain(text)), &mut learned);
    let found = found(view, text);
    for (at, engine) in engines.iter().enumerate() {
        let slot = view.slot(EndpointId(id(at))).unwrap();
        let cells_of = |found: &[Match]| found.iter().find(|one| one.slot == slot).map_or(0, |one| one.cells);
        let tiers = engine.tiers(text);
        let reported = u32::try_from(tiers.len()).unwrap();
        let expected = match engine.trust {
            Trust::None | Trust::Suspect => cells_of(&learned),
            Trust::Whole => reported,
            Trust::Partial => reported.max(cells_of(&learned)),
        };
        prop_assert_eq!(cells_of(&found), expected, "{:?} {:?}", engine, text);
        if engine.trust == Trust::Whole {
            for (rank, tier) in TIERS.into_iter().enumerate() {
                let count = tiers.iter().filter(|of| **of == rank).count();
                let cells = found.iter().find(|one| one.slot == slot).map_or(0, |one| one.cells_in(tier));
                prop_assert_eq!(usize::try_from(cells).unwrap(), count);
            }
        }
        let counted: usize = TIERS.into_iter().map(|tier| view.reported().cells(slot, tier)).sum();
        prop_assert_eq!(counted, engine.reported.len());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_walk_over_the_blocks_of_each_engine(
        actions in prop::collection::vec(action(), 1..60),
        asked in prop::collection::vec(text(), 8),
        at in 0_usize..60,
    ) {
        let mut view = view(ENDPOINTS);
        let mut engines = vec![Engine::default(); ENDPOINTS];
        let mut copy = None;
        for (number, action) in actions.iter().enumerate() {
            // A reader that comes at any moment: a snapshot, and what happens from then on.
            if number == at {
                let mut late = View::new(256, 9);
                for event in whole(view.export(Timestamp::ZERO)) {
                    prop_assert_eq!(late.apply(&event, Timestamp::ZERO), Applied::Changed);
                }
                copy = Some(late);
            }
            for event in perform(&mut engines, action) {
                view.apply(&event, Timestamp::ZERO);
                if let Some(copy) = &mut copy {
                    copy.apply(&event, Timestamp::ZERO);
                }
            }
        }
        // A second apart, what is void is swept.
        view.expire(Timestamp::from_ms(1_000));
        for text in &asked {
            check(&view, &engines, text)?;
            if let Some(copy) = &copy {
                check(copy, &engines, text)?;
            }
        }
    }

    /// A reader whose stream breaks gets events again that it knows, from any moment on.
    #[test]
    fn events_that_come_again_in_order_change_nothing(
        actions in prop::collection::vec(action(), 1..40), from in 0_usize..40, asked in text(),
    ) {
        let mut engines = vec![Engine::default(); ENDPOINTS];
        let events: Vec<Event> = actions.iter().flat_map(|action| perform(&mut engines, action)).collect();
        let mut view = view(ENDPOINTS);
        let again = events.iter().skip(from).filter(|event| !matches!(event.kind, Some(Kind::Routed(_))));
        for event in events.iter().chain(again) {
            view.apply(event, Timestamp::ZERO);
        }
        check(&view, &engines, &asked)?;
    }
}

#[test]
fn a_prompt_is_expected_until_its_engine_has_reported_it() {
    let mut view = view(1);
    let ms = Timestamp::from_ms;
    view.apply(&reporting(0, Trust::Whole, true), ms(0));
    let routed = Routed { endpoint: id(0), cells: chain(b"abc"), origin: 5, request: 1, ..Routed::default() };
    view.apply(&Kind::Routed(routed).into(), ms(0));
    assert_eq!(found(&view, b"abd"), [Match::on_gpu(Slot(0), 2)], "while it is computed");
    let outcome = Outcome {
        endpoint: id(0),
        origin: 5,
        request: 1,
        class: OutcomeClass::Served.into(),
        ..Outcome::default()
    };
    view.apply(&Kind::Outcome(outcome).into(), ms(1_000));
    assert_eq!(found(&view, b"abc"), [Match::on_gpu(Slot(0), 3)], "and until the reports arrive");
    view.apply(&stored(0, Tier::Gpu, chain(b"ab")), ms(1_010));
    view.apply(&stored(0, Tier::Gpu, vec![]), ms(1_999));
    assert_eq!(found(&view, b"abc"), [Match::on_gpu(Slot(0), 3)]);
    view.apply(&stored(0, Tier::Gpu, vec![]), ms(2_000));
    assert_eq!(found(&view, b"abc"), [Match::on_gpu(Slot(0), 2)], "after which they are believed alone");
}

#[test]
fn another_engine_at_the_address_has_reported_nothing() {
    let mut view = view(1);
    let list = |identity| {
        let endpoint = PoolEndpoint { address: address(0), identity, ..PoolEndpoint::default() };
        let pool =
            Pool { name: "p".into(), models: vec!["m".into()], endpoints: vec![endpoint], ..Pool::default() };
        Event::from(Kind::Pools(Pools { pools: vec![pool] }))
    };
    view.apply(&list(1), Timestamp::ZERO);
    view.apply(&reporting(0, Trust::Whole, true), Timestamp::ZERO);
    view.apply(&stored(0, Tier::Cpu, chain(b"ab")), Timestamp::ZERO);
    assert_eq!(
        (view.reported().trust(Slot(0)), view.reported().cells(Slot(0), Tier::Cpu)),
        (Trust::Whole, 2)
    );
    view.apply(&list(2), Timestamp::ZERO);
    assert_eq!((view.reported().trust(Slot(0)), view.reported().cells(Slot(0), Tier::Cpu)), (Trust::None, 0));
    assert_eq!(found(&view, b"ab"), []);
    view.apply(&reporting(0, Trust::Whole, false), Timestamp::ZERO);
    assert_eq!(found(&view, b"ab"), [], "not even if it is believed later");
}

/// What comes to an endpoint's place is another one.
#[test]
fn an_endpoint_that_left_takes_its_reports_along() {
    let mut view = view(2);
    view.apply(&reporting(1, Trust::Whole, true), Timestamp::ZERO);
    view.apply(&stored(1, Tier::Gpu, chain(b"ab")), Timestamp::ZERO);
    let other = PoolEndpoint { address: address(9), ..PoolEndpoint::default() };
    let pool = Pool { name: "p".into(), models: vec!["m".into()], endpoints: vec![other], ..Pool::default() };
    view.apply(&Kind::Pools(Pools { pools: vec![pool] }).into(), Timestamp::ZERO);
    assert_eq!(found(&view, b"ab"), []);
    assert_eq!(view.apply(&stored(1, Tier::Gpu, chain(b"ab")), Timestamp::ZERO), Applied::Unknown);
}

#[test]
fn a_proxy_believes_no_reports_of_a_silent_controller() {
    let mut view = view(1);
    view.set_process(ProcessId(3));
    view.apply(&reporting(0, Trust::Whole, true), Timestamp::ZERO);
    view.apply(&stored(0, Tier::Gpu, chain(b"ab")), Timestamp::ZERO);
    view.apply(&served(0, b"a"), Timestamp::ZERO);
    assert_eq!(found(&view, b"ab"), [Match::on_gpu(Slot(0), 1)], "nothing has come of it yet");
    view.apply(&Kind::Current(Current {}).into(), Timestamp::ZERO);
    assert_eq!(found(&view, b"ab"), [Match::on_gpu(Slot(0), 2)]);
    view.expire(Timestamp::from_ms(5_001));
    assert_eq!(found(&view, b"ab"), [Match::on_gpu(Slot(0), 1)]);
    assert_eq!(view.reported().trust(Slot(0)), Trust::Suspect);
    view.apply(&Kind::Current(Current {}).into(), Timestamp::from_ms(9_000));
    assert_eq!(found(&view, b"ab"), [Match::on_gpu(Slot(0), 2)]);
}

#[test]
fn an_endpoint_whose_cells_have_no_room_is_not_believed_whole() {
    let mut view = view(2);
    let apply = |view: &mut View, event: Event| view.apply(&event, Timestamp::ZERO);
    for at in 0..2 {
        apply(&mut view, reporting(at, Trust::Whole, true));
    }
    let many = |from: usize, to: usize| {
        (from..to).map(|cell| u64::try_from(cell).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
    };
    assert_eq!(apply(&mut view, stored(0, Tier::Gpu, many(0, REPORTED_CELLS_MAX - 1))), Applied::Changed);
    assert_eq!(apply(&mut view, stored(1, Tier::Gpu, chain(b"ab"))), Applied::Cut);
    apply(&mut view, served(1, b"abc"));
    assert_eq!(view.reported().trust(Slot(0)), Trust::Whole);
    assert_eq!(view.reported().trust(Slot(1)), Trust::Partial);
    assert_eq!(found(&view, b"abc"), [Match::on_gpu(Slot(1), 3)], "what was learned counts, too");
    // When the other one is cleared there is room, and when it is itself, all that it reports has room.
    apply(&mut view, reporting(0, Trust::Whole, true));
    apply(&mut view, reporting(1, Trust::Whole, true));
    for _ in 0..40 {
        assert_eq!(apply(&mut view, stored(1, Tier::Gpu, chain(b"ab"))), Applied::Changed);
    }
    assert_eq!(found(&view, b"abc"), [Match::on_gpu(Slot(1), 2)]);
    for second in 1..=16 {
        view.expire(Timestamp::from_ms(1_000 * second));
    }
    assert!(view.reported().bytes() < 1_000_000, "{}", view.reported().bytes());
}

#[test]
fn an_endpoint_holds_nothing_by_the_count_of_others_whose_cells_had_no_room() {
    let mut view = view(4);
    let apply = |view: &mut View, event: Event| view.apply(&event, Timestamp::ZERO);
    for at in 0..4 {
        apply(&mut view, reporting(at, Trust::Whole, true));
    }
    let filler = |from: usize, to: usize| -> Vec<u64> {
        (from..to).map(|cell| u64::try_from(cell).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
    };
    apply(&mut view, stored(3, Tier::Gpu, filler(0, REPORTED_CELLS_MAX - 2)));
    let prompt = chain(b"abc");
    for at in [0, 2] {
        assert_eq!(apply(&mut view, stored(at, Tier::Gpu, prompt[..1].to_vec())), Applied::Changed);
    }
    assert_eq!(apply(&mut view, stored(1, Tier::Gpu, prompt[..1].to_vec())), Applied::Cut);
    apply(&mut view, removed(3, filler(0, 100)));
    for at in [0, 1] {
        assert_eq!(apply(&mut view, stored(at, Tier::Gpu, prompt[1..2].to_vec())), Applied::Changed);
    }
    // Each of both cells has two holders, and they are others.
    assert_eq!(found(&view, b"abc"), [Match::on_gpu(Slot(0), 2), Match::on_gpu(Slot(2), 1)]);
}

/// A dead proxy's requests leave nothing behind in what is expected of a reported endpoint.
#[test]
fn expected_prompts_of_an_origin_that_ended_go_at_once() {
    let mut view = view(1);
    view.apply(&reporting(0, Trust::Whole, true), Timestamp::ZERO);
    let routed = Routed { endpoint: id(0), cells: chain(b"ab"), origin: 5, request: 1, ..Routed::default() };
    view.apply(&Kind::Routed(routed).into(), Timestamp::ZERO);
    view.apply(&Kind::Gone(warmpath_core::wire::Gone { origin: OriginId(5).0 }).into(), Timestamp::ZERO);
    assert_eq!(found(&view, b"ab"), []);
}

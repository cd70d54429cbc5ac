//! Requests that wait, and whatever can happen to them in any order: none is lost, none goes on twice, and in the end nothing is held.

use crate::support::{Controller, Host, Stream, Vm, chat, pools_of, step, text, vm, with_controller};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use warmpath_core::config::{Config, HoldLimits};
use warmpath_core::router::DESTINATION_HEADER;
use warmpath_core::wire::{Hold, Kind, Objective, Pools};

/// Longest waits of the pool.
const WAIT_MS_MAX: u32 = 20_000;
/// Requests that the process holds; more come.
const REQUESTS_MAX: u64 = 6;

#[derive(Clone, Debug)]
enum Op {
    Send { vm: usize, body: Body, is_batch: bool },
    More { at: usize },
    Leave { at: usize },
    Complete { at: usize },
    TimeIsUp { at: usize },
    Endpoints { count: usize },
    Configure { vm: usize },
    Pass { ms: u64 },
    SetBack { ms: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Chat,
    Upload,
    None,
}

struct World<'a> {
    host: Host,
    vms: [&'a Vm; 2],
    controller: Controller<'a>,
    endpoints: usize,
    streams: VecDeque<Stream>,
    seen: BTreeMap<&'static str, u32>,
}

fn config() -> Config {
    Config { hold: HoldLimits { requests_max: REQUESTS_MAX, ..HoldLimits::default() }, ..with_controller() }
}

fn pools(endpoints: usize) -> Pools {
    let mut pools = pools_of(0..endpoints);
    pools.pools[0].objectives = vec![Objective { name: "batch".to_owned(), priority: -1 }];
    pools.pools[0].hold =
        Some(Hold { endpoint_ms_max: WAIT_MS_MAX, room_ms_max: WAIT_MS_MAX, ..Hold::default() });
    pools
}

fn is_sent(stream: &Stream) -> bool {
    !stream.is_paused && stream.request_headers.contains_key(DESTINATION_HEADER)
}

// === impl World ===

impl<'a> World<'a> {
    fn new(host: &Host, vms: [&'a Vm; 2]) -> Self {
        let mut controller = Controller::accept(host, &vms);
        controller.snapshot(vec![Kind::Pools(pools(0)).into()]);
        step(host, &vms);
        let (host, streams, seen) = (host.clone(), VecDeque::new(), BTreeMap::new());
        Self { host, vms, controller, endpoints: 0, streams, seen }
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn perform(&mut self, op: &Op) {
        self.catch_up();
        match *op {
            Op::Send { vm, body, is_batch } => self.send(vm, body, is_batch),
            Op::More { at } => {
                if let Some(stream) = self.pick(at, |stream| stream.is_paused && stream.reply.is_none())
                    && stream.body.len() == 1
                {
                    stream.body(&[0; 100], true);
                }
            }
            Op::Leave { at } => self.remove(at, |_| true),
            Op::Complete { at } => {
                if let Some(stream) = self.pick(at, is_sent) {
                    stream.response_headers(&[(":status", "200")], false);
                    stream.response_body(b"{}", true);
                }
                self.remove(at, is_sent);
            }
            Op::TimeIsUp { at } => {
                if let Some(stream) = self.pick(at, |stream| stream.is_paused && stream.reply.is_none()) {
                    stream.response_headers(&[(":status", "504")], true);
                    self.see("time is up");
                }
                self.remove(at, |stream| stream.is_paused && stream.reply.is_none());
            }
            Op::Endpoints { count } => {
                self.endpoints = count;
                self.controller.delta(vec![Kind::Pools(pools(count)).into()]);
            }
            Op::Configure { vm } => {
                let vm = self.vms[vm];
                let old = vm.plugins();
                vm.configure(&config());
                for plugin in old {
                    vm.retire(plugin);
                }
                // The stream was the old plugin's.
                self.controller = Controller::accept(&self.host, &self.vms);
                self.controller.snapshot(vec![Kind::Pools(pools(self.endpoints)).into()]);
            }
            Op::Pass { ms } => {
                self.host.advance(Duration::from_millis(ms));
                self.tick();
            }
            Op::SetBack { ms } => self.host.set_back(Duration::from_millis(ms)),
        }
    }

    fn pick(&mut self, at: usize, is_it: fn(&Stream) -> bool) -> Option<&mut Stream> {
        self.streams.get_mut(at).filter(|stream| is_it(stream))
    }

    fn remove(&mut self, at: usize, is_it: fn(&Stream) -> bool) {
        if self.streams.get(at).is_some_and(is_it)
            && let Some(stream) = self.streams.remove(at)
        {
            stream.finish();
        }
    }

    fn send(&mut self, vm: usize, body: Body, is_batch: bool) {
        let mut stream = self.vms[vm].request();
        let path = if body == Body::Chat { "/v1/chat/completions" } else { "/v1/audio/transcriptions" };
        let mut headers = vec![(":method", "POST"), (":path", path)];
        if is_batch {
            headers.push(("x-llm-d-inference-objective", "batch"));
        }
        if body == Body::Upload {
            headers.push(("content-type", "audio/wav"));
        }
        stream.headers(&headers, body == Body::None);
        match body {
            Body::Chat => stream.body(chat(&text("whales", 2_000)).to_string().as_bytes(), true),
            // The rest of it comes later, whether the request is held or not.
            Body::Upload if stream.is_paused && stream.reply.is_none() => stream.body(&[0], false),
            Body::Upload | Body::None => {}
        }
        let what = match (&stream.reply, stream.is_paused) {
            (Some(_), _) => "refused",
            (None, true) => "held",
            (None, false) => "sent",
        };
        self.see(what);
        self.streams.push_back(stream);
    }

    fn tick(&mut self) {
        self.vms.iter().for_each(|vm| vm.tick());
        self.catch_up();
    }

    /// What ticks have brought for the streams.
    fn catch_up(&mut self) {
        let (mut on, mut replied) = (0, 0);
        for stream in &mut self.streams {
            let (was_sent, had_reply) = (is_sent(stream), stream.reply.is_some());
            stream.catch_up();
            on += u32::from(is_sent(stream) && !was_sent);
            replied += u32::from(stream.reply.is_some() && !had_reply);
        }
        *self.seen.entry("went on").or_default() += on;
        *self.seen.entry("refused later").or_default() += replied;
    }

    /// All that still waits has its endpoint, or its time is up.
    fn check_idle(&mut self) -> Result<(), TestCaseError> {
        // A clock that was set back may have moved the stream to the other VM.
        self.controller = Controller::accept(&self.host, &self.vms);
        self.controller.snapshot(vec![Kind::Pools(pools(1)).into()]);
        for _ in 0..40 {
            self.host.advance(Duration::from_secs(1));
            self.tick();
        }
        for stream in &self.streams {
            prop_assert!(is_sent(stream) || stream.reply.is_some(), "it is lost: {stream:?}");
        }
        self.streams.drain(..).for_each(Stream::finish);
        // A plugin that is configured anew reads stored loads, which count until their origins have been silent for some seconds.
        for _ in 0..30 {
            step(&self.host, &self.vms);
        }
        for vm in self.vms {
            prop_assert_eq!(vm.held(), 0);
            prop_assert_eq!(vm.endpoint("10.0.0.1:8000").in_flight().requests, 0);
        }
        Ok(())
    }
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0_usize..10;
    let body = prop_oneof![4 => Just(Body::Chat), 1 => Just(Body::Upload), 1 => Just(Body::None)];
    prop_oneof![
        8 => (0_usize..2, body, prop::bool::weighted(0.3))
            .prop_map(|(vm, body, is_batch)| Op::Send { vm, body, is_batch }),
        2 => at().prop_map(|at| Op::More { at }),
        2 => at().prop_map(|at| Op::Leave { at }),
        3 => at().prop_map(|at| Op::Complete { at }),
        1 => at().prop_map(|at| Op::TimeIsUp { at }),
        2 => (0_usize..3).prop_map(|count| Op::Endpoints { count }),
        1 => (0_usize..2).prop_map(|vm| Op::Configure { vm }),
        6 => (1_u64..8_000).prop_map(|ms| Op::Pass { ms }),
        1 => (1_u64..100_000).prop_map(|ms| Op::SetBack { ms }),
    ]
}

fn play(ops: &[Op]) -> Result<BTreeMap<&'static str, u32>, TestCaseError> {
    let host = Host::default();
    let vms = [vm(&host, &config()), vm(&host, &config())];
    let mut world = World::new(&host, [&vms[0], &vms[1]]);
    for op in ops {
        world.perform(op);
    }
    world.check_idle()?;
    Ok(world.seen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nobody_is_lost_and_nothing_stays_held(ops in prop::collection::vec(op(), 1..60)) {
        play(&ops)?;
    }
}

/// The sequences above reach what they are about.
#[test]
fn a_long_sequence_sees_every_way_to_end() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..20 {
        let ops = prop::collection::vec(op(), 200).new_tree(&mut runner).unwrap().current();
        for (what, times) in play(&ops).unwrap() {
            *seen.entry(what).or_default() += times;
        }
    }
    for what in ["sent", "held", "refused", "went on", "refused later", "time is up"] {
        assert!(seen.get(what).is_some_and(|times| *times > 0), "{what}: {seen:?}");
    }
}

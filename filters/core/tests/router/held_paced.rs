//! A pool that wakes one engine after the other: the first one gets what it can compute until the next one is there, and no more.

use crate::support::{
    Controller, EVENT_STREAM, Host, Stream, TOKEN, Vm, chat, chosen, pools_of, serve, step, text, vm,
    with_controller,
};
use std::collections::BTreeMap;
use std::time::Duration;
use warmpath_core::config::{Config, HoldLimits};
use warmpath_core::wire::{Hold, Kind, Pools, Role, Transfer, TransferProtocol, WakeTime};

/// Time between two steps of a test, in milliseconds: a tick of a busy VM.
const STEP_MS: u64 = 25;
/// Bytes of a prompt that takes an engine a third of a second.
const PROMPT_BYTES: usize = 20_000;
/// Requests that are held when the first engine comes.
const HELD: usize = 30;
/// When the second engine comes, in milliseconds after the first.
const SECOND_MS: u64 = 3_000;
/// What each prompt takes, in milliseconds.
const PREFILL_MS: u64 = 300;

/// The pool `llama` with so many engines.
fn pools(endpoints: usize) -> Pools {
    let mut pools = pools_of(0..endpoints);
    pools.pools[0].hold = Some(Hold { endpoint_ms_max: 60_000, ..Hold::default() });
    pools
}

/// A controller that names a pool without engines to the VMs.
fn asleep<'a>(host: &Host, vms: &[&'a Vm]) -> Controller<'a> {
    let mut controller = Controller::accept(host, vms);
    controller.snapshot(vec![Kind::Pools(pools(0)).into()]);
    step(host, vms);
    controller
}

fn change(controller: &mut Controller<'_>, endpoints: usize, is_growing: bool) {
    let pool = pools(endpoints).pools.remove(0);
    let wake = WakeTime { pool: pool.name.clone(), usual_ms: 0, passed_ms: None, is_growing };
    controller.delta(vec![Kind::WakeTime(wake).into(), Kind::Pool(pool).into()]);
}

fn prompt(number: usize) -> serde_json::Value {
    let mut body = chat(&text(&format!("topic {number}"), PROMPT_BYTES));
    body["stream"] = true.into();
    body
}

/// So many requests, each of another prompt.
fn prompts(vm: &Vm, count: usize) -> Vec<Stream> {
    (0..count).map(|number| serve(vm, &prompt(number))).collect()
}

/// Engines that compute one prompt after the other, and the requests on their way to them.
#[derive(Default)]
struct Engines {
    held: Vec<Stream>,
    /// What each engine has, in the order in which it came.
    sent: BTreeMap<String, Vec<Stream>>,
    /// Milliseconds that the first one has been computed for.
    had_ms: BTreeMap<String, u64>,
    /// First tokens, by engine.
    served: BTreeMap<String, usize>,
}

// === impl Engines ===

impl Engines {
    /// Takes in which requests have gone on.
    fn receive(&mut self) {
        for mut stream in std::mem::take(&mut self.held) {
            stream.catch_up();
            assert!(stream.reply.is_none(), "none is refused");
            if stream.is_paused {
                self.held.push(stream);
            } else {
                self.sent.entry(chosen(&stream)).or_default().push(stream);
            }
        }
    }

    /// One step passes.
    fn compute(&mut self) {
        for (engine, queue) in &mut self.sent {
            let had_ms = self.had_ms.entry(engine.clone()).or_default();
            *had_ms += STEP_MS;
            if queue.is_empty() {
                *had_ms = 0;
            } else if *had_ms >= PREFILL_MS {
                *had_ms = 0;
                let mut stream = queue.remove(0);
                stream.response_headers(&EVENT_STREAM, false);
                stream.response_body(TOKEN, true);
                stream.finish();
                *self.served.entry(engine.clone()).or_default() += 1;
            }
        }
    }

    fn served(&self) -> usize {
        self.served.values().sum()
    }

    /// The most that any engine has and has not computed.
    fn longest(&self) -> usize {
        self.sent.values().map(Vec::len).max().unwrap_or(0)
    }
}

#[test]
fn requests_that_waited_are_spread_over_engines_that_come_later() {
    for vms in [1, 2, 5] {
        let host = Host::default();
        let all: Vec<Vm> = (0..vms).map(|_| vm(&host, &with_controller())).collect();
        let all: Vec<&Vm> = all.iter().collect();
        let mut controller = asleep(&host, &all);
        let mut engines = Engines::default();
        for number in 0..HELD {
            engines.held.push(serve(all[number % vms], &prompt(number)));
            host.advance(Duration::from_millis(1));
        }
        step(&host, &all);
        change(&mut controller, 1, true);
        let mut last_ms = 0;
        for now_ms in (0..).step_by(usize::try_from(STEP_MS).unwrap()) {
            if now_ms == SECOND_MS {
                assert!(engines.longest() <= 6, "{} of {HELD} wait at the first one", engines.longest());
                change(&mut controller, 2, false);
            }
            host.advance(Duration::from_millis(STEP_MS));
            for vm in &all {
                vm.tick();
            }
            engines.receive();
            let has_work = engines.sent.values().any(|queue| !queue.is_empty());
            assert!(has_work || engines.held.is_empty(), "the engine never waits for requests that wait");
            engines.compute();
            if engines.served() == HELD {
                last_ms = now_ms;
                break;
            }
            assert!(now_ms < 60_000, "{} of {HELD} were served", engines.served());
        }
        let least = engines.served.values().min().unwrap();
        assert!(*least >= HELD / 4, "{vms} VMs: {:?}", engines.served);
        // With one engine alone it would take 9 s; with both from the moment at which the second one comes, 6 s.
        assert!(last_ms <= 7_000, "{vms} VMs: the last first token came after {last_ms} ms");
    }
}

#[test]
fn whoever_comes_while_others_wait_for_an_engine_is_behind_them() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = asleep(&host, &[&vm]);
    let mut streams = prompts(&vm, 20);
    change(&mut controller, 1, true);
    vm.tick();
    streams.push(serve(&vm, &chat("hello")));
    streams.iter_mut().for_each(Stream::catch_up);
    let gone_on = streams.iter().take_while(|stream| !stream.is_paused).count();
    assert!((1..10).contains(&gone_on), "{gone_on}");
    assert!(streams[gone_on..].iter().all(|stream| stream.is_paused && stream.reply.is_none()));
    change(&mut controller, 1, false);
    for _ in 0..3 {
        step(&host, &[&vm]);
    }
    streams.iter_mut().for_each(Stream::catch_up);
    assert!(streams.iter().all(|stream| !stream.is_paused), "no other engine comes");
    let next = serve(&vm, &chat("good day"));
    assert!(!next.is_paused);
    next.complete();
    streams.into_iter().for_each(Stream::complete);
}

#[test]
fn a_pool_that_grows_holds_nobody_if_nobody_waits() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = asleep(&host, &[&vm]);
    change(&mut controller, 1, true);
    vm.tick();
    let streams = prompts(&vm, 20);
    assert!(streams.iter().all(|stream| !stream.is_paused));
    streams.into_iter().for_each(Stream::complete);
}

/// There are engines: to refuse it would be worse than to let it pass those that wait.
#[test]
fn whoever_comes_when_as_many_as_may_wait_for_an_engine_that_comes_is_sent() {
    let host = Host::default();
    let hold = HoldLimits { requests_max: 12, ..HoldLimits::default() };
    let vm = vm(&host, &Config { hold, ..with_controller() });
    let mut controller = asleep(&host, &[&vm]);
    let mut streams = prompts(&vm, 12);
    change(&mut controller, 1, true);
    vm.tick();
    streams.iter_mut().for_each(Stream::catch_up);
    let is_waiting = |stream: &&Stream| stream.is_paused;
    let waiting = streams.iter().filter(is_waiting).count();
    assert!((1..12).contains(&waiting));
    for number in waiting..12 {
        streams.push(serve(&vm, &prompt(100 + number)));
        assert!(streams.last().unwrap().is_paused);
    }
    let next = serve(&vm, &chat("good day"));
    assert!(!next.is_paused && next.reply.is_none());
    next.complete();
    streams.into_iter().for_each(Stream::finish);
}

/// What is not read as one body is kept all the same.
#[test]
fn an_upload_for_which_the_proxy_has_no_room_passes_those_that_wait_for_an_engine() {
    let host = Host::default();
    let hold = HoldLimits { body_bytes_max: 300_000, ..HoldLimits::default() };
    let vm = vm(&host, &Config { hold, ..with_controller() });
    let mut controller = asleep(&host, &[&vm]);
    let streams = prompts(&vm, 12);
    change(&mut controller, 1, true);
    vm.tick();
    let mut upload = vm.request();
    let form = "multipart/form-data; boundary=x";
    let headers = [(":method", "POST"), (":path", "/v1/audio/transcriptions"), ("content-type", form)];
    upload.headers(&headers, false);
    let part = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nllama\r\n--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
    let body = [part, &"a".repeat(200_000), "\r\n--x--\r\n"].concat();
    upload.body(body.as_bytes(), true);
    assert!(upload.reply.is_none() && !upload.is_paused);
    upload.finish();
    streams.into_iter().for_each(Stream::finish);
}

/// Roles wake together, and which of them is there first is chance.
#[test]
fn requests_that_waited_are_not_decoded_by_prefill_engines_that_wake_first() {
    let host = Host::default();
    let vm = vm(&host, &with_controller());
    let mut controller = asleep(&host, &[&vm]);
    let mut streams = prompts(&vm, 4);
    let mut wake = |roles: &[Role], is_growing| {
        let mut pool = pools(roles.len()).pools.remove(0);
        for (endpoint, role) in pool.endpoints.iter_mut().zip(roles) {
            endpoint.set_role(*role);
        }
        pool.transfer = Some(Transfer { protocol: TransferProtocol::Pull.into(), ..Transfer::default() });
        let wake = WakeTime { pool: pool.name.clone(), is_growing, ..WakeTime::default() };
        controller.delta(vec![Kind::WakeTime(wake).into(), Kind::Pool(pool).into()]);
        step(&host, &[&vm]);
    };
    wake(&[Role::Prefill], true);
    streams.push(serve(&vm, &prompt(4)));
    streams.iter_mut().for_each(Stream::catch_up);
    assert!(streams.iter().all(|stream| stream.is_paused && stream.reply.is_none()));
    wake(&[Role::Prefill, Role::Decode], true);
    streams.iter_mut().for_each(Stream::catch_up);
    let gone_on: Vec<&Stream> = streams.iter().filter(|stream| !stream.request_headers.is_empty()).collect();
    let decode = &pools(2).pools[0].endpoints[1].address;
    assert!(gone_on.iter().all(|stream| chosen(stream) == *decode), "nobody decodes at a prefill engine");
    let split = streams.iter().filter(|stream| !stream.calls.is_empty()).count();
    assert!(gone_on.len() + split > 0, "an engine for responses is there");
    wake(&[Role::Prefill], false);
    streams.iter_mut().for_each(Stream::catch_up);
    assert_eq!(vm.held(), 0, "it is all there will be");
    streams.into_iter().for_each(Stream::finish);
}

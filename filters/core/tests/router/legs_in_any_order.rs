//! Requests in two legs, and whatever can happen to them in any order: the router asks nothing of a host that the host cannot do, and
//! in the end nothing is booked.

use crate::support::{Contended, PLUGIN, SoloVm, chat_with, static_config, text};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::json;
use std::collections::BTreeMap;
use warmpath_core::router::{CallId, Called, ExchangeId, Input, Output};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{PoolEndpoint, Role, Transfer, TransferProtocol};

const EXCHANGES: u32 = 5;
/// Both prefill engines, both decode engines, and one that does everything.
const ENGINES: [(&str, Role); 5] = [
    ("10.1.0.1:80", Role::Prefill),
    ("10.1.0.2:80", Role::Prefill),
    ("10.2.0.1:80", Role::Decode),
    ("10.2.0.2:80", Role::Decode),
    ("10.3.0.1:80", Role::Both),
];
const HANDOVER: &str = r#"{"usage":{"prompt_tokens":9000,"completion_tokens":1},"kv_transfer_params":{"remote_block_ids":[[1]],"remote_engine_id":"e","remote_request_id":"r","remote_host":"h","remote_port":1}}"#;

#[derive(Clone, Debug)]
enum Op {
    Send { exchange: u32, topic: u32, is_long: bool, is_stream: bool },
    Called { exchange: u32, response: Option<(u16, &'static str)> },
    Head { exchange: u32, status: u16, ends: bool },
    Chunk { exchange: u32, ends: bool },
    Ended { exchange: u32 },
    Pass { ms: u64 },
}

/// How far the host is with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Request,
    Sent,
    /// The response is held back. Whether its end has come.
    Held {
        ends: bool,
    },
    Response,
    Replied,
}

#[derive(Debug)]
struct Open {
    phase: Phase,
    body: Vec<u8>,
    calls: Vec<CallId>,
}

struct World {
    vm: SoloVm,
    now: Timestamp,
    open: BTreeMap<u32, Open>,
    /// What was seen, so that a run that plays nothing is found out.
    seen: BTreeMap<&'static str, u32>,
}

// === impl World ===

impl World {
    fn new(protocol: TransferProtocol) -> Self {
        let mut config = static_config(0);
        let pool = &mut config.pools.pools[0];
        for (address, role) in ENGINES {
            let mut endpoint = PoolEndpoint { address: address.to_owned(), ..PoolEndpoint::default() };
            endpoint.set_role(role);
            pool.endpoints.push(endpoint);
        }
        pool.transfer =
            Some(Transfer { protocol: protocol.into(), bootstrap_port: 8998, cluster: "c".to_owned() });
        let now = Timestamp::from_ms(1_000_000);
        let vm = SoloVm::new(&Contended::default(), config, 7, now);
        Self { vm, now, open: BTreeMap::new(), seen: BTreeMap::new() }
    }

    fn perform(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Send { exchange, topic, is_long, is_stream } => {
                self.send(exchange, (topic, is_long, is_stream))?;
            }
            Op::Called { exchange, response } => self.called(exchange, response)?,
            Op::Head { exchange, status, ends } => {
                if self.phase(exchange) == Some(Phase::Sent) {
                    self.set(exchange, Phase::Response);
                    let (id, address) = (ExchangeId(exchange), "10.2.0.1:80");
                    let head = Input::ResponseHead {
                        exchange: id,
                        status: Some(status),
                        headers: &[],
                        served_by: Some(address),
                        ends,
                    };
                    self.handle(exchange, head, ends)?;
                }
            }
            Op::Chunk { exchange, ends } => {
                // What comes of a response that is held back is not reported before it goes on.
                if self.phase(exchange) == Some(Phase::Response) {
                    let tail = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
                    let chunk = Input::ResponseChunk {
                        exchange: ExchangeId(exchange),
                        bytes: tail.len(),
                        tail,
                        ends,
                    };
                    self.handle(exchange, chunk, ends)?;
                }
            }
            Op::Ended { exchange } => self.end(exchange)?,
            Op::Pass { ms } => {
                self.now = self.now.plus_ms(ms);
                self.tick()?;
            }
        }
        Ok(())
    }

    fn phase(&self, exchange: u32) -> Option<Phase> {
        self.open.get(&exchange).map(|open| open.phase)
    }

    fn set(&mut self, exchange: u32, phase: Phase) {
        if let Some(open) = self.open.get_mut(&exchange) {
            open.phase = phase;
        }
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn send(
        &mut self,
        exchange: u32,
        (topic, is_long, is_stream): (u32, bool, bool),
    ) -> Result<(), TestCaseError> {
        if self.open.contains_key(&exchange) {
            return Ok(());
        }
        let bytes = if is_long { 60_000 } else { 60 };
        let body =
            chat_with(&text(&format!("topic {topic}"), bytes), &json!({"stream": is_stream})).to_string();
        let body = body.into_bytes();
        let buffered_bytes = body.len();
        self.open.insert(exchange, Open { phase: Phase::Request, body, calls: Vec::new() });
        let headers = [(":method", "POST"), (":path", "/v1/chat/completions"), (":authority", "a")];
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let id = ExchangeId(exchange);
        let head = Input::RequestHead {
            exchange: id,
            plugin: PLUGIN,
            headers: &headers,
            cluster: Some("engines"),
            ends: false,
        };
        self.handle(exchange, head, false)?;
        let pauses =
            self.handle(exchange, Input::RequestData { exchange: id, buffered_bytes, ends: true }, false)?;
        if !pauses && self.phase(exchange) == Some(Phase::Request) {
            self.set(exchange, Phase::Sent);
        }
        Ok(())
    }

    fn called(&mut self, exchange: u32, response: Option<(u16, &'static str)>) -> Result<(), TestCaseError> {
        let call = self.open.get_mut(&exchange).and_then(|open| open.calls.pop());
        let Some(call) = call else { return Ok(()) };
        let response = response.map(|(status, body)| Called { status, body: body.as_bytes() });
        self.handle(exchange, Input::Called { exchange: ExchangeId(exchange), call, response }, false)?;
        Ok(())
    }

    fn end(&mut self, exchange: u32) -> Result<(), TestCaseError> {
        if self.open.remove(&exchange).is_some() {
            let out = self.vm.handle(self.now, Input::Ended { exchange: ExchangeId(exchange) });
            let asks = out.iter().any(|output| matches!(output, Output::Call(_) | Output::Reply(_)));
            prop_assert!(!asks, "nobody is there");
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), TestCaseError> {
        self.vm.handle(self.now, Input::Tick { plugin: PLUGIN });
        let mut entered = None;
        for output in std::mem::take(&mut self.vm.out) {
            match output {
                Output::Enter { exchange } => entered = Some(exchange.0),
                Output::Leave { .. } => entered = None,
                Output::Call(call) => {
                    let id = entered.expect("a tick has no request");
                    let open = self.open.get_mut(&id).expect("it is open");
                    prop_assert_eq!(open.phase, Phase::Sent);
                    open.calls.push(call.id);
                    self.see("overdue");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Performs what comes of an input as a host does. Returns whether the callback pauses.
    fn handle(&mut self, exchange: u32, input: Input<'_>, ends: bool) -> Result<bool, TestCaseError> {
        self.vm.handle(self.now, input);
        let (mut pauses, mut reads_body) = (false, false);
        for output in std::mem::take(&mut self.vm.out) {
            let open = self.open.get_mut(&exchange).expect("it is open");
            match output {
                Output::Pause => {
                    pauses = true;
                    if open.phase == Phase::Response {
                        open.phase = Phase::Held { ends };
                    }
                }
                Output::ReadBody => {
                    prop_assert_eq!(open.phase, Phase::Request);
                    reads_body = true;
                }
                Output::SetRequestBody { old_bytes, body } => {
                    prop_assert_eq!((open.phase, old_bytes), (Phase::Request, open.body.len()));
                    open.body = body;
                }
                Output::SetRequestHeader(..) => prop_assert_eq!(open.phase, Phase::Request),
                Output::Resume => {
                    prop_assert_eq!(open.phase, Phase::Request);
                    open.phase = Phase::Sent;
                    self.see("resumed");
                }
                Output::Call(call) => {
                    prop_assert!(!matches!(open.phase, Phase::Response | Phase::Replied), "{:?}", open.phase);
                    open.calls.push(call.id);
                    prop_assert!(open.calls.len() <= 8, "calls without end");
                    self.see("called");
                }
                Output::Reply(_) => {
                    prop_assert!(!matches!(open.phase, Phase::Response | Phase::Replied), "{:?}", open.phase);
                    open.phase = Phase::Replied;
                    self.see("replied");
                }
                Output::ResumeResponse => {
                    let Phase::Held { ends } = open.phase else {
                        return Err(TestCaseError::fail(format!("{:?} is not held", open.phase)));
                    };
                    open.phase = if ends { Phase::Replied } else { Phase::Response };
                    self.see("response resumed");
                }
                Output::Enter { .. } | Output::Leave { .. } => prop_assert!(false, "outside of a tick"),
                _ => {}
            }
        }
        if reads_body {
            let body = self.open[&exchange].body.clone();
            let input = Input::RequestBody { exchange: ExchangeId(exchange), body: &body };
            return self.handle(exchange, input, false);
        }
        Ok(pauses)
    }

    fn check_idle(&mut self) -> Result<(), TestCaseError> {
        for exchange in 0..EXCHANGES {
            self.end(exchange)?;
        }
        self.now = self.now.plus_ms(600_000);
        self.tick()?;
        for (address, _) in ENGINES {
            prop_assert_eq!(self.vm.in_flight(address), (0, 0), "{}", address);
        }
        prop_assert_eq!(self.vm.router.ledger().requests(), 0);
        Ok(())
    }
}

fn op() -> impl Strategy<Value = Op> {
    let exchange = || 0..EXCHANGES;
    let response = prop_oneof![
        6 => Just(Some((200_u16, HANDOVER))),
        1 => Just(None),
        3 => prop::sample::select(vec![
            Some((200, "{}")),
            Some((200, "<html>")),
            Some((400, "{}")),
            Some((404, "{}")),
            Some((500, "")),
            Some((503, "")),
            Some((504, "")),
        ]),
    ];
    let status = prop_oneof![3 => Just(200_u16), 3 => prop::sample::select(vec![400, 404, 429, 500, 503])];
    prop_oneof![
        6 => (exchange(), 0_u32..6, prop::bool::weighted(0.7), any::<bool>())
            .prop_map(|(exchange, topic, is_long, is_stream)| Op::Send { exchange, topic, is_long, is_stream }),
        6 => (exchange(), response).prop_map(|(exchange, response)| Op::Called { exchange, response }),
        4 => (exchange(), status, prop::bool::weighted(0.2))
            .prop_map(|(exchange, status, ends)| Op::Head { exchange, status, ends }),
        3 => (exchange(), prop::bool::weighted(0.3)).prop_map(|(exchange, ends)| Op::Chunk { exchange, ends }),
        2 => exchange().prop_map(|exchange| Op::Ended { exchange }),
        1 => (0_u64..15_000).prop_map(|ms| Op::Pass { ms }),
    ]
}

fn play(protocol: TransferProtocol, ops: &[Op]) -> Result<BTreeMap<&'static str, u32>, TestCaseError> {
    let mut world = World::new(protocol);
    for op in ops {
        world.perform(op)?;
    }
    world.check_idle()?;
    Ok(world.seen)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_host_can_do_what_it_is_asked_and_nothing_stays_booked(
        ops in prop::collection::vec(op(), 1..60),
        protocol in prop::sample::select(vec![
            TransferProtocol::Pull,
            TransferProtocol::Bootstrap,
            TransferProtocol::ContextFirst,
        ]),
    ) {
        play(protocol, &ops)?;
    }
}

/// The sequences above reach what they are about.
#[test]
fn a_long_sequence_sees_every_way_to_end() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..120 {
        let ops = prop::collection::vec(op(), 200).new_tree(&mut runner).unwrap().current();
        for (what, times) in play(TransferProtocol::Pull, &ops).unwrap() {
            *seen.entry(what).or_default() += times;
        }
    }
    for what in ["called", "resumed", "replied", "response resumed", "overdue"] {
        assert!(seen.get(what).is_some_and(|times| *times > 0), "{what}: {seen:?}");
    }
}

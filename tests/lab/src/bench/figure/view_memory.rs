//! Memory of a view in a VM: the built filter in the test host, fed over the state stream as the controller would.
//!
//! Linear memory grows and never shrinks, in Envoy as here: what is told is how far it has grown when the view holds a
//! million cells, which includes what was free again by then.

use super::world::{Chance, fleet, routed};
use crate::paths;
use anyhow::{Context, ensure};
use prost::Message;
use serde_json::json;
use warmpath_core::ids::CellHash;
use warmpath_core::wire::{Down, Event, Phase};
use warmpath_host::{GrpcState, Host, Module, Vm};

/// Cells of the view.
pub const CELLS: usize = 1_000_000;

/// Endpoints that hold them.
const ENDPOINTS: usize = 8;

/// Events in one message of the stream.
const EVENTS_PER_MESSAGE: usize = 64;

/// Time between two ticks of the VM, and ticks until it must have opened its stream.
const TICK: std::time::Duration = std::time::Duration::from_millis(250);
const TICKS_MAX: usize = 24;

/// The filter's own count.
const CELLS_METRIC: &str = "warmpath.view.cells";

/// What was routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompts {
    /// Prompts of so many cells that have nothing in common.
    Apart(usize),
    /// Conversations of eight turns, in groups with a system prompt: each turn is routed whole.
    Conversations,
}

/// One kind of prompts.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewMemory {
    /// What was routed.
    pub prompts: Prompts,
    /// Distinct cells that the VM counted at the end.
    pub cells: u64,
    /// By how much its memory grew.
    pub bytes: usize,
}

// === impl Prompts ===

impl Prompts {
    /// All kinds that are measured: short prompts, long ones, and what is usual.
    pub const ALL: [Self; 3] = [Self::Apart(16), Self::Apart(128), Self::Conversations];

    /// In a few words.
    pub fn label(self) -> String {
        match self {
            Self::Apart(cells) => format!("prompts of {cells} cells, nothing shared"),
            Self::Conversations => "conversations of 8 turns, shared system prompts".to_owned(),
        }
    }
}

/// Measures all kinds.
pub fn measure(seed: u64) -> anyhow::Result<Vec<ViewMemory>> {
    let module = Module::load(paths::wasm()?)?;
    Prompts::ALL.into_iter().map(|prompts| fill(&module, prompts, Chance(seed))).collect()
}

fn fill(module: &Module, prompts: Prompts, mut chance: Chance) -> anyhow::Result<ViewMemory> {
    let host = Host::default();
    let vm = host.vm(module)?;
    let config = json!({ "controller": { "cluster": "controller" } });
    ensure!(vm.configure(config.to_string().as_bytes())?, "the filter refused its configuration");
    let mut feed = Feed::open(&host, &vm)?;
    feed.down(Phase::Begin, Vec::new())?;
    feed.down(Phase::Item, fleet(ENDPOINTS, &mut chance))?;
    feed.down(Phase::Done, Vec::new())?;
    let before = vm.memory_bytes();
    let (mut events, mut cells) = (Vec::new(), 0);
    let mut source = Source::new(prompts);
    while cells < CELLS {
        let (endpoint, chain, new) = source.next(&mut chance);
        cells += new;
        events.push(routed(endpoint, &chain));
        if events.len() == EVENTS_PER_MESSAGE || cells >= CELLS {
            feed.down(Phase::Delta, std::mem::take(&mut events))?;
        }
    }
    let bytes = vm.memory_bytes() - before;
    tick(&host, &vm)?;
    let counted = host.metric(CELLS_METRIC).unwrap_or_default();
    ensure!(counted >= CELLS as u64, "the view holds {counted} cells, not {CELLS}");
    Ok(ViewMemory { prompts, cells: counted, bytes })
}

/// The controller's end of the stream.
struct Feed<'a> {
    vm: &'a Vm,
    stream: u32,
    generation: u64,
}

// === impl Feed ===

impl<'a> Feed<'a> {
    fn open(host: &Host, vm: &'a Vm) -> anyhow::Result<Self> {
        for _ in 0..TICKS_MAX {
            let streams = vm.grpc_streams();
            if let Some(stream) = streams.iter().find(|stream| stream.state == GrpcState::Open) {
                return Ok(Self { vm, stream: stream.id, generation: 1 });
            }
            tick(host, vm)?;
        }
        anyhow::bail!("the filter has not opened its stream")
    }

    fn down(&mut self, phase: Phase, events: Vec<Event>) -> anyhow::Result<()> {
        self.generation += 1;
        let generation = if matches!(phase, Phase::Begin | Phase::Item) { 0 } else { self.generation };
        let down = Down { instance: 1, generation, phase: phase.into(), events };
        ensure!(self.vm.grpc_message(self.stream, &down.encode_to_vec())?, "the filter closed its stream");
        Ok(())
    }
}

fn tick(host: &Host, vm: &Vm) -> anyhow::Result<()> {
    for _ in 0..5 {
        host.advance(TICK);
        vm.tick().context("the filter trapped")?;
    }
    Ok(())
}

/// Where prompts come from.
struct Source {
    prompts: Prompts,
    systems: Vec<Vec<CellHash>>,
    chain: Vec<CellHash>,
    endpoint: usize,
    turn: usize,
}

// === impl Source ===

impl Source {
    const GROUPS: usize = 150;
    const SYSTEM_CELLS: usize = 32;
    const TURN_CELLS: usize = 12;
    const TURNS: usize = 8;

    fn new(prompts: Prompts) -> Self {
        Self { prompts, systems: Vec::new(), chain: Vec::new(), endpoint: 0, turn: 0 }
    }

    /// An endpoint, the chain that it is sent, and how many cells of it are new.
    fn next(&mut self, chance: &mut Chance) -> (usize, Vec<CellHash>, usize) {
        let cells = match self.prompts {
            Prompts::Apart(cells) => return (chance.below(ENDPOINTS), chance.chain(cells), cells),
            Prompts::Conversations => Self::TURN_CELLS,
        };
        if self.turn == 0 {
            let group = chance.below(Self::GROUPS);
            while self.systems.len() <= group {
                self.systems.push(chance.chain(Self::SYSTEM_CELLS));
            }
            self.chain = self.systems.get(group).cloned().unwrap_or_default();
            self.endpoint = chance.below(ENDPOINTS);
        }
        self.turn = (self.turn + 1) % Self::TURNS;
        self.chain.extend(chance.chain(cells));
        (self.endpoint, self.chain.clone(), cells)
    }
}

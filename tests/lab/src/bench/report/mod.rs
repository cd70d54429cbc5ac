//! What was found, told three times: tables on the terminal, JSON for programs, one HTML page for people; each figure
//! beside what it is to be.

mod burst;
mod chunk;
mod compare;
mod cost;
mod llm_d;
mod proxy;
mod scale;

use crate::bench::figure::burst::BurstCase;
use crate::bench::figure::chunk::ChunkCase;
use crate::bench::figure::cost::CostCase;
use crate::bench::figure::decision::DecisionCase;
use crate::bench::figure::feed::Feed;
use crate::bench::figure::view_memory::ViewMemory;
use crate::bench::figure::wasm::Wasm;
use crate::bench::target::{ENGINES, Target, version};
use serde_json::{Map, Value, json};
use std::path::Path;
use warmpath_report::{Document, Goal, Limit, Section, Table, Verdict, number};

/// What goals are, wherever they are counted.
const ABOUT_GOALS: &str = "Goals are the project's own aims. A missed one is a finding and no failure of the run: its exit \
                           code is 0 all the same.";

/// What is to be known of a run with few repetitions.
const ABOUT_QUICK: &str = "This was a quick run, of few requests and repetitions: whether it meets a goal is a rough guess. \
                           A run without --quick says more.";

/// How all figures came about.
const METHOD: &str = "Engines, controller and targets run in processes of their own; the kernel tells the processor time of \
                      each thread. Targets take turns within a repetition, and ratios compare those of one repetition. \
                      Peers run with their own defaults, but for the policy that knows of caches. llm-d was measured once \
                      on such a machine; its figures are scaled by what Envoy costs here.";

/// Facts shown on top, by the beginning of their goals' names.
const FACTS: [&str; 3] = [
    "processor time of a request, 8 KB, against",
    "processor time of a streamed piece, 32 streams, usage not asked, over",
    "feed, usable",
];

/// How a run was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info {
    /// Whether it was one with few requests.
    pub is_quick: bool,
    /// How often each measurement was repeated.
    pub repetitions: usize,
    /// Connections that sent requests at the same time.
    pub connections: usize,
    /// Cores of the machine.
    pub cores: usize,
    /// The targets that ran.
    pub targets: Vec<Target>,
}

/// One figure, as it was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Requests.
    Cost(Vec<CostCase>),
    /// Streamed pieces.
    Chunk(Vec<ChunkCase>),
    /// Many long prompts at once.
    Burst(Vec<BurstCase>),
    /// Decisions.
    Decision(Vec<DecisionCase>),
    /// Memory of a view.
    ViewMemory(Vec<ViewMemory>),
    /// The feed.
    Feed(Feed),
    /// The filter itself.
    Wasm(Wasm),
}

/// A run.
#[derive(Debug)]
pub struct Report {
    info: Info,
    json: Map<String, Value>,
    sections: Vec<Section>,
    has_targets: bool,
}

// === impl Report ===

impl Report {
    /// A run in which nothing was measured yet.
    pub fn new(info: Info) -> Self {
        let run =
            info.lines().into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>();
        Self {
            info,
            json: Map::from_iter([("run".to_owned(), Value::Object(run))]),
            sections: Vec::new(),
            has_targets: false,
        }
    }

    /// Takes a figure in, and prints its table; before the first one with targets, who they are.
    pub fn add(&mut self, found: &Found) {
        if found.has_targets() && !self.has_targets {
            self.has_targets = true;
            print!("{}", self.names().to_text());
        }
        let section = found.section();
        print!("{}", section.to_text());
        self.json.extend(found.json().into_iter().map(|(name, value)| (name.to_owned(), value)));
        self.sections.push(section);
    }

    /// The JSON.
    pub fn to_json(&self) -> Value {
        let mut json = self.json.clone();
        json.insert("goals".to_owned(), self.goals().map(goal_json).collect());
        Value::Object(json)
    }

    /// The whole of it.
    pub fn document(&self) -> Document {
        let about = "The figures above are Warmpath's, and lower is better: x is how many times as much it takes as what it is \
                     held against, 1.0 x is as cheap.";
        let quick = self.info.is_quick.then_some(ABOUT_QUICK);
        let method = Section {
            title: "How it was measured".to_owned(),
            notes: vec![METHOD.to_owned()],
            table: Table::pairs(self.info.lines()),
            is_for_page: true,
            ..Section::default()
        };
        let names = self.has_targets.then(|| self.names());
        Document {
            title: "What routing costs, beside plain Envoy and other routers".to_owned(),
            lead: "The same requests to the same simulated engines, through each target in turn, on one machine in one run."
                .to_owned(),
            facts: self.facts(),
            notes: [about, ABOUT_GOALS].into_iter().chain(quick).map(str::to_owned).collect(),
            sections: names.into_iter().chain(self.sections.iter().cloned()).chain([method]).collect(),
        }
    }

    /// Writes `report.json` and `report.html`, and says where and how many goals were met.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        println!("\n{} goals met. {ABOUT_GOALS}", self.met());
        if self.info.is_quick {
            println!("{ABOUT_QUICK}");
        }
        for path in self.document().write(folder, &format!("{:#}\n", self.to_json()))? {
            println!("{}", path.display());
        }
        Ok(())
    }

    /// The few numbers to remember, without the spread, which the tables have.
    fn facts(&self) -> Vec<(String, String)> {
        let is_fact = |goal: &&Goal| FACTS.iter().any(|name| goal.name.starts_with(name));
        let fact = |goal: &Goal| {
            let unit = goal.unit.name();
            (format!("{} {unit}", number(goal.found.median)), goal.name.clone())
        };
        let met = (self.met(), "goals met".to_owned());
        self.goals().filter(is_fact).map(fact).chain([met]).collect()
    }

    fn met(&self) -> String {
        let met = self.goals().filter(|goal| goal.verdict() == Verdict::Met).count();
        format!("{met} of {}", self.goals().count())
    }

    /// The rows of its tables and what they are.
    fn names(&self) -> Section {
        let targets = self.info.targets.iter().map(|target| (target.name(), target.description()));
        // It is scaled by one of these two.
        let is_scaled =
            self.info.targets.iter().any(|target| matches!(target, Target::Plain | Target::Buffer));
        let names = targets.chain(is_scaled.then_some((llm_d::NAME, llm_d::DESCRIPTION)));
        Section { title: "Who is measured".to_owned(), table: Table::pairs(names), ..Section::default() }
    }

    fn goals(&self) -> impl Iterator<Item = &Goal> {
        self.sections.iter().flat_map(|section| &section.goals)
    }
}

// === impl Found ===

impl Found {
    /// Whether its table has a row for each target.
    fn has_targets(&self) -> bool {
        matches!(self, Self::Cost(_) | Self::Chunk(_) | Self::Burst(_))
    }

    fn section(&self) -> Section {
        match self {
            Self::Cost(cases) => cost::section(cases),
            Self::Chunk(cases) => chunk::section(cases),
            Self::Burst(cases) => burst::section(cases),
            Self::Decision(cases) => scale::decision(cases),
            Self::ViewMemory(all) => scale::view_memory(all),
            Self::Feed(found) => proxy::feed(found),
            Self::Wasm(found) => proxy::wasm(found),
        }
    }

    fn json(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Cost(cases) => {
                vec![("cost", cost::json(cases)), ("cost_references", cost::references_json(cases))]
            }
            Self::Chunk(cases) => vec![("chunk", chunk::json(cases))],
            Self::Burst(cases) => vec![("burst", burst::json(cases))],
            Self::Decision(cases) => vec![("decision", scale::decision_json(cases))],
            Self::ViewMemory(all) => vec![("view_memory", scale::view_memory_json(all))],
            Self::Feed(found) => vec![("feed", proxy::feed_json(found))],
            Self::Wasm(found) => vec![("wasm", proxy::wasm_json(found))],
        }
    }
}

// === impl Info ===

impl Info {
    /// Names and values.
    fn lines(&self) -> Vec<(String, String)> {
        let mut lines = vec![
            (
                "kind".to_owned(),
                if self.is_quick { "quick: few requests, rough verdicts" } else { "usual" }.to_owned(),
            ),
            ("repetitions".to_owned(), self.repetitions.to_string()),
            ("connections".to_owned(), self.connections.to_string()),
            ("engines".to_owned(), format!("{ENGINES}, simulated")),
            ("cores".to_owned(), self.cores.to_string()),
            ("warmpath".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let peers = self.targets.iter().filter(|target| target.is_peer());
        lines.extend(peers.map(|peer| (peer.name().to_owned(), format!("{}, cache_aware", version(*peer)))));
        lines
    }
}

/// A goal as other programs read it.
fn goal_json(goal: &Goal) -> Value {
    let (kind, bound) = match goal.limit {
        Limit::AtMost(most, _) => ("at_most", most),
        Limit::AtLeast(least) => ("at_least", least),
    };
    let is_met = goal.verdict() == Verdict::Met;
    json!({ "name": goal.name, "unit": goal.unit.name(), "found": goal.found, kind: bound, "is_met": is_met })
}

#[cfg(test)]
mod tests;

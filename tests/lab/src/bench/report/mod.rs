//! What was found, told three times: tables on the terminal, JSON for programs, one HTML page for people; each figure
//! beside what it is to be.

mod burst;
mod chart;
mod chunk;
mod compare;
mod cost;
mod html;
mod llm_d;
mod proxy;
mod scale;
mod section;
mod table;

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};

use self::section::{Goal, Section};
use crate::bench::figure::burst::BurstCase;
use crate::bench::figure::chunk::ChunkCase;
use crate::bench::figure::cost::CostCase;
use crate::bench::figure::decision::DecisionCase;
use crate::bench::figure::feed::Feed;
use crate::bench::figure::view_memory::ViewMemory;
use crate::bench::figure::wasm::Wasm;
use crate::bench::target::{ENGINES, Target, version};

/// What goals are, wherever they are counted.
const ABOUT_GOALS: &str = "Goals are the project's own aims. A missed one is a finding and no failure of the run: its exit \
                           code is 0 all the same.";

/// What is to be known of a run with few repetitions.
const ABOUT_QUICK: &str = "This was a quick run, of few requests and repetitions: whether it meets a goal is a rough guess. \
                           A run without --quick says more.";

/// How a run was made.
#[derive(Debug, Clone, Default, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
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
            println!("{}", table::names(&self.names()));
        }
        let section = found.section();
        println!("{}", table::section(&section));
        self.json.extend(found.json().into_iter().map(|(name, value)| (name.to_owned(), value)));
        self.sections.push(section);
    }

    /// The JSON.
    pub fn to_json(&self) -> Value {
        let mut json = self.json.clone();
        json.insert("goals".to_owned(), json!(self.goals().collect::<Vec<_>>()));
        Value::Object(json)
    }

    /// The page. It needs nothing but itself.
    pub fn to_html(&self) -> String {
        html::render(self)
    }

    /// Writes `report.json` and `report.html`, and says where and how many goals were met.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (met, all) = (self.goals().filter(|goal| goal.is_met()).count(), self.goals().count());
        println!("\n{met} of {all} goals met. {ABOUT_GOALS}");
        if self.info.is_quick {
            println!("{ABOUT_QUICK}");
        }
        let json = format!("{:#}\n", self.to_json());
        for (name, text) in [("report.json", json), ("report.html", self.to_html())] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
        Ok(())
    }

    /// The rows of its tables and what they stand for; none where no target was measured.
    fn names(&self) -> Vec<(&'static str, &'static str)> {
        if !self.has_targets {
            return Vec::new();
        }
        let targets = self.info.targets.iter().map(|target| (target.name(), target.description()));
        // It is scaled by one of these two.
        let is_scaled =
            self.info.targets.iter().any(|target| matches!(target, Target::Plain | Target::Buffer));
        targets.chain(is_scaled.then_some((llm_d::NAME, llm_d::DESCRIPTION))).collect()
    }

    fn goals(&self) -> impl Iterator<Item = &Goal> {
        self.sections.iter().flat_map(|section| &section.goals)
    }

    fn sections(&self) -> &[Section] {
        &self.sections
    }
}

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

#[cfg(test)]
mod tests;

//! `faults`: what clients notice while parts fail. Real Envoy, built filter, controller; only the engines are simulated.
//!
//! ```text
//!  scrapes | controller | first | traps | engine | apart | held ─► setting (cluster) ─► traffic (clients) ─► verdict (a row of the table)
//! ```
//!
//! Each scenario is a file. It plays at least a thousand requests, and is right when no more of them are lost than its
//! limit allows: none, but for those that meet an engine before anybody can know that it fails. The times are wall time,
//! because what is shown is how fast proxy and controller notice, and these do not run faster than real.

mod apart;
mod controller;
mod engine;
mod first;
mod held;
mod scrapes;
mod setting;
mod traffic;
mod traps;
mod verdict;

pub use apart::Failing;
pub use held::Holding;

use crate::args::FaultsArgs;
use anyhow::bail;
use std::fmt;
use std::str::FromStr;
use verdict::Verdict;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// All scrapes fail, under load and after a pause.
    Scrapes,
    /// The controller is gone, with engines busy at that moment.
    Controller,
    /// Envoy starts before any controller.
    First,
    /// One VM of sixteen traps again and again.
    Traps,
    /// One engine never responds.
    Silent,
    /// One engine responds 500 at once.
    Error,
    /// One engine responds 404 at once.
    Missing,
    /// One engine responds 200 and ends without a token.
    Empty,
    /// Something of those that compute prompts and generate apart.
    Apart(Failing),
    /// Something happens to requests that are held.
    Held(Holding),
}

/// A name that no scenario has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scenario {0:?}, known are {known}", known = Scenario::ALL.map(Scenario::name).join(", "))]
pub struct UnknownScenario(String);

// === impl Scenario ===

impl Scenario {
    /// All of them, in the order in which they are played.
    pub const ALL: [Self; 21] = [
        Self::Scrapes,
        Self::Controller,
        Self::First,
        Self::Traps,
        Self::Silent,
        Self::Error,
        Self::Missing,
        Self::Empty,
        Self::Apart(Failing::PrefillKilled),
        Self::Apart(Failing::PrefillStalled),
        Self::Apart(Failing::PrefillError),
        Self::Apart(Failing::PrefillNonsense),
        Self::Apart(Failing::DecodeKilled),
        Self::Apart(Failing::PrefillGone),
        Self::Apart(Failing::Controller),
        Self::Apart(Failing::Leaving),
        Self::Held(Holding::Wake),
        Self::Held(Holding::Leave),
        Self::Held(Holding::Reload),
        Self::Held(Holding::Trap),
        Self::Held(Holding::Controller),
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scrapes => "scrapes",
            Self::Controller => "controller",
            Self::First => "first",
            Self::Traps => "traps",
            Self::Silent => "silent",
            Self::Error => "error",
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Apart(failing) => failing.name(),
            Self::Held(holding) => holding.name(),
        }
    }

    async fn play(self, args: &FaultsArgs) -> anyhow::Result<Verdict> {
        match self {
            Self::Scrapes => scrapes::play(args).await,
            Self::Controller => controller::play(args).await,
            Self::First => first::play().await,
            Self::Traps => traps::play().await,
            Self::Silent | Self::Error | Self::Missing | Self::Empty => engine::play(self).await,
            Self::Apart(failing) => apart::play(failing).await,
            Self::Held(holding) => held::play(holding).await,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, UnknownScenario> {
        let mut all = Self::ALL.into_iter();
        all.find(|scenario| scenario.name() == name).ok_or_else(|| UnknownScenario(name.to_owned()))
    }
}

/// Plays the scenarios and prints their table; an error when one of them is not right.
pub async fn run(args: &FaultsArgs) -> anyhow::Result<()> {
    let mut verdicts = Vec::new();
    for scenario in &args.scenarios {
        println!("{scenario} ...");
        verdicts.push(scenario.play(args).await?);
    }
    println!("{}", verdict::table(&verdicts).to_text());
    let wrong: Vec<_> =
        verdicts.iter().filter(|verdict| !verdict.is_right()).map(|verdict| verdict.scenario).collect();
    if !wrong.is_empty() {
        bail!("not as it should be: {}", wrong.join(", "));
    }
    Ok(())
}

//! The command line.

use crate::arm::{ABLATIONS, Arm, FixedName};
use crate::mixture::Mixture;
use crate::pool::{ENGINES, Pool};
use crate::rules::RuleName;
use crate::scaling::POLICIES;
use crate::scenario::Scenario;
use clap::Parser;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use std::path::PathBuf;

/// Proxies of the arm that has several.
pub const PROXIES_DEFAULT: usize = 4;
/// Workers of each of them.
pub const WORKERS_DEFAULT: usize = 2;
/// How late a message between a proxy and the controller is, in milliseconds.
pub const DELAY_MS_DEFAULT: f64 = 5.0;
/// And how much more at most.
pub const JITTER_MS_DEFAULT: f64 = 2.5;
/// How late what engines report of their caches reaches the controller, in milliseconds.
pub const REPORTS_MS_DEFAULT: f64 = 5.0;
/// Share of messages with which their stream breaks.
pub const BREAKS_DEFAULT: f64 = 0.001;
/// How often metrics are read, in milliseconds: the default of the shipped controller.
pub const SCRAPE_MS_DEFAULT: f64 = 200.0;

/// Plays recorded traces against the routing core that ships and other published rules, and compares.
#[derive(Clone, Debug, Parser)]
#[command(version, after_help = known())]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the command line")]
pub struct Args {
    /// Which workloads to play, by name (below); all by default.
    #[arg(long, value_delimiter = ',')]
    pub workloads: Vec<String>,
    /// Which rules to play, by name (below); all by default, with the bound, several proxies and ablations.
    #[arg(long, value_delimiter = ',')]
    pub rules: Vec<String>,
    /// Seeds of texts, order, arrivals, ties and the network; each is a run of its own.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub seeds: Vec<u64>,
    /// A trace of your own: Mooncake (.jsonl), Azure (.csv) or sessions (.jsonl), also with .gz behind it.
    #[arg(long)]
    pub trace: Option<PathBuf>,
    /// How many times faster than recorded that trace is played; sessions are not, they have no clock.
    #[arg(long, requires = "trace", default_value_t = 1.0, value_parser = positive)]
    pub speed: f64,
    /// The engines that it is played on, by name (below).
    #[arg(long, requires = "trace", default_value_t = Pool::default(), hide_possible_values = true, value_parser = PossibleValuesParser::new(Pool::ALL.map(Pool::name)).try_map(|name| name.parse::<Pool>()))]
    pub pool: Pool,
    /// Requests of a workload at most.
    #[arg(long)]
    pub requests: Option<usize>,
    /// How many proxies share the traffic beside the one router for which nothing is late; 1, with one worker: none.
    #[arg(long, default_value_t = PROXIES_DEFAULT, value_parser = some)]
    pub proxies: usize,
    /// How many workers each of those proxies has.
    #[arg(long, default_value_t = WORKERS_DEFAULT, value_parser = some)]
    pub workers: usize,
    /// How late each message between those proxies and the controller is, in milliseconds.
    #[arg(long, default_value_t = DELAY_MS_DEFAULT, value_parser = not_negative)]
    pub delay_ms: f64,
    /// By how much more it may be late, in milliseconds.
    #[arg(long, default_value_t = JITTER_MS_DEFAULT, value_parser = not_negative)]
    pub jitter_ms: f64,
    /// How late what engines report of their caches reaches the controller, in milliseconds, where they report.
    #[arg(long, default_value_t = REPORTS_MS_DEFAULT, value_parser = not_negative)]
    pub reports_ms: f64,
    /// Share of the batches of such reports that are lost on the way to the controller, which asks for them again.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub lost_reports: f64,
    /// Share of those messages with which their stream breaks.
    #[arg(long, default_value_t = BREAKS_DEFAULT, value_parser = share)]
    pub breaks: f64,
    /// Restarts the controller of those proxies every so many seconds.
    #[arg(long, value_parser = positive)]
    pub controller_restarts_s: Option<f64>,
    /// Rebuilds the VM of one of their workers every so many seconds, as after a trap.
    #[arg(long, value_parser = positive)]
    pub vm_rebuilds_s: Option<f64>,
    /// What else there is to traffic and engines.
    #[command(flatten)]
    pub mixture: Mixture,
    /// How many engines only decode where rules need such, on the pool `split`; each workload has its own number.
    #[arg(long, value_parser = decoders)]
    pub decoders: Option<usize>,
    /// How often each engine's metrics are read, in milliseconds.
    #[arg(long, default_value_t = SCRAPE_MS_DEFAULT, value_parser = positive)]
    pub scrape_ms: f64,
    /// Threads; as many as the machine has by default. The result does not depend on it.
    #[arg(long)]
    pub threads: Option<usize>,
    /// Where the report goes, instead of the target folder.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Leaves out the published ladders that the simulator is checked against.
    #[arg(long)]
    pub no_calibration: bool,
    /// Plays them also beside a trace of your own, or with --quick.
    #[arg(long, conflicts_with = "no_calibration")]
    pub calibration: bool,
    /// A few short workloads, to see whether everything runs; too few requests to judge by.
    #[arg(long)]
    pub quick: bool,
    /// Compares policies that scale engines over a simulated day, instead of rules that route. Of the other options, only
    /// --seeds, --policies, --out and --quick apply.
    #[arg(long, conflicts_with_all = ["workloads", "rules", "trace", "calibration"])]
    pub scaling: bool,
    /// Which of these policies to play; all by default.
    #[arg(long, requires = "scaling", value_delimiter = ',', value_parser = PossibleValuesParser::new(POLICIES))]
    pub policies: Vec<String>,
}

/// All names, behind the options.
fn known() -> String {
    let (pools, rules) = (Pool::ALL.map(Pool::name), RuleName::ALL.map(RuleName::name));
    let workloads: Vec<String> = Scenario::all().into_iter().map(|one| one.name).collect();
    let without: Vec<String> = ABLATIONS.map(|term| format!("{}{}", Arm::WITHOUT, term.label())).into();
    format!(
        "Workloads: {}\n\nRules: {}, warmpath-4 (or another number, with --proxies), endless (the bound), {}\n\n\
         Rules on the pool split: never, {}, warmpath, warmpath-4, warmpath-roles\n\nPools, for --trace: {}",
        workloads.join(", "),
        rules.join(", "),
        without.join(", "),
        FixedName::ALL.map(FixedName::name).join(", "),
        pools.join(", ")
    )
}

fn number(text: &str, is_good: fn(f64) -> bool, what: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| is_good(*value)).ok_or_else(|| format!("must be {what}"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |value| value.is_finite() && value > 0.0, "a number above 0")
}

pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |value| value.is_finite() && value >= 0.0, "a number that is not negative")
}

fn decoders(text: &str) -> Result<usize, String> {
    let is_some = |count: &usize| (1..ENGINES).contains(count);
    text.parse().ok().filter(is_some).ok_or_else(|| format!("must be from 1 to {}", ENGINES - 1))
}

fn some(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "must be a count above 0".to_owned())
}

pub(crate) fn share(text: &str) -> Result<f64, String> {
    number(text, |value| (0.0..=1.0).contains(&value), "from 0 to 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_goals_conditions_and_nonsense_is_refused() {
        let args = Args::try_parse_from(["warmpath-sim"]).unwrap();
        assert_eq!((args.seeds, args.proxies, args.workers), (vec![1], 4, 2));
        for line in [
            ["--speed", "0"],
            ["--breaks", "2"],
            ["--workers", "0"],
            ["--decoders", "8"],
            ["--delay-ms", "-1"],
            ["--scrape-ms", "nan"],
            ["--seeds", "x"],
        ] {
            let line = std::iter::once("warmpath-sim").chain([line[0], line[1]]);
            assert!(Args::try_parse_from(line).is_err());
        }
    }

    #[test]
    fn the_help_names_all_that_can_be_chosen() {
        let help = Args::try_parse_from(["warmpath-sim", "--help"]).unwrap_err().to_string();
        let workloads = Scenario::all().into_iter().map(|one| one.name);
        let rules = RuleName::ALL.map(|rule| rule.name().to_owned());
        for name in workloads.chain(rules).chain(Pool::ALL.map(|pool| pool.name().to_owned())) {
            assert!(help.contains(&name), "{name} is missing in {help}");
        }
    }

    #[test]
    fn a_pool_is_for_a_trace_of_ones_own() {
        let parse = |line: &[&str]| Args::try_parse_from(std::iter::once(&"warmpath-sim").chain(line));
        assert_eq!(parse(&["--trace", "x"]).unwrap().pool, Pool::Qwen);
        assert_eq!(parse(&["--trace", "x", "--pool", "unequal"]).unwrap().pool, Pool::Unequal);
        assert!(parse(&["--pool", "unequal"]).is_err(), "workloads have pools of their own");
        assert!(parse(&["--speed", "2"]).is_err(), "and speeds");
        let error = parse(&["--trace", "x", "--pool", "magic"]).unwrap_err().to_string();
        assert!(Pool::ALL.iter().all(|pool| error.contains(pool.name())), "{error}");
    }
}

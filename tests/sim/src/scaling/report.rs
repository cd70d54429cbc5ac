//! The comparison of all policies on all days, as tables and goals.

use super::demand::{DAY_S, Shape, conversations};
use super::policies::Setting;
use super::setting::{Model, Options};
use super::world::{Day, play};
use serde_json::{Value, json};
use warmpath_report::{Document, Goal, Limit, Role, Row, Section, Spread, Table, Unit, number, percent};

/// The goal: GPU-hours over those of the best other policy that does as well.
const GOAL: f64 = 0.85;
/// What counts as doing as well, in shares of requests.
const EQUAL: f64 = 0.005;
/// What is played of a day that is only to show that it runs: from when on, and for how long.
const QUICK_S: (f64, f64) = (9_600.0, 2_400.0);

/// A policy's day, as a mean over the seeds.
#[derive(Clone, Debug)]
struct Line {
    setting: Setting,
    days: Vec<Day>,
}

/// A policy with one setting on all days.
#[derive(Clone, Copy, Debug)]
struct Whole {
    setting: Setting,
    gpu_hours: f64,
    met: f64,
    /// On the day on which it was least.
    met_least: f64,
}

/// Plays everything; returns the document and its JSON.
pub fn run(options: &Options, progress: &dyn Fn(&str)) -> (Document, String) {
    let mut sections = Vec::new();
    let mut goals = Vec::new();
    let mut json = Vec::new();
    let mut days = Vec::new();
    for model in Model::both() {
        for shape in Shape::ALL {
            let title = format!("{} {}", model.name, shape.name());
            progress(&title);
            let lines = lines(&model, shape, options);
            goals.extend(goal(&title, &lines));
            json.extend(lines.iter().map(|line| line.json(&title)));
            sections.push(section(&title, &model, &lines));
            days.push(lines);
        }
    }
    let notes = vec![format!(
        "Warmpath's GPU-hours over those of the cheapest setting of any other policy whose share of requests that meet both objectives is \
         at least Warmpath's, or 90 %, whichever is less. Seeds {:?}.",
        options.seeds
    )];
    let goals = Section { title: "Goals".to_owned(), notes, goals, ..Section::default() };
    sections.insert(0, goals);
    sections.extend(one_setting(&days));
    let document = Document {
        title: "Scaling policies over a day".to_owned(),
        lead: "One router, the same engines and the same requests; only the number of engines differs, and which of them go. The other \
               policies are played with several settings, Warmpath with none."
            .to_owned(),
        sections,
        ..Document::default()
    };
    (document, Value::Array(json).to_string())
}

fn lines(model: &Model, shape: Shape, options: &Options) -> Vec<Line> {
    let mut lines: Vec<Line> = chosen(options).map(|setting| Line { setting, days: Vec::new() }).collect();
    let (from_s, until_s) = if options.is_quick { QUICK_S } else { (0.0, DAY_S) };
    for seed in &options.seeds {
        let conversations = conversations(shape, model, *seed, (from_s, until_s));
        for line in &mut lines {
            let mut policy = line.setting.build(model);
            line.days.push(play(model, &conversations, policy.as_mut(), until_s, *seed));
        }
    }
    lines
}

fn chosen(options: &Options) -> impl Iterator<Item = Setting> {
    let is_chosen = |one: &Setting| {
        options.policies.is_empty() || options.policies.iter().any(|name| name == one.policy())
    };
    Setting::all().into_iter().filter(is_chosen)
}

/// The cheapest setting of other policies that does as well as ours.
fn best_other(lines: &[Line]) -> Option<(&Line, &Line)> {
    let ours = lines.iter().find(|line| line.setting == Setting::Warmpath)?;
    let enough = ours.met().min(0.9) - EQUAL;
    let others = lines.iter().filter(|line| line.setting != Setting::Warmpath && line.met() >= enough);
    let best = others.min_by(|one, other| one.gpu_hours().total_cmp(&other.gpu_hours()))?;
    Some((ours, best))
}

fn goal(title: &str, lines: &[Line]) -> Option<Goal> {
    let (ours, best) = best_other(lines)?;
    let pairs = ours.days.iter().zip(&best.days).map(|(ours, best)| ours.gpu_hours / best.gpu_hours);
    let goal = Goal::new("GPU-hours", Spread::of(pairs), Limit::AtMost(GOAL, 1.0), Unit::Ratio);
    let against = format!("{}, {}", best.setting.policy(), best.setting.words());
    Some(Goal { group: title.to_owned(), against: Some(against), ..goal })
}

/// All days together. Nobody knows before a day which setting will be best on it.
fn one_setting(days: &[Vec<Line>]) -> Option<Section> {
    let settings = days.first()?.iter().map(|line| line.setting);
    let whole = |setting| {
        let lines: Vec<&Line> = days.iter().flatten().filter(|line| line.setting == setting).collect();
        let met = lines.iter().map(|line| line.met());
        Whole {
            setting,
            gpu_hours: lines.iter().map(|line| line.gpu_hours()).sum(),
            met: met.clone().sum::<f64>() / lines.len().max(1) as f64,
            met_least: met.fold(1.0, f64::min),
        }
    };
    let wholes: Vec<Whole> = settings.map(whole).collect();
    let ours = *wholes.iter().find(|one| one.setting == Setting::Warmpath)?;
    let enough = ours.met_least.min(0.9) - EQUAL;
    let cheapest = |policy: &&str| {
        let of_it = wholes.iter().filter(|one| one.setting.policy() == *policy && one.met_least >= enough);
        of_it.min_by(|one, other| one.gpu_hours.total_cmp(&other.gpu_hours))
    };
    let row = |one: &Whole| {
        let is_ours = one.setting == Setting::Warmpath;
        Row::from([
            one.setting.policy().to_owned(),
            one.setting.words(),
            number(one.gpu_hours),
            percent(one.met),
            percent(one.met_least),
            format!("{:.2}x", ours.gpu_hours / one.gpu_hours),
        ])
        .of(if is_ours { Role::Ours } else { Role::Other })
    };
    let header = ["policy", "setting", "GPU-hours", "both met", "on the worst day", "ours over it"];
    let note = "Of each policy, the cheapest setting of those that do as well as Warmpath on their worst day. Policies without one are left out.";
    Some(Section {
        title: "One setting for all days".to_owned(),
        notes: vec![note.to_owned()],
        table: Table::new(header, Setting::NAMES.iter().filter_map(cheapest).map(row)),
        ..Section::default()
    })
}

fn section(title: &str, model: &Model, lines: &[Line]) -> Section {
    let header = [
        "policy",
        "setting",
        "GPU-hours",
        "both met",
        "TTFT met",
        "between tokens met",
        "TTFT p99",
        "reversals/h",
        "most engines",
        "cached",
    ];
    let row = |line: &Line| {
        let is_ours = line.setting == Setting::Warmpath;
        Row::from([
            line.setting.policy().to_owned(),
            line.setting.words(),
            number(line.gpu_hours()),
            percent(line.met()),
            percent(line.mean(|day| day.ttft_met)),
            percent(line.mean(|day| day.inter_token_met)),
            format!("{:.1} s", line.mean(|day| day.ttft_s_p99)),
            line.days.iter().map(|day| day.reversals_per_hour).max().unwrap_or_default().to_string(),
            line.days.iter().map(|day| day.engines_max).max().unwrap_or_default().to_string(),
            percent(line.mean(|day| day.cached)),
        ])
        .of(if is_ours { Role::Ours } else { Role::Other })
    };
    let requests: usize = lines.first().map_or(0, |line| line.days.iter().map(|day| day.requests).sum());
    let objectives = model.objectives;
    let notes = vec![format!(
        "Objectives: first token within {} s, {} ms between tokens. Pods are ready after {} to {} s. {requests} requests.",
        objectives.ttft_s,
        objectives.inter_token_s * 1e3,
        model.start_s.0,
        model.start_s.1,
    )];
    Section {
        title: title.to_owned(),
        notes,
        table: Table::new(header, lines.iter().map(row)),
        ..Section::default()
    }
}

// === impl Line ===

impl Line {
    fn mean(&self, of: impl Fn(&Day) -> f64) -> f64 {
        self.days.iter().map(of).sum::<f64>() / self.days.len().max(1) as f64
    }

    fn gpu_hours(&self) -> f64 {
        self.mean(|day| day.gpu_hours)
    }

    fn met(&self) -> f64 {
        self.mean(|day| day.met)
    }

    fn json(&self, title: &str) -> Value {
        json!({
            "day": title,
            "policy": self.setting.policy(),
            "setting": self.setting.words(),
            "gpu_hours": self.gpu_hours(),
            "met": self.met(),
            "ttft_met": self.mean(|day| day.ttft_met),
            "inter_token_met": self.mean(|day| day.inter_token_met),
            "ttft_s_p99": self.mean(|day| day.ttft_s_p99),
            "reversals_per_hour": self.days.iter().map(|day| day.reversals_per_hour).max(),
            "replicas": self.days.first().map(|day| day.replicas.iter().step_by(12).collect::<Vec<_>>()),
        })
    }
}

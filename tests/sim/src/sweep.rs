//! Plays a plan on all threads of the machine.
//!
//! Threads take the next task of one queue, and results lie in the order of the plan, whoever was first: a report
//! depends on the seeds and on nothing else. Each workload is made once, by whoever needs it first, and dropped
//! after its last arm: all of them at once would be gigabytes.

use crate::arm::{Arm, Kind};
use crate::calibrate::{self, ArmRun, Ladder};
use crate::measure::{Closed, Phase, Spread, Summary, phases};
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::workload::Workload;
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// One arm on one workload with one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// The workload's name.
    pub workload: String,
    /// The arm's name.
    pub rule: String,
    /// The seed.
    pub seed: u64,
    /// What was found.
    #[serde(flatten)]
    pub summary: Summary,
    /// Where engines join: how it was before and after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// Where the workload is cut off: those that waited counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
    /// What the arm is in the comparison.
    #[serde(skip)]
    pub kind: Kind,
    /// How many of those that were lost are more than an engine's cache holds.
    #[serde(skip)]
    pub too_long: usize,
    /// Loads over time.
    #[serde(skip)]
    pub spread: Vec<Spread>,
}

/// All that was played.
#[derive(Clone, Debug)]
pub struct Swept {
    /// By workload, seed and arm.
    pub cells: Vec<Cell>,
    /// The published ladders beside the simulator's; empty if the plan leaves them out.
    pub ladders: Vec<Ladder>,
}

/// A workload on its shelf, and how many arms still need it.
#[derive(Debug)]
struct Shelf<'a> {
    scenario: &'a Scenario,
    seed: u64,
    content: Mutex<(Option<Arc<Workload>>, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    /// Shelf, arm.
    Cell(usize, Arm),
    /// Ladder, its arm.
    Ladder(usize, usize),
}

#[derive(Debug)]
enum Done {
    Cell(Box<Cell>),
    Ladder(usize, ArmRun),
}

/// Plays all of it. `tell` hears of each task that is done: how many are, of how many, and what it was.
pub fn sweep(
    plan: &Plan,
    threads: usize,
    tell: &(dyn Fn(usize, usize, &str) + Sync),
) -> anyhow::Result<Swept> {
    let shelves: Vec<Shelf> = plan
        .scenarios
        .iter()
        .flat_map(|scenario| {
            let arms = plan.arms(scenario).count();
            let shelf = move |seed: &u64| Shelf { scenario, seed: *seed, content: Mutex::new((None, arms)) };
            plan.seeds.iter().map(shelf)
        })
        .collect();
    let published = if plan.has_calibration { calibrate::published()? } else { Vec::new() };
    let ladders = published.iter().enumerate();
    let mut tasks: Vec<Task> = ladders
        .flat_map(|(at, ladder)| (0..ladder.arms.len()).map(move |arm| Task::Ladder(at, arm)))
        .collect();
    for (at, shelf) in shelves.iter().enumerate() {
        tasks.extend(plan.arms(shelf.scenario).map(|arm| Task::Cell(at, arm)));
    }
    let play = |task: Task| match task {
        Task::Cell(shelf, arm) => cell(plan, &shelves[shelf], arm).map(|cell| Done::Cell(Box::new(cell))),
        Task::Ladder(at, arm) => Ok(Done::Ladder(at, calibrate::play(&published[at], arm, plan.seeds[0]))),
    };
    let mut swept = Swept { cells: Vec::new(), ladders: Vec::new() };
    let mut runs: Vec<Vec<ArmRun>> = vec![Vec::new(); published.len()];
    for done in in_order(&tasks, threads, |task| task.name(&shelves, &published), play, tell)? {
        match done {
            Done::Cell(cell) => swept.cells.push(*cell),
            Done::Ladder(at, run) => runs[at].push(run),
        }
    }
    swept.ladders = published.iter().zip(runs).map(|(ladder, runs)| ladder.with(runs)).collect();
    Ok(swept)
}

/// Results in the order of the tasks; the first error in that order ends it.
fn in_order<T: Copy + Sync, R: Send>(
    tasks: &[T],
    threads: usize,
    name: impl Fn(T) -> String + Sync,
    play: impl Fn(T) -> anyhow::Result<R> + Sync,
    tell: &(dyn Fn(usize, usize, &str) + Sync),
) -> anyhow::Result<Vec<R>> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Vec<Mutex<Option<anyhow::Result<R>>>> = tasks.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < tasks.len())
                {
                    let begin = Instant::now();
                    let result = play(tasks[at]);
                    if result.is_ok() {
                        let line = format!("{} ({:.1} s)", name(tasks[at]), begin.elapsed().as_secs_f64());
                        tell(done.fetch_add(1, Ordering::Relaxed) + 1, tasks.len(), &line);
                    } else {
                        next.store(tasks.len(), Ordering::Relaxed);
                    }
                    *lock(&results[at]) = Some(result);
                }
            });
        }
    });
    results
        .into_iter()
        .filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}

fn cell(plan: &Plan, shelf: &Shelf, arm: Arm) -> anyhow::Result<Cell> {
    let workload = shelf.take(plan)?;
    let spec = plan.spec(shelf.scenario);
    let played = arm.play(&spec, &workload, shelf.seed);
    Ok(Cell {
        workload: shelf.scenario.name.clone(),
        rule: arm.name(),
        seed: shelf.seed,
        summary: Summary::of(&played),
        closed: Closed::of(&workload, &played),
        phases: phases(&spec, &played.records),
        kind: arm.kind(),
        too_long: played.too_long,
        spread: played.samples.spread(),
    })
}

// === impl Shelf ===

impl Shelf<'_> {
    /// The workload. Others who need it wait while it is made.
    fn take(&self, plan: &Plan) -> anyhow::Result<Arc<Workload>> {
        let mut content = lock(&self.content);
        let workload = match content.0.take() {
            Some(workload) => workload,
            None => Arc::new(plan.workload(self.scenario, self.seed)?),
        };
        content.1 = content.1.saturating_sub(1);
        if content.1 > 0 {
            content.0 = Some(Arc::clone(&workload));
        }
        Ok(workload)
    }
}

// === impl Task ===

impl Task {
    fn name(self, shelves: &[Shelf], ladders: &[calibrate::Published]) -> String {
        match self {
            Self::Cell(at, arm) => {
                format!("{}, {}, seed {}", shelves[at].scenario, arm.name(), shelves[at].seed)
            }
            Self::Ladder(at, arm) => {
                format!("ladder {}, {}", ladders[at].name, ladders[at].arms[arm].rule.name())
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What grows with the fleet: a decision's time, and a view's memory.

use crate::bench::figure::decision::DecisionCase;
use crate::bench::figure::view_memory::ViewMemory;
use serde_json::{Value, json};
use warmpath_report::{Goal, Limit, Row, Section, Spread, Table, Unit, number, ratio};

const DECISION_GOAL: f64 = 2.0;
const VIEW_MB_GOAL: f64 = 32.0;

const BYTES_PER_MB: f64 = 1e6;
const CELLS_UNIT: f64 = 1e6;

/// Against the first, smallest case.
fn to_smallest(cases: &[DecisionCase], case: &DecisionCase) -> Spread {
    Spread::of_pairs(&case.us, cases.first().map_or(&[], |first| &first.us), ratio)
}

pub(super) fn decision(cases: &[DecisionCase]) -> Section {
    let row = |case: &DecisionCase| {
        Row::from([
            format!("{} endpoints", case.endpoints),
            case.cells.to_string(),
            Spread::of(case.us.iter().copied()).show(),
            to_smallest(cases, case).show(),
        ])
    };
    let goal = |case: &DecisionCase| {
        let name =
            format!("decision, {} endpoints and {} cells against the smallest", case.endpoints, case.cells);
        Goal::new(name, to_smallest(cases, case), Limit::most(DECISION_GOAL), Unit::Ratio)
    };
    Section {
        title: "A decision in small and large fleets".to_owned(),
        notes: vec![
            "The core alone, built for this machine; prompts of 64 or 96 cells that go on with a conversation or a system \
             prompt. Parsing and hashing are left out: they do not depend on the fleet."
                .to_owned(),
        ],
        table: Table::new(["", "cells", "us/decision", "times the smallest"], cases.iter().map(row)),
        goals: cases.last().map(goal).into_iter().collect(),
        ..Section::default()
    }
}

pub(super) fn decision_json(cases: &[DecisionCase]) -> Value {
    let row = |case: &DecisionCase| {
        let us = Spread::of(case.us.iter().copied());
        json!({
            "endpoints": case.endpoints,
            "cells": case.cells,
            "us_per_decision": us.median,
            "us_per_decision_spread": us,
            "over_smallest": to_smallest(cases, case).median,
        })
    };
    cases.iter().map(row).collect()
}

/// Megabytes for a million cells.
fn mb_per_million(found: &ViewMemory) -> f64 {
    found.bytes as f64 / BYTES_PER_MB / (found.cells as f64 / CELLS_UNIT)
}

pub(super) fn view_memory(all: &[ViewMemory]) -> Section {
    let row = |found: &ViewMemory| {
        let grown = found.bytes as f64 / BYTES_PER_MB;
        Row::from([
            found.prompts.label(),
            found.cells.to_string(),
            number(grown),
            number(mb_per_million(found)),
        ])
    };
    let goal = |found: &ViewMemory| {
        let name = format!("view memory, {}", found.prompts.label());
        Goal::new(name, Spread::of([mb_per_million(found)]), Limit::most(VIEW_MB_GOAL), Unit::Of("MB"))
    };
    Section {
        title: "Memory of a view in a VM".to_owned(),
        notes: vec![
            "By how much the linear memory of the built filter grew in the test host, fed over the state stream. It never \
             shrinks, so what was needed on the way counts."
                .to_owned(),
        ],
        table: Table::new(["", "cells", "grown MB", "MB a million cells"], all.iter().map(row)),
        goals: all.iter().map(goal).collect(),
        ..Section::default()
    }
}

pub(super) fn view_memory_json(all: &[ViewMemory]) -> Value {
    let row = |found: &ViewMemory| {
        json!({
            "prompts": found.prompts.label(),
            "cells": found.cells,
            "bytes": found.bytes,
            "mb_per_million_cells": mb_per_million(found),
        })
    };
    all.iter().map(row).collect()
}

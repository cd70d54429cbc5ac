//! A pool's `rewrites`: rules that replace the models of requests.

use crate::fault::Problem;
use crate::reader::{Entry, Reader};
use warmpath_core::wire::{Rewrite, RewriteTarget};

/// Most rules of a pool, and targets of a rule.
const REWRITES_MAX: usize = 256;
const TARGETS_MAX: usize = 16;
/// The largest weight, as InferenceModelRewrite bounds it.
pub const WEIGHT_MAX: u64 = 1_000_000;

/// Reads the list.
pub(crate) fn read(entry: &Entry<'_>, reader: &mut Reader) -> Vec<Rewrite> {
    let entries = reader.list(entry, "rules", REWRITES_MAX);
    entries.iter().map(|entry| rewrite(entry, reader)).collect()
}

fn rewrite(entry: &Entry<'_>, reader: &mut Reader) -> Rewrite {
    let mut fields = reader.fields(entry);
    let model = fields.optional("model").and_then(|entry| reader.name(&entry));
    let targets = fields.required("targets", reader).map(|entry| {
        if entry.is_empty_list() {
            reader.report(&entry.place, Problem::Empty { remedy: "name the model to ask for instead" });
        }
        let entries = reader.list(&entry, "targets", TARGETS_MAX);
        entries.iter().map(|entry| target(entry, reader)).collect()
    });
    fields.finish(reader);
    Rewrite { model: model.unwrap_or_default(), targets: targets.unwrap_or_default() }
}

fn target(entry: &Entry<'_>, reader: &mut Reader) -> RewriteTarget {
    let mut fields = reader.fields(entry);
    let model = fields.required("model", reader).and_then(|entry| reader.name(&entry));
    let weight = fields.optional("weight").and_then(|entry| reader.number(&entry, 0..=WEIGHT_MAX));
    fields.finish(reader);
    RewriteTarget { model: model.unwrap_or_default(), weight: weight.unwrap_or(1) }
}

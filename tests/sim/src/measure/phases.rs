//! A run in which engines join, in parts: before, and how it was from then on.

use super::summary::ratio;
use super::{Quantiles, Record};
use crate::run::Spec;
use serde::Serialize;

const MS_PER_S: f64 = 1_000.0;

/// The parts by when a request was sent: name, and to which second after the first engine joined.
const PARTS: [(&str, f64); 4] = [
    ("before engines join", 0.0),
    ("minute after", 60.0),
    ("five minutes after that", 360.0),
    ("later", f64::INFINITY),
];

/// One part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// Which.
    pub name: &'static str,
    /// Requests that were sent in it.
    pub requests: usize,
    /// Their time to the first token.
    pub ttft_ms: Quantiles,
    /// Share of their prompt tokens that was cached.
    pub cached_share: f64,
    /// Share of them that was sent to engines that joined.
    pub joined_share: f64,
}

/// The parts of a run; none where no engine joins.
pub fn phases(spec: &Spec, records: &[Record]) -> Vec<Phase> {
    let Some((_, join_s)) = spec.joins().next() else { return Vec::new() };
    let mut from_s = f64::NEG_INFINITY;
    let part = |(name, end_s): (&'static str, f64)| {
        let until_s = join_s + end_s;
        let sent = records.iter().filter(|record| record.sent_s >= from_s && record.sent_s < until_s);
        let phase = phase(name, spec.first(), &sent.collect::<Vec<_>>());
        from_s = until_s;
        phase
    };
    PARTS.into_iter().map(part).collect()
}

fn phase(name: &'static str, first: usize, records: &[&Record]) -> Phase {
    let sum = |of: fn(&Record) -> usize| records.iter().map(|record| of(record)).sum::<usize>() as f64;
    let joined = records.iter().filter(|record| record.engine >= first).count();
    Phase {
        name,
        requests: records.len(),
        ttft_ms: Quantiles::of(records.iter().map(|record| record.ttft_s() * MS_PER_S)),
        cached_share: ratio(sum(|record| record.cached_tokens), sum(|record| record.prompt_tokens)),
        joined_share: ratio(joined as f64, records.len() as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{BASE_ADAPTER, Form, Job};
    use warmpath_engine::Preset;
    use warmpath_engine::model::Params;

    /// A request of ten tokens sent at a second, whose first token came after so many milliseconds.
    fn record(sent_s: f64, engine: usize, ttft_ms: f64, cached_tokens: usize) -> Record {
        let job = Job {
            cells: [].into(),
            blocks: [].into(),
            adapter: BASE_ADAPTER,
            prompt_tokens: 10,
            output_tokens: 1,
            output_tokens_max: None,
            form: Form::default(),
        };
        let first_s = Some(sent_s + ttft_ms / MS_PER_S);
        let mut record = Record::new(sent_s, &job, 0);
        record.engine = engine;
        record.admitted(cached_tokens);
        (record.first_s, record.end_s) = (first_s, first_s);
        record
    }

    #[test]
    fn requests_are_parted_by_when_they_were_sent() {
        let params = Params { startup_s: 10.0, ..Params::new(Preset::Qwen3On2) };
        let spec = Spec { starts_s: vec![90.0], ..Spec::new(vec![params; 2]) };
        let records = [
            record(1.0, 0, 500.0, 4),
            record(99.9, 0, 300.0, 6),
            record(100.0, 1, 100.0, 0),
            record(159.0, 0, 100.0, 10),
            record(459.9, 1, 100.0, 0),
            record(500.0, 0, 100.0, 0),
        ];
        let found = phases(&spec, &records);
        assert_eq!(found.iter().map(|phase| phase.requests).collect::<Vec<_>>(), [2, 2, 1, 1]);
        let means: Vec<f64> = found.iter().map(|phase| phase.ttft_ms.mean.round()).collect();
        assert_eq!(means, [400.0, 100.0, 100.0, 100.0]);
        let shares = |of: fn(&Phase) -> f64| found.iter().map(of).collect::<Vec<_>>();
        assert_eq!(shares(|phase| phase.joined_share), [0.0, 0.5, 1.0, 0.0]);
        assert_eq!(shares(|phase| phase.cached_share), [0.5, 0.5, 0.0, 0.0]);
        assert!(phases(&Spec { starts_s: Vec::new(), ..spec }, &records).is_empty());
    }
}

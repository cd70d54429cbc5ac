//! Several workloads at once, on the same engines.

use super::Workload;

/// All sessions of `parts`, by their start. Closed loops cannot be mixed: their starts are not by the clock.
pub fn mixed(parts: impl IntoIterator<Item = Workload>) -> Workload {
    let mut sessions: Vec<_> = parts.into_iter().flat_map(|part| part.sessions).collect();
    sessions.sort_by(|one, other| one.start_s.total_cmp(&other.start_s));
    Workload { sessions, slots: None, counts_from_s: 0.0 }
}

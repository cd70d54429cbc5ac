//! Several workloads at once, on the same engines.

use super::Workload;

/// All sessions of `parts`, by their start, as one kind. Closed loops are put [`beside`] each other instead: their starts
/// are not by the clock.
pub fn mixed(parts: impl IntoIterator<Item = Workload>) -> Workload {
    let mut sessions: Vec<_> = parts.into_iter().flat_map(|part| part.sessions).collect();
    sessions.sort_by(|one, other| one.start_s.total_cmp(&other.start_s));
    Workload::by_clock(sessions)
}

/// All groups of `parts`, each as it is alone, cut off at a second.
pub fn beside(parts: impl IntoIterator<Item = Workload>, ends_s: f64) -> Workload {
    let mut all = Workload { ends_s: Some(ends_s), ..Workload::default() };
    for part in parts {
        let before = all.groups.len();
        all.groups.extend(part.groups);
        let moved = part.sessions.into_iter().map(|mut session| {
            session.group += before;
            session
        });
        all.sessions.extend(moved);
    }
    all
}

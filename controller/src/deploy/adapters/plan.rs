//! Which adapters an engine is asked to load, and when again after a failure. Pure: time is an argument.

use super::super::retry::Retry;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;
use warmpath_deploy::adapters::Pinned;

/// Adapters that an engine is asked for at a time: each is downloaded, and takes a place in the host's memory.
const LOADS_MAX: usize = 2;

/// What is known of one engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Engine {
    /// The models that it lists; `None`: it has not been asked yet, or does not respond.
    pub(super) listed: Option<BTreeSet<String>>,
    /// Whether it is being asked.
    pub(super) is_busy: bool,
    /// Adapters that it could not load: the next try, and why.
    pub(super) failed: BTreeMap<String, (Retry, String)>,
}

// === impl Engine ===

impl Engine {
    /// The adapters to be loaded now: those that it should list and does not.
    pub(super) fn loads<'a>(&'a self, wanted: &'a [Pinned], now: Instant) -> Vec<&'a Pinned> {
        let Some(listed) = &self.listed else { return Vec::new() };
        let is_held = |name: &str| self.failed.get(name).is_some_and(|(retry, _)| retry.waits(now));
        let missing = wanted.iter().filter(|it| !listed.contains(&it.name) && !is_held(&it.name));
        missing.take(LOADS_MAX).collect()
    }

    /// Takes note of what a load came to.
    pub(super) fn loaded(&mut self, name: &str, result: Result<(), String>, now: Instant) {
        match result {
            Ok(()) => {
                self.failed.remove(name);
                self.listed.get_or_insert_default().insert(name.to_owned());
            }
            Err(why) => {
                let (retry, _) = self.failed.remove(name).unwrap_or_default();
                self.failed.insert(name.to_owned(), (retry.after(false, true, now), why));
            }
        }
    }

    /// Takes note of the models that it lists.
    pub(super) fn lists(&mut self, listed: Option<BTreeSet<String>>) {
        if let Some(listed) = &listed {
            self.failed.retain(|name, _| !listed.contains(name));
        }
        self.listed = listed;
    }

    /// The adapters that it lacks, with the reason where one is known.
    pub(super) fn lacks<'a>(&'a self, wanted: &'a [Pinned]) -> Vec<(&'a str, Option<&'a str>)> {
        let Some(listed) = &self.listed else { return Vec::new() };
        let missing = wanted.iter().filter(|it| !listed.contains(&it.name));
        let why = |name: &str| self.failed.get(name).map(|(_, why)| why.as_str());
        missing.map(|it| (it.name.as_str(), why(&it.name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Engine;
    use std::collections::BTreeSet;
    use std::time::Duration;
    use tokio::time::Instant;
    use warmpath_deploy::adapters::Pinned;

    fn wanted(names: &[&str]) -> Vec<Pinned> {
        let pinned = |name: &&str| Pinned { name: (*name).to_owned(), path: format!("/adapters/{name}") };
        names.iter().map(pinned).collect()
    }

    fn listing(names: &[&str]) -> Engine {
        let listed: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Engine { listed: Some(listed), ..Engine::default() }
    }

    fn names(engine: &Engine, wanted: &[Pinned], now: Instant) -> Vec<String> {
        engine.loads(wanted, now).into_iter().map(|it| it.name.clone()).collect()
    }

    #[test]
    fn an_engine_is_asked_for_what_it_does_not_list() {
        let (wanted, now) = (wanted(&["sql", "legal", "chat", "code"]), Instant::now());
        assert_eq!(names(&Engine::default(), &wanted, now), [""; 0], "nobody knows what it has");
        let mut engine = listing(&["base", "legal"]);
        assert_eq!(names(&engine, &wanted, now), ["sql", "chat"], "a few at a time");
        engine.loaded("sql", Ok(()), now);
        assert_eq!(names(&engine, &wanted, now), ["chat", "code"]);
        // It has started again, without those that were loaded later.
        engine.lists(Some(BTreeSet::from(["base".to_owned()])));
        assert_eq!(names(&engine, &wanted, now), ["sql", "legal"]);
    }

    #[test]
    fn a_load_that_fails_waits_and_keeps_no_other_from_being_tried() {
        let (wanted, now) = (wanted(&["broken", "sql"]), Instant::now());
        let mut engine = listing(&["base"]);
        engine.loaded("broken", Err("no such repository".to_owned()), now);
        assert_eq!(names(&engine, &wanted, now), ["sql"]);
        assert_eq!(engine.lacks(&wanted), [("broken", Some("no such repository")), ("sql", None)]);
        let later = now + Duration::from_secs(5);
        assert_eq!(names(&engine, &wanted, later), ["broken", "sql"]);
        engine.loaded("broken", Err("no such repository".to_owned()), later);
        assert_eq!(names(&engine, &wanted, later + Duration::from_secs(5)), ["sql"], "it waits for longer");
        engine.lists(Some(BTreeSet::from(["broken".to_owned(), "sql".to_owned()])));
        assert!(engine.failed.is_empty() && engine.lacks(&wanted).is_empty());
    }
}

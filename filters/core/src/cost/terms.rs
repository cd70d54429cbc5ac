//! The terms of the cost by name: their labels, their weights, their sum.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::ops::Index;

/// How much more a second before the first token weighs than one that is spread over a response. The only
/// preference in the sum: a client that waits for the first token sees nothing, while a second spread over a response of
/// 300 tokens slows each by three milliseconds. Of 1 to 5, all over the simulator's workloads: more lowers the mean
/// first-token time by some per cent where prompts are long, and loads engines unevenly where many share prefixes.
const WAIT_WEIGHT: f64 = 2.0;

/// One term of the cost; see [`crate::cost`] for what each of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// The work in front of the request.
    Queue,
    /// Its own prefill.
    Prefill,
    /// The load of its KV from below the GPU.
    Load,
    /// Its LoRA adapter.
    Adapter,
    /// The transfer of its KV from another endpoint.
    Transfer,
    /// A prefill that another proxy may be sending.
    Contention,
    /// The waiting of later requests.
    Later,
    /// The delay of the requests that are there.
    Stall,
    /// The steps of the response.
    Decode,
    /// The evicted prefixes.
    Evict,
}

/// The terms, each in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms([f64; Term::COUNT]);

/// How much each term counts in the sum. The default is what ships; an ablation sets one to zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights([f64; Term::COUNT]);

// === impl Term ===

impl Term {
    /// All of them, in the order of the sum.
    pub const ALL: [Self; 10] = [
        Self::Queue,
        Self::Prefill,
        Self::Load,
        Self::Adapter,
        Self::Transfer,
        Self::Contention,
        Self::Later,
        Self::Stall,
        Self::Decode,
        Self::Evict,
    ];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its name in explanations and reports.
    pub const fn label(self) -> &'static str {
        self.entry().0
    }

    /// How much it counts.
    pub const fn weight(self) -> f64 {
        self.entry().1
    }

    const fn entry(self) -> (&'static str, f64) {
        match self {
            Self::Queue => ("queue", WAIT_WEIGHT),
            Self::Prefill => ("prefill", WAIT_WEIGHT),
            Self::Load => ("load", WAIT_WEIGHT),
            Self::Adapter => ("adapter", WAIT_WEIGHT),
            Self::Transfer => ("transfer", WAIT_WEIGHT),
            Self::Contention => ("contention", WAIT_WEIGHT),
            Self::Later => ("later", 1.0),
            Self::Stall => ("stall", 1.0),
            Self::Decode => ("decode", 1.0),
            Self::Evict => ("evict", 1.0),
        }
    }

    #[expect(clippy::as_conversions, reason = "the discriminant of an enum without fields")]
    const fn index(self) -> usize {
        self as usize
    }
}

// === impl Terms ===

impl Terms {
    /// The terms by what each of them comes to, in seconds.
    pub fn of(seconds: impl FnMut(Term) -> f64) -> Self {
        Self(Term::ALL.map(seconds))
    }

    /// Predicted time to the first token: what the request itself waits for.
    pub fn ttft_s(&self) -> f64 {
        [Term::Queue, Term::Prefill, Term::Load, Term::Adapter, Term::Transfer]
            .iter()
            .map(|term| self[*term])
            .sum()
    }

    /// The same with another value of one term.
    #[must_use]
    pub fn with(mut self, term: Term, seconds: f64) -> Self {
        if let Some(value) = self.0.get_mut(term.index()) {
            *value = seconds;
        }
        self
    }
}

impl Index<Term> for Terms {
    type Output = f64;

    #[expect(clippy::indexing_slicing, reason = "there is an entry for each term")]
    fn index(&self, term: Term) -> &f64 {
        &self.0[term.index()]
    }
}

impl Serialize for Terms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Term::COUNT))?;
        for term in Term::ALL {
            map.serialize_entry(term.label(), &self[term])?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Terms {
    /// Missing terms are zero and unknown ones are skipped: the sender may be of another version.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds: BTreeMap<String, f64> = BTreeMap::deserialize(deserializer)?;
        Ok(Self::of(|term| seconds.get(term.label()).copied().unwrap_or_default()))
    }
}

// === impl Weights ===

impl Weights {
    /// The same weights without one term.
    #[must_use]
    pub fn without(mut self, term: Term) -> Self {
        if let Some(weight) = self.0.get_mut(term.index()) {
            *weight = 0.0;
        }
        self
    }

    /// The cost: the weighted sum.
    pub fn total_s(&self, terms: &Terms) -> f64 {
        self.0.iter().zip(&terms.0).map(|(weight, seconds)| weight * seconds).sum()
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self(Term::ALL.map(Term::weight))
    }
}

#[cfg(test)]
mod tests {
    use super::{Term, Terms, Weights};
    use crate::num::float_len;

    fn numbered() -> Terms {
        Terms::of(|term| float_len(term.index() + 1))
    }

    #[test]
    fn each_term_has_a_place_of_its_own() {
        for (at, term) in Term::ALL.into_iter().enumerate() {
            assert_eq!(term.index(), at);
            assert!((numbered()[term] - float_len(at + 1)).abs() < 1e-12);
        }
    }

    #[test]
    fn waiting_weighs_twice_and_a_term_that_is_left_out_nothing() {
        let weights = Weights::default();
        assert!(
            (weights.total_s(&numbered())
                - (2.0 * (1.0 + 2.0 + 3.0 + 4.0 + 5.0 + 6.0) + 7.0 + 8.0 + 9.0 + 10.0))
                .abs()
                < 1e-12
        );
        for term in Term::ALL {
            let lost = weights.total_s(&numbered()) - weights.without(term).total_s(&numbered());
            assert!((lost - term.weight() * numbered()[term]).abs() < 1e-12, "{}", term.label());
        }
    }

    #[test]
    fn terms_of_another_version_can_be_read() {
        let read: Terms = serde_json::from_str(r#"{"queue":1.5,"unheard_of":3,"evict":2}"#).unwrap();
        let expected = Terms::of(|term| match term {
            Term::Queue => 1.5,
            Term::Evict => 2.0,
            _ => 0.0,
        });
        assert_eq!(read, expected);
        let written = serde_json::to_string(&numbered()).unwrap();
        assert_eq!(serde_json::from_str::<Terms>(&written).unwrap(), numbered());
        assert!(written.starts_with(r#"{"queue":1.0,"prefill":2.0"#), "{written}");
    }
}

//! The prompts that were sent and have no first token yet: their endpoints are expected to hold them soon.
//!
//! A prompt enters the prefix tree when its first token shows that the engine has computed it, and not at dispatch: a
//! request that is refused leaves nothing in a cache, and must not evict what is there. Until then a similar prompt still
//! has to find it, or a burst of equal prompts would be computed at as many engines. So those in flight are kept here, apart
//! from the tree and outside its capacity. Where the engine reports what it holds, they stay for a moment after the first token, until
//! the reports arrive.

use super::{Match, View};
use crate::hash::{SeededMap, seeded};
use crate::ids::{AdapterId, CellHash, OriginId, RequestKey, Slot};
use crate::num::u32_len;
use crate::time::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// Requests that are remembered.
const REQUESTS_MAX: usize = 16_384;
/// Cells of all of them: 8 MiB.
const CELLS_MAX: usize = 1024 * 1024;
/// How long an outcome may take, in milliseconds. Later it was lost: nobody waits half an hour for a first token.
const AGE_MS_MAX: u64 = 30 * 60 * 1_000;
/// How long a prompt stays expected after its first token where the engine reports its cache, in milliseconds. Engines publish
/// with the step that stores a block, and the controller passes it on within some ten milliseconds; this is many times that. An engine
/// whose messages take longer is not relied on.
pub const REPORT_MS_MAX: u64 = 1_000;
/// Requests with the same first cell that a search looks at, the newest first: that many prompts with one system prompt
/// may be in prefill at once before some look less expected than they are.
const EXAMINED_MAX: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    requests: SeededMap<RequestKey, Prompt>,
    /// The requests by the first cell of their prompts, in the order in which they came.
    by_head: SeededMap<CellHash, Vec<RequestKey>>,
    /// Those whose first token has come, in that order: their engines are yet to report them.
    served: VecDeque<(RequestKey, Timestamp)>,
    cells: usize,
    /// Requests without a first token that need an adapter.
    adapters: BTreeMap<(Slot, AdapterId), u32>,
}

#[derive(Clone, Debug)]
struct Prompt {
    slot: Slot,
    chain: Vec<CellHash>,
    since: Timestamp,
    /// When its first token came.
    served: Option<Timestamp>,
    adapter: AdapterId,
}

// === impl Expected ===

impl Expected {
    pub(super) fn new(seed: u64) -> Self {
        let (requests, by_head) =
            (SeededMap::with_hasher(seeded(seed)), SeededMap::with_hasher(seeded(seed)));
        Self { requests, by_head, served: VecDeque::new(), cells: 0, adapters: BTreeMap::new() }
    }

    /// Notes that `slot` will soon hold the chain. `false`: there is no room for it.
    pub(super) fn add(
        &mut self,
        key: RequestKey,
        (slot, adapter): (Slot, AdapterId),
        chain: Vec<CellHash>,
        now: Timestamp,
    ) -> bool {
        self.take(key);
        let Some(head) = chain.first().copied() else { return true };
        while self.is_full(chain.len()) && self.drop_served() {}
        if self.is_full(chain.len()) {
            return false;
        }
        self.cells += chain.len();
        self.requests.insert(key, Prompt { slot, chain, since: now, served: None, adapter });
        self.by_head.entry(head).or_default().push(key);
        self.count_adapter(slot, adapter, true);
        true
    }

    /// The endpoint of which a request's prompt is expected.
    pub(super) fn slot(&self, key: RequestKey) -> Option<Slot> {
        self.requests.get(&key).map(|prompt| prompt.slot)
    }

    /// Whether a request has neither a first token nor another outcome.
    pub(super) fn awaits(&self, key: RequestKey) -> bool {
        self.requests.get(&key).is_some_and(|prompt| prompt.served.is_none())
    }

    /// A request whose prompt is expected.
    pub(super) fn get(&self, key: RequestKey) -> Option<(Slot, &[CellHash])> {
        self.requests.get(&key).map(|prompt| (prompt.slot, prompt.chain.as_slice()))
    }

    /// The adapter that a request needs.
    pub(super) fn adapter(&self, key: RequestKey) -> AdapterId {
        self.requests.get(&key).map_or(AdapterId::BASE, |prompt| prompt.adapter)
    }

    /// The adapters that requests to a slot need which have no first token.
    pub(super) fn adapters(&self, slot: Slot) -> impl Iterator<Item = AdapterId> {
        let of_slot = (slot, AdapterId::BASE)..=(slot, AdapterId(u64::MAX));
        self.adapters.range(of_slot).map(|((_, adapter), _)| *adapter)
    }

    fn count_adapter(&mut self, slot: Slot, adapter: AdapterId, is_more: bool) {
        if adapter == AdapterId::BASE {
            return;
        }
        let requests = self.adapters.entry((slot, adapter)).or_default();
        *requests = if is_more { *requests + 1 } else { requests.saturating_sub(1) };
        if *requests == 0 {
            self.adapters.remove(&(slot, adapter));
        }
    }

    /// A request has its first token. Where that was `reported_from` a moment on which the engine reports it, its prompt stays expected
    /// until then.
    pub(super) fn serve(&mut self, key: RequestKey, reported_from: Option<Timestamp>) {
        match (self.requests.get_mut(&key), reported_from) {
            (Some(prompt), Some(now)) if prompt.served.is_none() => {
                prompt.served = Some(now);
                let (slot, adapter) = (prompt.slot, prompt.adapter);
                self.served.push_back((key, now));
                self.count_adapter(slot, adapter, false);
            }
            (_, Some(_)) => {}
            (_, None) => drop(self.take(key)),
        }
    }

    /// Drops the requests that their engines must have reported by now.
    pub(super) fn settle(&mut self, now: Timestamp) {
        while self.served.front().is_some_and(|(_, served)| now.ms_apart(*served) >= REPORT_MS_MAX) {
            self.drop_served();
        }
    }

    /// Takes out a request whose outcome is known.
    pub(super) fn take(&mut self, key: RequestKey) -> Option<(Slot, Vec<CellHash>)> {
        let Prompt { slot, chain, served, adapter, .. } = self.requests.remove(&key)?;
        if served.is_none() {
            self.count_adapter(slot, adapter, false);
        }
        self.cells -= chain.len();
        if let Some(head) = chain.first()
            && let Some(keys) = self.by_head.get_mut(head)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_head.remove(head);
            }
        }
        Some((slot, chain))
    }

    /// Drops the requests of an origin that has ended.
    pub(super) fn drop_origin(&mut self, origin: OriginId) {
        self.drop_where(|key, _| key.origin == origin);
    }

    /// Drops what was expected of a slot.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.drop_where(|_, prompt| prompt.slot == slot);
    }

    /// Drops the requests whose outcome was lost.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.drop_where(|_, prompt| now.ms_apart(prompt.since) > AGE_MS_MAX);
    }

    /// Every request without a first token: its key, its slot and adapter, and its chain.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RequestKey, (Slot, AdapterId), &[CellHash])> {
        let waiting = self.requests.iter().filter(|(_, prompt)| prompt.served.is_none());
        waiting.map(|(key, prompt)| (*key, (prompt.slot, prompt.adapter), prompt.chain.as_slice()))
    }

    /// Raises each endpoint's match in `found`, which is sorted by slot, to what is expected of it.
    pub(super) fn raise(&self, chain: &[CellHash], found: &mut Vec<Match>) {
        let Some(keys) = chain.first().and_then(|head| self.by_head.get(head)) else { return };
        for prompt in keys.iter().rev().take(EXAMINED_MAX).filter_map(|key| self.requests.get(key)) {
            let cells = u32_len(shared(&prompt.chain, chain));
            match found.binary_search_by_key(&prompt.slot, |entry| entry.slot) {
                Ok(at) => {
                    if let Some(entry) = found.get_mut(at) {
                        entry.raise_to(cells);
                    }
                }
                Err(at) => found.insert(at, Match::on_gpu(prompt.slot, cells)),
            }
        }
    }

    fn is_full(&self, cells: usize) -> bool {
        self.requests.len() >= REQUESTS_MAX || self.cells + cells > CELLS_MAX
    }

    /// Drops the one whose first token came first. `false`: there is none.
    fn drop_served(&mut self) -> bool {
        let Some((key, served)) = self.served.pop_front() else { return false };
        // Its number may be that of another attempt by now.
        if self.requests.get(&key).is_some_and(|prompt| prompt.served == Some(served)) {
            self.take(key);
        }
        true
    }

    fn drop_where(&mut self, is_dropped: impl Fn(RequestKey, &Prompt) -> bool) {
        let dropped: Vec<RequestKey> = self
            .requests
            .iter()
            .filter(|(key, prompt)| is_dropped(**key, prompt))
            .map(|(key, _)| *key)
            .collect();
        for key in dropped {
            self.take(key);
        }
    }
}

// === impl View ===

impl View {
    /// Whether a request that was sent has neither a first token nor another outcome.
    pub fn awaits(&self, key: RequestKey) -> bool {
        self.expected.awaits(key)
    }
}

/// Cells that two chains share from the first. A cell's hash names all that comes before it, so halving finds the end.
fn shared(one: &[CellHash], other: &[CellHash]) -> usize {
    let (mut same, mut differs) = (0, one.len().min(other.len()) + 1);
    while differs - same > 1 {
        let middle = same + (differs - same) / 2;
        if one.get(middle - 1) == other.get(middle - 1) {
            same = middle;
        } else {
            differs = middle;
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(request: u64) -> RequestKey {
        RequestKey { origin: OriginId(7), request }
    }

    /// A chain whose hashes name all that comes before, as those of prompts do.
    fn chain(text: &[u8]) -> Vec<CellHash> {
        let step = |hash: &mut u64, byte: &u8| {
            *hash = hash.wrapping_mul(31).wrapping_add(u64::from(*byte) + 1);
            Some(CellHash(*hash))
        };
        text.iter().scan(1, step).collect()
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_search_through_all(
            prompts in prop::collection::vec((0_u16..4, prop::collection::vec(0_u8..2, 0..12)), 0..20),
            gone in prop::collection::vec(0_u64..20, 0..8),
            asked in prop::collection::vec(0_u8..2, 0..12),
        ) {
            let mut expected = Expected::new(1);
            for (number, (slot, text)) in (0..).zip(&prompts) {
                prop_assert!(expected.add(key(number), (Slot(*slot), AdapterId::BASE), chain(text), Timestamp::ZERO));
            }
            for number in &gone {
                expected.take(key(*number));
            }
            let mut found = Vec::new();
            expected.raise(&chain(&asked), &mut found);
            for slot in (0..4).map(Slot) {
                let naive = (0..).zip(&prompts)
                    .filter(|(number, (of, _))| Slot(*of) == slot && !gone.contains(number))
                    .map(|(_, (_, text))| text.iter().zip(&asked).take_while(|(a, b)| a == b).count())
                    .max().unwrap_or(0);
                let cells = found.iter().find(|entry| entry.slot == slot).map_or(0, |entry| entry.cells);
                prop_assert_eq!(cells, u32_len(naive));
            }
            prop_assert!(found.is_sorted_by_key(|entry| entry.slot));
        }
    }

    #[test]
    fn nothing_is_left_of_what_went() {
        let mut expected = Expected::new(1);
        for number in 0..4 {
            expected.add(
                key(number),
                (Slot(u16::try_from(number).unwrap() % 2), AdapterId::BASE),
                chain(b"abc"),
                Timestamp::ZERO,
            );
        }
        expected.forget(Slot(1));
        assert_eq!(expected.take(key(0)), Some((Slot(0), chain(b"abc"))));
        expected.drop_origin(OriginId(7));
        assert_eq!((expected.cells, expected.requests.len(), expected.by_head.len()), (0, 0, 0));
    }

    #[test]
    fn it_is_bounded_in_cells_and_in_age() {
        let mut expected = Expected::new(1);
        let long: Vec<CellHash> = (0..4096).map(CellHash).collect();
        let taken = (0..1000).filter(|number| {
            expected.add(key(*number), (Slot(0), AdapterId::BASE), long.clone(), Timestamp::ZERO)
        });
        assert_eq!(taken.count(), CELLS_MAX / 4096);
        expected.expire(Timestamp::from_ms(AGE_MS_MAX + 1));
        assert_eq!(expected.cells, 0);
    }
}

//! The conversations that a gate follows: how they are found, which turns are under way, and what their places add up to.
//!
//! A conversation is found by its chain: a request whose chain contains the last cell of its latest prompt continues it. So does one
//! that contains its *mark*, a little before that: some agents rewrite the end of their prompts with each turn.
//!
//! An entry for each cell of a prompt, the obvious index, would cost as much memory as the prefix tree; a probe for each cell of a
//! request, as much time. So conversations stand under an *anchor*, a cell at a round depth of their latest prompt, and a request
//! looks at the few anchors on its own chain, deepest first.

use crate::hash::{SeededMap, seeded};
use crate::ids::{CellHash, ConversationId, EndpointId, OriginId, RequestKey, TenantId};
use crate::num::{index, u32_len};
use crate::time::Timestamp;
use crate::wire;
use std::collections::BTreeMap;

/// Conversations of one pool that are followed: 4 MiB, a quarter of a kilobyte each. Beyond, the one that is idle for longest is dropped.
pub const CONVERSATIONS_MAX: usize = 16_384;
/// Turns under way that are followed; those beyond count as ended.
pub const TURNS_MAX: usize = 16_384;
/// How long the end of a turn may take to come, in milliseconds. Later it counts as lost; if a response does take longer, its
/// conversation may lose its place at most.
const TURN_MS_MAX: u64 = 10 * 60 * 1_000;
/// How long a conversation is followed after its last turn, in milliseconds: an engine under load keeps nothing for half an hour.
const IDLE_MS_MAX: u64 = 30 * 60 * 1_000;
/// Cells between two anchors: about 4,000 tokens, so that a prompt of a hundred thousand has 25. A power of two.
const ANCHOR_CELLS: usize = 64;
const _: () = assert!(ANCHOR_CELLS.is_power_of_two());
/// Cells at the end of a prompt that the next turn may replace.
const REWRITTEN_CELLS_MAX: usize = 2;
/// Cells that a prompt must have for that: of a short one, so much is another question.
const REWRITTEN_PROMPT_CELLS_MIN: usize = 32;
/// Conversations under one anchor that a search looks at, the newest first.
const EXAMINED_MAX: usize = 256;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    conversations: SeededMap<ConversationId, Conversation>,
    by_anchor: SeededMap<CellHash, Vec<ConversationId>>,
    turns: SeededMap<RequestKey, Turn>,
    /// In the order of their endpoints, so that all VMs see the same order.
    places: BTreeMap<EndpointId, Places>,
}

/// One conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conversation {
    /// The first cell of its prompts: who shares a beginning with it has the same.
    pub(super) head: CellHash,
    anchor: CellHash,
    last: CellHash,
    mark: CellHash,
    /// Cells of its latest prompt.
    pub(super) cells: u32,
    /// Tokens that an endpoint keeps for it alone.
    pub(super) own_tokens: u64,
    /// Tokens that others begin with, too.
    pub(super) shared_tokens: u64,
    pub(super) tenant: TenantId,
    pub(super) place: Option<Place>,
    /// Turns under way, of those since the last one that contained a response.
    pub(super) under_way: u32,
    /// How many turns contained a response to one before: ends of earlier ones count no more.
    round: u32,
    /// Turns that were seen.
    pub(super) turns: u32,
    /// When its last turn began or ended, whichever is later.
    pub(super) seen: Timestamp,
    /// Whether it was counted among those that do not come back.
    pub(super) is_gone: bool,
}

/// The place of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) endpoint: EndpointId,
    /// Since when it has it.
    pub(super) since: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    conversation: ConversationId,
    round: u32,
    since: Timestamp,
}

/// The places at one endpoint.
#[derive(Clone, Debug, Default)]
struct Places {
    conversations: Vec<ConversationId>,
    own_tokens: u64,
    /// The longest shared beginning among them for each first cell: the endpoint keeps it once.
    shared: Vec<(CellHash, u64)>,
}

/// A turn as it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun<'a> {
    pub(super) key: RequestKey,
    pub(super) conversation: ConversationId,
    pub(super) endpoint: EndpointId,
    pub(super) chain: &'a [CellHash],
    pub(super) tokens: u64,
    pub(super) shared_tokens: u64,
    pub(super) tenant: TenantId,
}

// === impl Followed ===

impl Followed {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            conversations: SeededMap::with_hasher(seeded(seed)),
            by_anchor: SeededMap::with_hasher(seeded(seed)),
            turns: SeededMap::with_hasher(seeded(seed)),
            places: BTreeMap::new(),
        }
    }

    /// The conversation that a prompt continues; of several, the one that reaches deepest.
    pub(super) fn find(&self, chain: &[CellHash]) -> Option<ConversationId> {
        let mut depth = anchor_depth(chain.len());
        loop {
            let anchor = chain.get(depth.checked_sub(1)?)?;
            let under = self.by_anchor.get(anchor).map(Vec::as_slice).unwrap_or_default();
            let newest = under.iter().rev().take(EXAMINED_MAX);
            let continued = newest.filter_map(|id| {
                let conversation = self.conversations.get(id)?;
                conversation.is_continued_by(chain).then_some((conversation.cells, *id))
            });
            if let Some((_, deepest)) = continued.max() {
                return Some(deepest);
            }
            depth = if depth > ANCHOR_CELLS { depth - ANCHOR_CELLS } else { depth / 2 };
        }
    }

    pub(super) fn get(&self, id: ConversationId) -> Option<&Conversation> {
        self.conversations.get(&id)
    }

    /// The conversations with a place at an endpoint.
    pub(super) fn at(&self, endpoint: EndpointId) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        let placed = self.places.get(&endpoint).map(|places| places.conversations.as_slice());
        placed.unwrap_or_default().iter().filter_map(|id| Some((*id, self.conversations.get(id)?)))
    }

    /// Tokens that the conversations with places at an endpoint take there.
    pub(super) fn tokens_at(&self, endpoint: EndpointId) -> u64 {
        self.places.get(&endpoint).map_or(0, Places::tokens)
    }

    /// How many conversations are followed.
    pub(super) fn len(&self) -> usize {
        self.conversations.len()
    }

    /// A turn begins: its conversation has its place where it was sent. Returns the conversation as it was before.
    pub(super) fn begin(&mut self, begun: &Begun<'_>, now: Timestamp) -> Option<Conversation> {
        // Envoy may have tried it elsewhere before: then it is one turn, not two.
        self.end(begun.key, now);
        let (head, last) = (*begun.chain.first()?, *begun.chain.last()?);
        let marked = marked_cells(begun.chain.len());
        let mark = *begun.chain.get(marked.checked_sub(1)?)?;
        let anchor = *begun.chain.get(anchor_depth(marked).checked_sub(1)?)?;
        let old = self.leave(begun.conversation);
        if old.is_none() {
            self.make_room();
        }
        let before = old.and_then(|old| old.place).filter(|place| place.endpoint == begun.endpoint);
        let since = before.map_or(now, |place| place.since);
        let shared_tokens = begun.shared_tokens.min(begun.tokens);
        let follows = self.turns.len() < TURNS_MAX;
        // A prompt that contains the response to one before shows that this has ended, also where the event was lost.
        let has_response = old.is_some_and(|old| old.is_extended_by(begun.chain));
        let round = old.map_or(0, |old| old.round).wrapping_add(u32::from(has_response));
        let others = old.filter(|_| !has_response).map_or(0, |old| old.under_way);
        let conversation = Conversation {
            head,
            anchor,
            last,
            mark,
            cells: u32_len(begun.chain.len()),
            own_tokens: begun.tokens.saturating_sub(shared_tokens),
            shared_tokens,
            tenant: begun.tenant,
            place: Some(Place { endpoint: begun.endpoint, since }),
            under_way: others.saturating_add(u32::from(follows)),
            round,
            turns: old.map_or(0, |old| old.turns).saturating_add(1),
            seen: now,
            is_gone: false,
        };
        self.enter(begun.conversation, conversation);
        if follows {
            self.turns.insert(begun.key, Turn { conversation: begun.conversation, round, since: now });
        }
        old
    }

    /// A turn has ended; its conversation keeps its place. Returns which it is.
    pub(super) fn end(&mut self, key: RequestKey, now: Timestamp) -> Option<ConversationId> {
        let turn = self.turns.remove(&key)?;
        let conversation = self.conversations.get_mut(&turn.conversation)?;
        if conversation.round == turn.round {
            conversation.under_way = conversation.under_way.saturating_sub(1);
            conversation.seen = conversation.seen.max(now);
        }
        Some(turn.conversation)
    }

    /// A conversation loses its place.
    pub(super) fn displace(&mut self, id: ConversationId) {
        if let Some(conversation) = self.leave(id) {
            self.enter(id, Conversation { place: None, ..conversation });
        }
    }

    /// Takes over a conversation of a snapshot, unless it is known.
    pub(super) fn restore(&mut self, from: &wire::Conversation, now: Timestamp) {
        let id = ConversationId(from.conversation);
        if self.conversations.contains_key(&id) || from.cells == 0 {
            return;
        }
        self.make_room();
        let endpoint = (from.endpoint != 0).then_some(EndpointId(from.endpoint));
        let since = now.minus_ms(from.placed_ms);
        let conversation = Conversation {
            head: CellHash(from.head),
            anchor: CellHash(from.anchor),
            last: CellHash(from.cell),
            mark: CellHash(from.mark),
            cells: from.cells,
            own_tokens: from.tokens,
            shared_tokens: from.shared_tokens,
            tenant: TenantId(from.tenant),
            place: endpoint.map(|endpoint| Place { endpoint, since }),
            under_way: 0,
            round: 0,
            turns: from.turns,
            seen: now.minus_ms(from.idle_ms),
            // Whoever wrote the snapshot has counted it, or will.
            is_gone: true,
        };
        self.enter(id, conversation);
    }

    /// Every conversation, for a snapshot; the pool's name is left out.
    pub(super) fn export(&self, now: Timestamp) -> impl Iterator<Item = wire::Conversation> + '_ {
        self.conversations.iter().map(move |(id, of)| wire::Conversation {
            conversation: id.0,
            cell: of.last.0,
            endpoint: of.place.map_or(0, |place| place.endpoint.0),
            tokens: of.own_tokens,
            tenant: of.tenant.0,
            idle_ms: if of.under_way > 0 { 0 } else { now.ms_since(of.seen) },
            placed_ms: of.place.map_or(0, |place| now.ms_since(place.since)),
            pool: String::new(),
            head: of.head.0,
            anchor: of.anchor.0,
            cells: of.cells,
            shared_tokens: of.shared_tokens,
            turns: of.turns,
            mark: of.mark.0,
        })
    }

    /// An origin is gone: its turns have ended.
    pub(super) fn drop_origin(&mut self, origin: OriginId) {
        let keys: Vec<RequestKey> = self.turns.keys().filter(|key| key.origin == origin).copied().collect();
        for key in keys {
            self.end(key, Timestamp::ZERO);
        }
    }

    /// An endpoint keeps nothing any more: nobody has a place there.
    pub(super) fn forget(&mut self, endpoint: EndpointId) {
        let placed = self.places.remove(&endpoint).unwrap_or_default();
        for id in placed.conversations {
            if let Some(conversation) = self.conversations.get_mut(&id) {
                conversation.place = None;
            }
        }
    }

    /// Drops the turns whose end was lost, and conversations that nobody has continued for long.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let lost = self.turns.iter().filter(|(_, turn)| now.ms_apart(turn.since) > TURN_MS_MAX);
        let lost: Vec<RequestKey> = lost.map(|(key, _)| *key).collect();
        for key in lost {
            self.end(key, Timestamp::ZERO);
        }
        let is_idle = |of: &Conversation| of.under_way == 0 && now.ms_apart(of.seen) > IDLE_MS_MAX;
        let idle = self.conversations.iter().filter(|(_, conversation)| is_idle(conversation));
        let idle: Vec<ConversationId> = idle.map(|(id, _)| *id).collect();
        for id in idle {
            self.leave(id);
        }
    }

    /// Marks those that have been idle for `gone_ms` as gone. Returns after how many turns each is.
    pub(super) fn note_gone(&mut self, gone_ms: u64, now: Timestamp) -> Vec<u32> {
        let is_going =
            |of: &&mut Conversation| of.under_way == 0 && !of.is_gone && now.ms_since(of.seen) > gone_ms;
        let going = self.conversations.values_mut().filter(is_going);
        going
            .map(|of| {
                of.is_gone = true;
                of.turns
            })
            .collect()
    }

    /// Drops the conversation that is idle for longest, if there is no room for another one. Those without a place go first.
    fn make_room(&mut self) {
        if self.conversations.len() < CONVERSATIONS_MAX {
            return;
        }
        let key = |of: &Conversation| (of.under_way > 0, of.place.is_some(), of.seen);
        let first = self.conversations.iter().min_by_key(|(id, of)| (key(of), **id));
        if let Some(id) = first.map(|(id, _)| *id) {
            self.leave(id);
            self.turns.retain(|_, turn| turn.conversation != id);
        }
    }

    /// Takes a conversation out, with its place and its entry in the index.
    fn leave(&mut self, id: ConversationId) -> Option<Conversation> {
        let conversation = self.conversations.remove(&id)?;
        if let Some(under) = self.by_anchor.get_mut(&conversation.anchor) {
            under.retain(|other| *other != id);
            if under.is_empty() {
                self.by_anchor.remove(&conversation.anchor);
            }
        }
        let Some(place) = conversation.place else { return Some(conversation) };
        let Some(places) = self.places.get_mut(&place.endpoint) else { return Some(conversation) };
        places.conversations.retain(|other| *other != id);
        places.own_tokens = places.own_tokens.saturating_sub(conversation.own_tokens);
        if places.conversations.is_empty() {
            self.places.remove(&place.endpoint);
        } else if conversation.shared_tokens > 0
            && conversation.shared_tokens >= places.shared_of(conversation.head)
        {
            let others = places.conversations.iter().filter_map(|other| self.conversations.get(other));
            let same = others.filter(|other| other.head == conversation.head);
            let longest = same.map(|other| other.shared_tokens).max().unwrap_or(0);
            places.set_shared(conversation.head, longest);
        }
        Some(conversation)
    }

    fn enter(&mut self, id: ConversationId, conversation: Conversation) {
        self.by_anchor.entry(conversation.anchor).or_default().push(id);
        if let Some(place) = conversation.place {
            let places = self.places.entry(place.endpoint).or_default();
            places.conversations.push(id);
            places.own_tokens = places.own_tokens.saturating_add(conversation.own_tokens);
            let longest = places.shared_of(conversation.head).max(conversation.shared_tokens);
            places.set_shared(conversation.head, longest);
        }
        self.conversations.insert(id, conversation);
    }
}

// === impl Conversation ===

impl Conversation {
    /// Whether a prompt is a turn after its latest one.
    fn is_continued_by(&self, chain: &[CellHash]) -> bool {
        let cells = index(self.cells);
        let is_idle = self.under_way == 0;
        // What comes while a turn is under way, and does not contain its response, is another request that looks alike.
        self.is_extended_by(chain)
            || (is_idle && has(chain, cells, self.last))
            || (is_idle && chain.len() >= cells && has(chain, marked_cells(cells), self.mark))
    }

    /// Whether a prompt contains its latest one, and more.
    fn is_extended_by(&self, chain: &[CellHash]) -> bool {
        let cells = index(self.cells);
        chain.len() > cells && has(chain, cells, self.last)
    }
}

// === impl Places ===

impl Places {
    fn tokens(&self) -> u64 {
        self.shared.iter().fold(self.own_tokens, |sum, (_, tokens)| sum.saturating_add(*tokens))
    }

    fn shared_of(&self, head: CellHash) -> u64 {
        self.shared.iter().find(|(of, _)| *of == head).map_or(0, |(_, tokens)| *tokens)
    }

    fn set_shared(&mut self, head: CellHash, tokens: u64) {
        self.shared.retain(|(of, _)| *of != head);
        if tokens > 0 {
            self.shared.push((head, tokens));
        }
    }
}

/// Whether a chain has a cell at a depth, from one.
fn has(chain: &[CellHash], depth: usize, cell: CellHash) -> bool {
    depth.checked_sub(1).and_then(|at| chain.get(at)) == Some(&cell)
}

/// The depth, in cells from one, of the mark of a chain of so many.
fn marked_cells(cells: usize) -> usize {
    if cells < REWRITTEN_PROMPT_CELLS_MIN { cells } else { cells - REWRITTEN_CELLS_MAX }
}

/// The depth, in cells from one, of the anchor of a chain of so many: of short ones, which are many, the depths are closer.
fn anchor_depth(cells: usize) -> usize {
    if cells < ANCHOR_CELLS {
        cells.checked_ilog2().map_or(0, |log| 1 << log)
    } else {
        cells - cells % ANCHOR_CELLS
    }
}

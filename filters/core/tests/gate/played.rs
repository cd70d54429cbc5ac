//! A gate in use at one engine, at which conversations of one size take their turns.

use warmpath_core::admission::{Admission, Asked, Engines, HeldKey, Room, Sent, Verdict};
use warmpath_core::ids::{CellHash, ConversationId, EndpointId, OriginId, RequestKey, TenantId};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Held, HeldFor, Hold, Turn};

/// Tokens that the engine holds, of which 95,000 may be given away in places.
pub(crate) const ROOM: u64 = 100_000;
/// Tokens of most conversations: three have a place, and a fourth one would need 1,000 more than may be given away.
pub(crate) const TOKENS: u64 = 24_000;
/// Time in which the engine computes what it holds: the lease, too, of whom too few pauses were seen.
pub(crate) const LEASE_MS: u64 = 10_000;
/// The longest wait.
pub(crate) const WAIT_MS_MAX: u64 = 100_000;
/// After so long a wait a request is overdue.
pub(crate) const OVERDUE_MS: u64 = 90_000;
pub(crate) const ENGINE: EndpointId = EndpointId(1);
pub(crate) const OTHER_ENGINE: EndpointId = EndpointId(2);

/// A gate, and the time.
pub(crate) struct Played {
    pub(crate) gate: Admission,
    pub(crate) rooms: Vec<Room>,
    pub(crate) now: Timestamp,
    requests: u64,
}

/// A turn of a conversation.
#[derive(Clone, Copy)]
pub(crate) struct Of {
    conversation: u64,
    tokens: u64,
    shared_tokens: u64,
    tenant: TenantId,
    waited_ms: u64,
}

pub(crate) fn of(conversation: u64) -> Of {
    Of { conversation, tokens: TOKENS, shared_tokens: 0, tenant: TenantId::of(""), waited_ms: 0 }
}

impl Of {
    pub(crate) fn tokens(self, tokens: u64) -> Self {
        Self { tokens, ..self }
    }

    /// So many of its tokens are those that others begin with, too.
    pub(crate) fn shared(self, shared_tokens: u64) -> Self {
        Self { shared_tokens, ..self }
    }

    pub(crate) fn tenant(self, tenant: &str) -> Self {
        Self { tenant: TenantId::of(tenant), ..self }
    }

    pub(crate) fn waited(self, waited_ms: u64) -> Self {
        Self { waited_ms, ..self }
    }
}

impl Played {
    /// A gate that is in use, where nobody has a place.
    pub(crate) fn in_use() -> Self {
        let mut gate = Self::unused();
        (0..40).for_each(|_| gate.turn(of(99).tokens(64)));
        gate.pass(0);
        assert!(gate.gate.is_on());
        gate.gate.forget(ENGINE);
        gate
    }

    pub(crate) fn unused() -> Self {
        let hold = Hold { room_ms_max: u32::try_from(WAIT_MS_MAX).unwrap(), ..Hold::default() };
        let rooms = vec![Room { endpoint: ENGINE, tokens: ROOM }];
        Self { gate: Admission::new(hold, 1), rooms, now: Timestamp::from_ms(1_000_000), requests: 0 }
    }

    /// One with three conversations in place, 1 to 3, a second apart.
    pub(crate) fn with_three(tenants: [&'static str; 3]) -> Self {
        let mut gate = Self::in_use();
        for (conversation, tenant) in (1..).zip(tenants) {
            gate.turn(of(conversation).tenant(tenant));
            gate.pass(1_000);
        }
        gate
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        let engines =
            Engines { room_tokens: ROOM, refill_ms: LEASE_MS, backlog_ms: 10_000, is_near_full: true };
        self.gate.expire(engines, self.now);
    }

    pub(crate) fn begin_at(&mut self, endpoint: EndpointId, of: Of) -> RequestKey {
        self.requests += 1;
        let key = RequestKey { origin: OriginId(1), request: self.requests };
        let turn = Turn {
            conversation: of.conversation,
            tokens: of.tokens,
            shared_tokens: of.shared_tokens,
            tenant: of.tenant.0,
            waited_ms: of.waited_ms,
            ..Turn::default()
        };
        // All begin with the same cell.
        let others = (1..of.tokens / 64).map(|at| CellHash(of.conversation << 32 | at));
        let chain: Vec<CellHash> = std::iter::once(CellHash(1)).chain(others).collect();
        let sent = Sent { key, endpoint, chain: &chain, turn: &turn, found_cells: 0 };
        self.gate.sent(sent, &self.rooms, self.now);
        key
    }

    pub(crate) fn begin(&mut self, of: Of) -> RequestKey {
        self.begin_at(ENGINE, of)
    }

    /// A turn that begins and ends at once.
    pub(crate) fn turn(&mut self, of: Of) {
        let key = self.begin(of);
        self.gate.ended(key, self.now);
    }

    /// Which of the conversations up to 9 have places.
    pub(crate) fn placed(&self) -> Vec<u64> {
        (1..10).filter(|id| self.gate.place(ConversationId(*id)).is_some()).collect()
    }

    pub(crate) fn asked(&self, of: Of) -> Asked {
        let id = ConversationId(of.conversation);
        let conversation = self.gate.export(self.now).any(|one| one.conversation == id.0).then_some(id);
        Asked {
            conversation,
            tokens: of.tokens,
            shared_tokens: of.shared_tokens,
            tenant: of.tenant,
            priority: 0,
            is_learned: false,
        }
    }

    pub(crate) fn verdict(&self, of: Of) -> Verdict {
        self.gate.verdict(&self.asked(of), &self.rooms, self.now)
    }

    /// Holds a request that has waited for so long, with a priority.
    pub(crate) fn hold(&mut self, of: Of, priority: i32) {
        let conversation = self.asked(of).conversation.map_or(0, |ConversationId(id)| id);
        let held = Held {
            origin: 1,
            number: of.conversation,
            held_for: HeldFor::Room.into(),
            age_ms: of.waited_ms,
            conversation,
            tokens: of.tokens,
            tenant: of.tenant.0,
            priority,
            ..Held::default()
        };
        self.gate.held(&held, self.now);
    }

    /// Whose held request goes on next.
    pub(crate) fn next(&self) -> Option<(u64, Verdict)> {
        self.gate.next(&self.rooms, self.now).map(|(HeldKey { number, .. }, verdict)| (number, verdict))
    }

    /// All that are held, in the order in which they go on where there is room for all.
    pub(crate) fn order(mut self) -> Vec<u64> {
        self.rooms = vec![Room { endpoint: ENGINE, tokens: 100 * ROOM }];
        let next = || {
            let (number, _) = self.next()?;
            let key = HeldKey { origin: OriginId(1), number };
            let waiting = *self.gate.queue().iter().find(|waiting| waiting.key == key)?;
            self.gate.released(key);
            self.begin(Of {
                tenant: waiting.asked.tenant,
                ..of(number).tokens(waiting.asked.tokens).waited(1)
            });
            Some(number)
        };
        std::iter::from_fn(next).collect()
    }
}

pub(crate) fn room() -> Verdict {
    Verdict::Room(vec![ENGINE])
}

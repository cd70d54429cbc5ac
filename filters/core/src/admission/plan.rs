//! Who goes on, who waits, and who loses a place.
//!
//! A conversation keeps its place until its lease has lapsed and somebody else needs the room, or until somebody is overdue: then
//! whoever has been idle for longest goes, whatever its lease. Between those two, places change hands rarely, so that most turns find
//! all of their prefix. A bound on the time in place, the obvious rule for a fair share, changes hands as often for the same wait, but
//! at times when nobody gains from it.
//!
//! Places are lost only by what everybody sees, a turn that was sent, so that no event has to say it. What a verdict says before
//! that is what would become of the places if its request were sent now.

use super::followed::Conversation;
use super::{Admission, Asked, HeldKey, Room, Verdict};
use crate::ids::{ConversationId, EndpointId, TenantId};
use crate::num::{count, float};
use crate::time::Timestamp;
use std::collections::BTreeMap;

/// Share of what an endpoint holds that may be given away in places. The rest is for small prompts, which are not followed, and for
/// turns that are longer than expected; a trim mends what is beyond.
const PLACES_SHARE: f64 = 0.95;
/// Held requests that are looked at for one that fits: behind the first that does not, few do.
const EXAMINED_MAX: usize = 64;

/// The room at one endpoint, as of a moment.
#[derive(Clone, Copy, Debug)]
struct Free {
    room: Room,
    /// Tokens in places, with the beginnings that they share.
    used: u64,
    /// The same without those.
    own: u64,
    /// Tokens of those that may be displaced by anybody.
    lapsed: u64,
    /// Tokens of further ones that belong to tenants with more than their share.
    over_share: u64,
    /// Tokens of all that may be displaced by whoever is overdue.
    idle: u64,
    /// Whether it is kept for somebody who waits.
    is_reserved: bool,
}

/// The room of a pool, as of a moment.
struct Plan {
    free: Vec<Free>,
    shares: TenantShares,
}

/// What each tenant has in places, and should have at most while others want more.
#[derive(Default)]
struct TenantShares {
    placed: BTreeMap<TenantId, u64>,
    /// Tokens for a weight of one.
    unit: f64,
}

/// On what grounds a conversation may lose its place to another; the lower, the sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ground {
    /// Its lease has lapsed.
    Lapsed,
    /// Its tenant has more than its share.
    OverShare,
    /// It is idle.
    Idle,
}

// === impl Admission ===

impl Admission {
    /// What becomes of a request that comes now.
    pub fn verdict(&self, asked: &Asked, rooms: &[Room], now: Timestamp) -> Verdict {
        if !self.switch.is_on() || rooms.is_empty() {
            return Verdict::Open;
        }
        let mut plan = self.plan(rooms, asked.tenant, now);
        if let [first] = self.order(1, now).as_slice() {
            self.reserve(&first.waiting.asked, &mut plan);
        }
        self.verdict_of(asked, false, &plan, now)
    }

    /// The request held for room that goes on next, if it can now: the same in all VMs. Whoever holds it sends it.
    pub fn next(&self, rooms: &[Room], now: Timestamp) -> Option<(HeldKey, Verdict)> {
        if rooms.is_empty() || self.queue.is_empty() {
            return None;
        }
        let order = self.order(EXAMINED_MAX, now);
        let first = order.first()?.waiting;
        if !self.switch.is_on() {
            return Some((first.key, Verdict::Open));
        }
        let mut plan = self.plan(rooms, first.asked.tenant, now);
        for (at, one) in order.iter().enumerate() {
            match self.verdict_of(&one.waiting.asked, one.is_overdue, &plan, now) {
                Verdict::Full if at == 0 || one.is_overdue => self.reserve(&one.waiting.asked, &mut plan),
                Verdict::Full => {}
                verdict => return Some((one.waiting.key, verdict)),
            }
        }
        None
    }

    /// A turn was sent to an endpoint, with a place that is new there or not: others lose theirs if it needs the room, or if all take
    /// more than there is.
    pub(super) fn make_room(
        &mut self,
        (endpoint, rooms): (EndpointId, &[Room]),
        (sender, is_new, waited_ms): (ConversationId, bool, u64),
        now: Timestamp,
    ) {
        let Some(room) = rooms.iter().find(|room| room.endpoint == endpoint) else { return };
        let used = self.followed.tokens_at(room.endpoint);
        let within = places_max(room);
        if used <= within || (used <= room.tokens && !is_new) {
            return;
        }
        let tenant = self.followed.get(sender).map_or_else(TenantId::default, |sender| sender.tenant);
        let shares = self.tenant_shares(rooms, tenant);
        let is_under = !shares.is_over(tenant, self.shares.weight(tenant));
        let is_overdue = self.is_overdue(waited_ms);
        let placed = self.followed.at(room.endpoint).filter(|(id, _)| *id != sender);
        let mut victims: Vec<(Ground, Timestamp, ConversationId)> =
            placed.filter_map(|(id, of)| Some((self.ground(of, &shares, now)?, of.seen, id))).collect();
        victims.sort_unstable();
        for (ground, _, id) in victims {
            let used = self.followed.tokens_at(room.endpoint);
            let may_displace = match ground {
                Ground::Lapsed => true,
                Ground::OverShare => is_under || is_overdue,
                Ground::Idle => is_overdue,
            };
            let gives_way = is_new && may_displace && self.switch.is_on();
            if used > room.tokens || (used > within && gives_way) {
                self.followed.displace(id);
            }
        }
    }

    fn verdict_of(&self, asked: &Asked, is_overdue: bool, plan: &Plan, now: Timestamp) -> Verdict {
        let known = asked.conversation.and_then(|id| self.followed.get(id));
        if let Some(known) = known
            && let Some(place) = known.place
            && let Some(there) = plan.free.iter().find(|free| free.room.endpoint == place.endpoint)
        {
            let ground = self.ground(known, &plan.shares, now);
            if !there.is_reserved || ground.is_none_or(|ground| ground == Ground::Idle) {
                return Verdict::Placed(place.endpoint);
            }
        }
        let is_under =
            plan.shares.is_under(asked.tenant, asked.own_tokens(), self.shares.weight(asked.tenant));
        let fits = plan.free.iter().filter(|free| free.has_room(asked.own_tokens(), is_overdue, is_under));
        let fits: Vec<EndpointId> = fits.map(|free| free.room.endpoint).collect();
        if fits.is_empty() { Verdict::Full } else { Verdict::Room(fits) }
    }

    fn plan(&self, rooms: &[Room], tenant: TenantId, now: Timestamp) -> Plan {
        let shares = self.tenant_shares(rooms, tenant);
        let free = rooms.iter().map(|room| {
            let used = self.followed.tokens_at(room.endpoint);
            let mut free =
                Free { own: 0, lapsed: 0, over_share: 0, idle: 0, room: *room, used, is_reserved: false };
            for (_, of) in self.followed.at(room.endpoint) {
                free.own += of.own_tokens;
                match self.ground(of, &shares, now) {
                    Some(Ground::Lapsed) => free.lapsed += of.own_tokens,
                    Some(Ground::OverShare) => free.over_share += of.own_tokens,
                    Some(Ground::Idle) => free.idle += of.own_tokens,
                    None => {}
                }
            }
            free
        });
        Plan { free: free.collect(), shares }
    }

    /// Keeps for a request the endpoint where it needs least: its own, or the one with most room.
    fn reserve(&self, asked: &Asked, plan: &mut Plan) {
        let own = asked.conversation.and_then(|id| self.place(id));
        let open = plan.free.iter_mut().filter(|free| !free.is_reserved);
        let best = open.max_by_key(|free| {
            let displaced = free.lapsed.saturating_add(free.over_share);
            (
                Some(free.room.endpoint) == own,
                free.room.tokens.saturating_add(displaced).saturating_sub(free.used),
            )
        });
        if let Some(best) = best {
            best.is_reserved = true;
        }
    }

    /// On what grounds a conversation may lose its place; `None`: on none, a turn is under way.
    fn ground(&self, of: &Conversation, shares: &TenantShares, now: Timestamp) -> Option<Ground> {
        if of.under_way > 0 {
            return None;
        }
        if now.ms_since(of.seen) >= self.lease_ms(of.turns) {
            return Some(Ground::Lapsed);
        }
        let is_over = shares.is_over(of.tenant, self.shares.weight(of.tenant));
        Some(if is_over { Ground::OverShare } else { Ground::Idle })
    }

    /// The shares of the tenants that have places or wait, one that asks included.
    fn tenant_shares(&self, rooms: &[Room], asking: TenantId) -> TenantShares {
        let waiting = self.queue.tenants().map(|(tenant, _)| (tenant, 0));
        let placed = rooms.iter().flat_map(|room| self.followed.at(room.endpoint));
        let placed = placed.map(|(_, of)| (of.tenant, of.own_tokens));
        let mut shares = TenantShares::default();
        let mut all = 0;
        for (tenant, tokens) in waiting.chain([(asking, 0)]).chain(placed) {
            *shares.placed.entry(tenant).or_default() += tokens;
        }
        for room in rooms {
            all += places_max(room);
        }
        let weights: f64 = shares.placed.keys().map(|tenant| self.shares.weight(*tenant)).sum();
        shares.unit = float(all) / weights.max(1.0);
        shares
    }
}

// === impl Free ===

impl Free {
    /// Whether a place of so many tokens fits, once all have lost theirs that may.
    fn has_room(&self, tokens: u64, is_overdue: bool, is_under_share: bool) -> bool {
        let mut left = self.own.saturating_sub(self.lapsed);
        if is_overdue || is_under_share {
            left = left.saturating_sub(self.over_share);
        }
        if is_overdue {
            left = left.saturating_sub(self.idle);
        }
        // What is larger than any room gets one for itself.
        let shared = self.used.saturating_sub(self.own);
        let fits = left.saturating_add(shared).saturating_add(tokens) <= places_max(&self.room);
        (fits || left == 0) && !self.is_reserved
    }
}

// === impl TenantShares ===

impl TenantShares {
    fn is_over(&self, tenant: TenantId, weight: f64) -> bool {
        self.placed.len() > 1 && float(self.of(tenant)) > self.unit * weight
    }

    fn is_under(&self, tenant: TenantId, tokens: u64, weight: f64) -> bool {
        self.placed.len() > 1 && float(self.of(tenant).saturating_add(tokens)) <= self.unit * weight
    }

    fn of(&self, tenant: TenantId) -> u64 {
        self.placed.get(&tenant).copied().unwrap_or_default()
    }
}

/// Tokens of an endpoint that may be given away in places.
fn places_max(room: &Room) -> u64 {
    count(float(room.tokens) * PLACES_SHARE)
}

//! Generated histories of an engine, its connection and its replays, against a model that knows what the engine holds.
//!
//! What is relied on must be true as soon as nothing is missing without a sign: after a message was received of which the
//! engine has published no later one. Nothing is relied on while there is no connection.

use super::{content, removed, stored};
use crate::events::trust::{Ask, Content, Follower, Outcome, REPLAY_IDLE_MS_MAX};
use crate::events::{KvEvent, Step};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeSet, VecDeque};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::Trust;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// The engine changes, and publishes it.
    Store(u8),
    Remove(u8),
    Clear,
    /// The same, but the message is lost on the way.
    Lost(u8),
    /// A message that was received already comes once more.
    Again(u8),
    Disconnect,
    Connect,
    Restart,
    /// The engine receives the request for a replay.
    Serve,
    /// So many messages of the replay come.
    Replay(u8),
    /// The next message of the replay is dropped.
    Drop,
    Fail,
    Wait,
}

/// The engine, and what is on its way.
struct World {
    follower: Follower,
    /// What the receiver of all steps believes.
    believed: BTreeSet<u64>,
    trust: Trust,
    process: u64,
    held: BTreeSet<u64>,
    published: Vec<Content>,
    /// Messages that the engine keeps for replays.
    kept: usize,
    is_connected: bool,
    /// Whether a message was lost, and none has come since.
    is_behind: bool,
    asked: Option<Ask>,
    replies: VecDeque<(u64, u64, Content)>,
    ends: Option<u64>,
    now: Timestamp,
}

impl World {
    fn new(has_replay: bool, kept: usize) -> Self {
        Self {
            follower: Follower::new(has_replay),
            believed: BTreeSet::new(),
            trust: Trust::None,
            process: 0,
            held: BTreeSet::new(),
            published: Vec::new(),
            kept,
            is_connected: false,
            is_behind: false,
            asked: None,
            replies: VecDeque::new(),
            ends: None,
            now: Timestamp::from_ms(1_000_000),
        }
    }

    fn take(&mut self, out: Outcome) {
        for step in out.steps {
            match step {
                Step::Trust { trust, is_cleared } => {
                    if is_cleared {
                        self.believed.clear();
                    }
                    self.trust = trust;
                }
                Step::Apply(batch) => apply(&mut self.believed, &batch.events),
                Step::Gone => panic!("ranks end elsewhere"),
            }
        }
        if let Some(ask) = out.ask {
            self.asked = Some(ask);
        }
        assert_eq!(self.trust, self.follower.trust());
    }

    fn publish(&mut self, event: KvEvent, is_lost: bool) {
        let sequence = u64::try_from(self.published.len()).unwrap();
        let events = vec![event];
        apply(&mut self.held, &events);
        let content = content(self.process + 1, sequence, events);
        self.published.push(content.clone());
        if self.is_connected && !is_lost {
            let out = self.follower.published(sequence, content, self.now);
            self.is_behind = false;
            self.take(out);
        } else {
            self.is_behind = true;
        }
    }

    fn connect(&mut self) {
        if !self.is_connected {
            self.is_connected = true;
            let out = self.follower.connected(self.now);
            self.take(out);
        }
    }

    fn disconnect(&mut self) {
        if self.is_connected {
            self.is_connected = false;
            let out = self.follower.disconnected();
            self.take(out);
        }
    }

    fn serve(&mut self) {
        let Some(ask) = self.asked.take() else { return };
        let first = self.published.len().saturating_sub(self.kept);
        let asked = usize::try_from(ask.from).unwrap();
        let numbered = (0..).zip(&self.published).skip(first.max(asked));
        self.replies = numbered.map(|(at, content)| (ask.id, at, content.clone())).collect();
        self.ends = Some(ask.id);
    }

    fn replay(&mut self, messages: usize) {
        for _ in 0..messages {
            let out = match self.replies.pop_front() {
                Some((ask, sequence, content)) => self.follower.replayed(ask, sequence, content, self.now),
                None => match self.ends.take() {
                    Some(ask) => self.follower.replay_ended(ask, self.now),
                    None => return,
                },
            };
            self.take(out);
        }
    }

    fn act(&mut self, act: Act) {
        self.now = self.now.plus_ms(7);
        match act {
            Act::Store(block) => self.publish(stored(u64::from(block % 16)), false),
            Act::Remove(block) => self.publish(removed(u64::from(block % 16)), false),
            Act::Clear => self.publish(KvEvent::Cleared, false),
            Act::Lost(block) if block % 2 == 0 => self.publish(removed(u64::from(block % 16)), true),
            Act::Lost(block) => self.publish(stored(u64::from(block % 16)), true),
            Act::Again(back) => {
                let Some(at) = self.published.len().checked_sub(1 + usize::from(back % 4)) else { return };
                if self.is_connected {
                    let sequence = u64::try_from(at).unwrap();
                    let out = self.follower.published(sequence, self.published[at].clone(), self.now);
                    self.is_behind = true;
                    self.take(out);
                }
            }
            Act::Disconnect => self.disconnect(),
            Act::Connect => self.connect(),
            Act::Restart => {
                self.disconnect();
                self.now = self.now.plus_ms(20_000);
                self.process += 1;
                self.held.clear();
                self.published.clear();
                let out = self.follower.renewed(self.now);
                self.take(out);
            }
            Act::Serve => self.serve(),
            Act::Replay(messages) => self.replay(usize::from(messages % 8)),
            Act::Drop => {
                let was_there = self.replies.pop_front().is_some();
                // Without a later message, nothing shows that it is missing, also where it came before, while a replay ran that broke off.
                self.is_behind |= was_there && self.replies.is_empty();
            }
            Act::Fail => {
                if let Some(ask) = self.ends.take().or_else(|| self.asked.take().map(|ask| ask.id)) {
                    self.replies.clear();
                    let out = self.follower.replay_failed(ask, self.now);
                    self.take(out);
                }
            }
            Act::Wait => {
                self.now = self.now.plus_ms(REPLAY_IDLE_MS_MAX);
                let out = self.follower.tick(self.now);
                self.take(out);
            }
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        if !self.is_connected {
            prop_assert!(matches!(self.trust, Trust::None | Trust::Suspect), "{:?}", self.trust);
        } else if !self.is_behind {
            if matches!(self.trust, Trust::Partial | Trust::Whole) {
                prop_assert!(self.believed.is_subset(&self.held), "{:?} {:?}", self.believed, self.held);
            }
            if self.trust == Trust::Whole {
                prop_assert_eq!(&self.believed, &self.held);
            }
        }
        Ok(())
    }
}

fn apply(blocks: &mut BTreeSet<u64>, events: &[KvEvent]) {
    for event in events {
        match event {
            KvEvent::Stored(stored) => blocks.extend(stored.hashes.iter().map(|hash| hash.0)),
            KvEvent::Removed { hashes, .. } => hashes.iter().for_each(|hash| {
                blocks.remove(&hash.0);
            }),
            KvEvent::Cleared => blocks.clear(),
        }
    }
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => any::<u8>().prop_map(Act::Store),
        8 => any::<u8>().prop_map(Act::Remove),
        1 => Just(Act::Clear),
        3 => any::<u8>().prop_map(Act::Lost),
        1 => any::<u8>().prop_map(Act::Again),
        2 => Just(Act::Disconnect),
        5 => Just(Act::Connect),
        1 => Just(Act::Restart),
        5 => Just(Act::Serve),
        8 => any::<u8>().prop_map(Act::Replay),
        1 => Just(Act::Drop),
        1 => Just(Act::Fail),
        1 => Just(Act::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8 * ProptestConfig::default().cases))]

    #[test]
    fn what_is_relied_on_is_true(
        has_replay in any::<bool>(),
        kept in prop_oneof![Just(usize::MAX), 1..12usize],
        acts in vec(acts(), 0..150),
    ) {
        let mut world = World::new(has_replay, kept);
        let replays_work = !acts.iter().any(|act| matches!(act, Act::Drop | Act::Fail | Act::Wait));
        for act in acts {
            world.act(act);
            world.check()?;
        }
        // Whatever has happened, it ends when everything works again.
        world.connect();
        for block in 0..4 {
            while world.asked.is_some() || world.ends.is_some() {
                world.serve();
                world.replay(1_000);
            }
            world.now = world.now.plus_ms(20_000);
            world.act(Act::Store(block));
            world.check()?;
        }
        prop_assert!(matches!(world.trust, Trust::Partial | Trust::Whole), "{:?}", world.trust);
        if has_replay && replays_work && kept == usize::MAX {
            prop_assert_eq!(world.trust, Trust::Whole);
        }
    }
}

//! Single conversations with one engine; `histories` has generated ones.

mod histories;

use super::{Ask, Content, Follower, LAG_MS_MAX, Outcome, REPLAY_IDLE_MS_MAX, REPLAYS_MAX};
use crate::events::frame::{Decoded, FrameError, Skipped};
use crate::events::{Batch, BlockHash, KvEvent, Step, StoredBlocks};
use warmpath_core::time::Timestamp;
use warmpath_core::wire::{Tier, Trust};

const NOW: Timestamp = Timestamp::from_ms(1_000);

fn stored(block: u64) -> KvEvent {
    KvEvent::Stored(StoredBlocks {
        hashes: vec![BlockHash(block)],
        parent: None,
        tokens: vec![1],
        block_tokens: 1,
        lora: None,
        extra_keys: Vec::new(),
        tier: Tier::Gpu,
        group: 0,
        kind: None,
    })
}

fn removed(block: u64) -> KvEvent {
    KvEvent::Removed { hashes: vec![BlockHash(block)], tier: Tier::Gpu, group: 0 }
}

/// A message of a process with these events.
fn content(process: u64, sequence: u64, events: Vec<KvEvent>) -> Content {
    let decoded = Ok(Decoded { batch: Batch { events }, ..Decoded::default() });
    Content { decoded, digest: process << 32 | sequence, bytes: 100 }
}

/// A message that stores the block of its own number.
fn message(sequence: u64) -> Content {
    content(0, sequence, vec![stored(sequence)])
}

/// The steps in short: `+` and the first block for events, the trust otherwise.
fn short(outcome: &Outcome) -> Vec<String> {
    let short = |step: &Step| match step {
        Step::Apply(batch) => match &batch.events[0] {
            KvEvent::Stored(stored) => format!("+{}", stored.hashes[0].0),
            KvEvent::Removed { hashes, .. } => format!("-{}", hashes[0].0),
            KvEvent::Cleared => "cleared".to_owned(),
        },
        Step::Trust { trust, is_cleared } => {
            let trust = match trust {
                Trust::None => "none",
                Trust::Whole => "whole",
                Trust::Partial => "partial",
                Trust::Suspect => "suspect",
            };
            format!("{trust}{}", if *is_cleared { ", void" } else { "" })
        }
        Step::Gone => "gone".to_owned(),
    };
    outcome.steps.iter().map(short).collect()
}

/// A follower that has received messages up to a number, from zero.
fn following(has_replay: bool, last: u64) -> Follower {
    let mut follower = Follower::new(has_replay);
    if let Some(ask) = follower.connected(NOW).ask {
        follower.replay_ended(ask.id, NOW);
    }
    for sequence in 0..=last {
        follower.published(sequence, message(sequence), NOW);
    }
    assert_eq!(follower.trust(), Trust::Whole);
    follower
}

#[test]
fn one_that_is_followed_from_its_start_is_known_whole() {
    let mut follower = Follower::new(false);
    assert_eq!(follower.connected(NOW), Outcome::default());
    assert_eq!(short(&follower.published(0, message(0), NOW)), ["+0", "whole"]);
    assert_eq!(short(&follower.published(1, message(1), NOW)), ["+1"]);
}

#[test]
fn one_that_is_met_later_is_known_in_part() {
    let mut follower = Follower::new(false);
    follower.connected(NOW);
    assert_eq!(short(&follower.published(7, message(7), NOW)), ["+7", "partial"]);
    assert_eq!(short(&follower.filled()), ["whole"], "its capacity leaves no room for others");
    let mut follower = Follower::new(false);
    follower.connected(NOW);
    follower.published(7, message(7), NOW);
    let cleared = content(0, 8, vec![KvEvent::Cleared]);
    assert_eq!(
        short(&follower.published(8, cleared, NOW)),
        ["cleared", "whole"],
        "nothing from before is left"
    );
}

/// Prompts of adapters were not found at all where an engine states adapters by their numbers: the rest counted as the whole.
#[test]
fn one_that_stores_blocks_of_which_its_events_do_not_say_enough_is_known_in_part() {
    let mut follower = following(false, 3);
    let skipped = Skipped { adapters: 1, ..Skipped::default() };
    let mut unnamed = content(0, 4, Vec::new());
    unnamed.decoded = Ok(Decoded { skipped, ..Decoded::default() });
    assert_eq!(short(&follower.published(4, unnamed, NOW)), ["partial"]);
    let cleared = content(0, 5, vec![KvEvent::Cleared]);
    assert_eq!(short(&follower.published(5, cleared, NOW)), ["cleared", "whole"], "they have gone as well");
}

#[test]
fn a_clear_of_the_gpu_leaves_what_is_below_it() {
    let mut follower = Follower::new(false);
    follower.connected(NOW);
    let mut below = stored(7);
    if let KvEvent::Stored(stored) = &mut below {
        stored.tier = Tier::Cpu;
    }
    follower.published(7, content(0, 7, vec![below.clone()]), NOW);
    let cleared = content(0, 8, vec![KvEvent::Cleared]);
    assert_eq!(short(&follower.published(8, cleared.clone(), NOW)), ["cleared"]);
    assert_eq!(follower.filled(), Outcome::default(), "the GPU being full says nothing of what is below it");
    let mut follower = following(false, 6);
    follower.published(7, content(0, 7, vec![below]), NOW);
    assert_eq!(
        short(&follower.published(8, cleared, NOW)),
        ["cleared", "partial"],
        "what is below is forgotten with the rest"
    );
}

#[test]
fn a_replay_from_the_first_message_makes_it_whole() {
    let mut follower = Follower::new(true);
    let ask = follower.connected(NOW).ask.unwrap();
    assert_eq!(ask.from, 0);
    assert_eq!(short(&follower.published(2, message(2), NOW)), Vec::<String>::new(), "held");
    assert_eq!(short(&follower.replayed(ask.id, 0, message(0), NOW)), ["suspect", "+0"]);
    assert_eq!(short(&follower.replayed(ask.id, 1, message(1), NOW)), ["+1"]);
    assert_eq!(short(&follower.replayed(ask.id, 2, message(2), NOW)), ["+2"]);
    assert_eq!(short(&follower.published(3, message(3), NOW)), Vec::<String>::new());
    assert_eq!(short(&follower.replay_ended(ask.id, NOW)), ["+3", "whole"]);
}

#[test]
fn a_replay_that_begins_later_makes_it_a_part() {
    let mut follower = Follower::new(true);
    let ask = follower.connected(NOW).ask.unwrap();
    assert_eq!(short(&follower.replayed(ask.id, 50, message(50), NOW)), ["suspect", "+50"]);
    assert_eq!(short(&follower.replay_ended(ask.id, NOW)), ["partial"]);
}

#[test]
fn an_engine_that_has_published_nothing_is_known_whole() {
    let mut follower = Follower::new(true);
    let ask = follower.connected(NOW).ask.unwrap();
    assert_eq!(short(&follower.replay_ended(ask.id, NOW)), ["whole"]);
    assert_eq!(short(&follower.published(0, message(0), NOW)), ["+0"]);
}

#[test]
fn a_gap_is_closed_by_a_replay() {
    let mut follower = following(true, 3);
    let out = follower.published(6, message(6), NOW);
    assert_eq!((short(&out), out.ask), (vec!["suspect".to_owned()], Some(Ask { id: 2, from: 4 })));
    assert_eq!(short(&follower.replayed(2, 4, message(4), NOW)), ["+4"]);
    assert_eq!(short(&follower.replayed(2, 5, message(5), NOW)), ["+5"]);
    assert_eq!(short(&follower.replay_ended(2, NOW)), ["+6", "whole"]);
    assert_eq!((follower.faults().gaps, follower.faults().lost), (1, 0));
}

#[test]
fn a_gap_that_no_replay_closes_voids_everything() {
    let mut follower = following(false, 3);
    assert_eq!(short(&follower.published(6, message(6), NOW)), ["partial, void", "+6"]);
    let mut follower = following(true, 3);
    let ask = follower.published(6, message(6), NOW).ask.unwrap();
    assert_eq!(short(&follower.replayed(ask.id, 6, message(6), NOW)), ["suspect, void", "+6"], "4 is gone");
    assert_eq!(short(&follower.replay_ended(ask.id, NOW)), ["partial"]);
    assert_eq!(follower.faults().lost, 2);
}

#[test]
fn a_replay_that_never_comes_is_given_up() {
    let mut follower = following(true, 3);
    follower.published(6, message(6), NOW);
    let mut now = NOW;
    let mut last = Outcome::default();
    for _ in 0..REPLAYS_MAX {
        assert_eq!(follower.trust(), Trust::Suspect);
        assert_eq!(follower.tick(now), Outcome::default());
        now = now.plus_ms(REPLAY_IDLE_MS_MAX);
        last = follower.tick(now);
    }
    assert_eq!(short(&last), ["partial, void", "+6"]);
    assert_eq!(follower.due(), None);
}

#[test]
fn a_message_that_a_replay_lacks_is_asked_for_again() {
    let mut follower = following(true, 3);
    let ask = follower.published(9, message(9), NOW).ask.unwrap();
    follower.replayed(ask.id, 4, message(4), NOW);
    let again = follower.replayed(ask.id, 6, message(6), NOW).ask.unwrap();
    assert_eq!(again.from, 5, "an engine drops what its socket cannot take");
    assert_eq!(follower.replayed(ask.id, 7, message(7), NOW), Outcome::default(), "of the older request");
    for sequence in 5..9 {
        follower.replayed(again.id, sequence, message(sequence), NOW);
    }
    assert_eq!(short(&follower.replay_ended(again.id, NOW)), ["+9", "whole"]);
}

#[test]
fn a_process_that_began_anew_holds_nothing_of_before() {
    let mut follower = following(false, 3);
    assert_eq!(short(&follower.disconnected()), ["suspect"]);
    follower.connected(NOW);
    assert_eq!(short(&follower.published(0, content(1, 0, vec![stored(70)]), NOW)), ["whole, void", "+70"]);
    follower.disconnected();
    follower.connected(NOW);
    follower.published(1, content(1, 1, vec![stored(71)]), NOW);
    let later = content(2, 1, vec![stored(80)]);
    assert_eq!(
        short(&follower.published(1, later, NOW)),
        ["partial, void", "+80"],
        "without its first message"
    );
}

#[test]
fn a_new_connection_to_the_same_process_goes_on() {
    let mut follower = following(true, 3);
    follower.disconnected();
    let ask = follower.connected(NOW).ask.unwrap();
    assert_eq!(ask.from, 3, "one that is known");
    assert_eq!(short(&follower.replayed(ask.id, 3, message(3), NOW)), Vec::<String>::new());
    assert_eq!(short(&follower.replayed(ask.id, 4, message(4), NOW)), ["+4"]);
    assert_eq!(short(&follower.replay_ended(ask.id, NOW)), ["whole"]);
    let mut follower = following(false, 3);
    follower.disconnected();
    follower.connected(NOW);
    assert_eq!(short(&follower.published(4, message(4), NOW)), ["+4", "whole"]);
}

#[test]
fn another_process_is_seen_by_its_first_replayed_message() {
    let mut follower = following(true, 3);
    follower.disconnected();
    let ask = follower.connected(NOW).ask.unwrap();
    let out = follower.replayed(ask.id, 3, content(1, 3, vec![stored(73)]), NOW);
    assert_eq!((short(&out), out.ask.unwrap().from), (vec!["none, void".to_owned()], 0));
    let ask = out.ask.unwrap();
    follower.replayed(ask.id, 0, content(1, 0, vec![stored(70)]), NOW);
    assert_eq!(short(&follower.replay_ended(ask.id, NOW)), ["whole"]);
}

#[test]
fn another_process_with_fewer_messages_is_seen_by_their_lack() {
    let mut follower = following(true, 3);
    follower.disconnected();
    let ask = follower.connected(NOW).ask.unwrap();
    let out = follower.replay_ended(ask.id, NOW);
    assert_eq!((short(&out), out.ask.unwrap().from), (vec!["none, void".to_owned()], 0));
    assert_eq!(
        short(&follower.replay_ended(out.ask.unwrap().id, NOW)),
        ["whole"],
        "it has published nothing"
    );
}

#[test]
fn a_process_that_cannot_be_recognised_any_more_is_another_one() {
    let mut follower = following(true, 3);
    follower.disconnected();
    let ask = follower.connected(NOW).ask.unwrap();
    let out = follower.replayed(ask.id, 4, message(4), NOW);
    assert_eq!(short(&out), ["suspect, void", "+4"], "it does not keep what would prove it");
    assert_eq!(short(&follower.replay_ended(ask.id, NOW)), ["partial"]);
}

#[test]
fn without_a_replay_the_metrics_show_another_process() {
    let mut follower = following(false, 3);
    follower.disconnected();
    follower.connected(NOW);
    follower.published(4, content(1, 4, vec![stored(74)]), NOW);
    assert_eq!(short(&follower.renewed(NOW)), ["none, void"], "the number happened to fit");
    assert_eq!(short(&follower.published(5, content(1, 5, vec![stored(75)]), NOW)), ["+75", "partial"]);
    let mut follower = following(false, 3);
    follower.published(0, content(1, 0, vec![stored(70)]), NOW);
    assert_eq!(follower.renewed(NOW), Outcome::default(), "the numbers had shown it");
}

#[test]
fn a_message_that_cannot_be_understood_voids_everything_and_nothing_is_relied_on() {
    let unreadable = Content { decoded: Err(FrameError::Malformed), digest: 1, bytes: 3 };
    let mut follower = following(true, 3);
    let out = follower.published(4, unreadable, NOW);
    assert_eq!(
        (short(&out), out.ask),
        (vec!["none, void".to_owned()], None),
        "a replay would bring the same"
    );
    assert_eq!(short(&follower.published(5, message(5), NOW)), ["+5", "partial"]);
}

#[test]
fn what_comes_late_is_not_relied_on() {
    let at = |sequence: u64, made_ms: i64| {
        let mut content = message(sequence);
        content.decoded.as_mut().unwrap().made_ms = Some(made_ms);
        content
    };
    let mut follower = Follower::new(false);
    follower.connected(NOW);
    follower.published(0, at(0, 500), NOW);
    let late = NOW.plus_ms(LAG_MS_MAX + 101);
    assert_eq!(short(&follower.published(1, at(1, 600), late)), ["suspect", "+1"]);
    assert_eq!(short(&follower.published(2, at(2, 500 + 500), late)), ["+2"], "still half a second behind");
    assert_eq!(short(&follower.published(3, at(3, 500 + 1_000), late)), ["+3", "whole"]);
    assert_eq!(follower.faults().late, 1);
}

#[test]
fn several_engines_under_one_name_are_not_relied_on() {
    let mut follower = following(false, 3);
    for sequence in 0..4 {
        follower.published(100 + sequence, message(100 + sequence), NOW);
        follower.published(50 + sequence, message(50 + sequence), NOW);
    }
    follower.published(104, message(104), NOW);
    follower.published(54, message(54), NOW);
    assert_eq!(follower.trust(), Trust::None);
    let later = NOW.plus_ms(60_000);
    follower.published(55, message(55), later);
    assert_eq!(follower.trust(), Trust::Partial, "one of them has gone");
}

#[test]
fn a_model_without_full_attention_is_learned() {
    let mut follower = Follower::new(false);
    follower.connected(NOW);
    let mut state = stored(1);
    if let KvEvent::Stored(stored) = &mut state {
        stored.kind = Some("mamba".to_owned());
    }
    assert_eq!(short(&follower.published(0, content(0, 0, vec![state]), NOW)), Vec::<String>::new());
    assert_eq!(short(&follower.published(1, content(0, 1, vec![removed(1)]), NOW)), Vec::<String>::new());
    assert_eq!(follower.trust(), Trust::None);
}

//! A feed whose connection is played by the test.

use super::*;
use crate::events::board::Process;
use bytes::Bytes;

/// A feed, the last trust that it reported, and the connection that it has.
struct Played {
    feed: Feed,
    reports: mpsc::Receiver<Report>,
    connection: u64,
}

// === impl Played ===

impl Played {
    async fn trust_after(&mut self, outcome: Outcome) -> Trust {
        // Nobody is there who could be asked.
        assert!(self.feed.take(Outcome { ask: None, ..outcome }).await);
        while self.reports.try_recv().is_ok() {}
        let seen = self.feed.common.board.seen(self.feed.endpoint);
        seen.first().map(|(_, seen)| seen.trust).unwrap_or_default()
    }

    /// It connects, and a replay has nothing.
    async fn replay_nothing(&mut self) -> Trust {
        self.connection += 1;
        let connected = self.feed.arrived(Arrival::Connected { connection: self.connection });
        let ask = connected.ask.map(|ask| ask.id).unwrap_or_default();
        self.trust_after(connected).await;
        let ended = self.feed.replied(Reply::Ended { ask });
        self.trust_after(ended).await
    }

    /// The engine works for long enough, and publishes nothing.
    async fn work(&mut self) -> Trust {
        for work in [0, WORK_MIN] {
            let process = Process { incarnation: 1, work: Some(work) };
            self.feed.common.board.report(self.feed.endpoint, process);
            let begin = Instant::now().checked_sub(self.feed.silence.allowed);
            self.feed.silence.since = begin.unwrap_or(self.feed.silence.since);
            let outcome = self.feed.look();
            self.trust_after(outcome).await;
        }
        self.replay_nothing().await
    }

    async fn publish(&mut self, sequence: u64) -> Trust {
        let payload = Bytes::from_static(&[0x93, 0, 0x90, 0]);
        let message = Message { topic: Bytes::new(), sequence, payload };
        let outcome = self.feed.arrived(Arrival::Message { connection: self.connection, message });
        self.trust_after(outcome).await
    }

    fn problem(&self) -> Option<&'static str> {
        self.feed.common.board.seen(self.feed.endpoint).first().and_then(|(_, seen)| seen.problem)
    }
}

/// The first of two ranks; its connection is played.
fn played() -> Played {
    let (reports, received) = mpsc::channel(8);
    let board = Board::default();
    let endpoint = SocketAddr::from(([127, 0, 0, 1], 1));
    let source =
        |rank| Source { rank, publisher: Some(endpoint), replay: Some(endpoint), topic: String::new() };
    board.follow(endpoint, true);
    for rank in [0, 1] {
        board.insert(endpoint, source(rank));
    }
    let common = Common { reports, board, metrics: Arc::default(), clock: Clock::default() };
    let feed = Feed::new(endpoint, source(0), common, mpsc::channel(8).0);
    Played { feed, reports: received, connection: 0 }
}

#[tokio::test]
async fn a_rank_without_work_is_not_taken_for_silent() {
    let mut idle = played();
    let other_publishes =
        |feed: &Feed| feed.common.board.note(feed.endpoint, 1, |seen| seen.last = Some(Instant::now()));
    assert_eq!(idle.replay_nothing().await, Trust::Whole);
    other_publishes(&idle.feed);
    assert_eq!((idle.work().await, idle.problem()), (Trust::Whole, None), "the other one has worked");
    let mut early = played();
    early.replay_nothing().await;
    assert_eq!((early.work().await, early.problem()), (Trust::Suspect, Some(MUTE)), "none has published yet");
    other_publishes(&early.feed);
    let looked = early.feed.look();
    assert_eq!((early.trust_after(looked).await, early.problem()), (Trust::Whole, None));
}

#[tokio::test]
async fn an_engine_that_works_and_has_never_published_anything_is_not_taken_for_an_empty_one() {
    let mut played = played();
    assert_eq!(played.replay_nothing().await, Trust::Whole, "it may have done nothing yet");
    assert_eq!((played.work().await, played.problem()), (Trust::Suspect, Some(MUTE)));
    assert_eq!((played.publish(0).await, played.problem()), (Trust::Whole, None));
    played.work().await;
    assert_eq!(played.problem(), None, "its prompts may be known");
}

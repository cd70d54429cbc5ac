//! Which request comes next: sessions begin by the clock, or one after the other in a closed loop, and in each a request
//! follows the response to the one before.

use super::{Due, Flight, Run};

// === impl Run ===

impl Run<'_> {
    /// Begins the next session of a group; `false`: there is none.
    pub(super) fn begin_session(&mut self, now_s: f64, group: usize, agent: Option<usize>) -> bool {
        let sessions = &self.workload.sessions;
        let mut rest = (self.next[group]..).zip(sessions.iter().skip(self.next[group]));
        let Some((number, session)) = rest.find(|(_, session)| session.group == group) else { return false };
        let at_s = (self.origin_s + session.start_s).max(now_s);
        (self.next[group], self.agents[number]) = (number + 1, agent);
        self.under_way += 1;
        self.put(at_s, Due::Arrival { session: number, turn: 0 });
        true
    }

    pub(super) fn end_session(&mut self, now_s: f64, session: usize) {
        self.under_way -= 1;
        if let Some(agent) = self.agents[session] {
            self.begin_session(now_s, self.workload.sessions[session].group, Some(agent));
        }
    }

    /// After an answer: the session's next request, or its end.
    pub(super) fn follow(&mut self, now_s: f64, flight: Flight) {
        let turn = flight.turn + 1;
        match self.workload.sessions[flight.session].turns.get(turn) {
            Some(next) => self.put(now_s + next.think_s, Due::Arrival { session: flight.session, turn }),
            None => self.end_session(now_s, flight.session),
        }
    }
}

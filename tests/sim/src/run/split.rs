//! Prefill and decode apart: a request is prefilled on one engine, and decoded on another that fetches its blocks.
//!
//! ```text
//!  rule.route ─► prefill engine: prompt and one token
//!                     │ holds the blocks
//!                     ▼
//!  rule.decoder ─► decode engine: transfer ─► first token ─► rule.first_token ─► end ─► rule.ended
//! ```
//!
//! The first token that counts is the decode engine's: the prefill engine's goes to no client.

use super::{Flight, Run};
use crate::workload::Job;
use warmpath_engine::model::{Event, EventKind, Leg};

/// How far a request is whose prefill and decode are apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The engine that decodes, once the prefill has ended.
    decoder: Option<usize>,
    /// Whether that has begun to fetch the blocks.
    is_fetched: bool,
}

/// The request that the prefill engine sees.
pub(super) fn prefill(job: &Job) -> Job {
    Job { output_tokens: 1, output_tokens_max: Some(1), ..job.clone() }
}

// === impl Run ===

impl Run<'_> {
    /// What happened to such a request.
    pub(super) fn take_split(&mut self, engine: usize, event: &Event, flight: Flight, progress: Progress) {
        if progress.decoder == Some(engine) {
            self.take_decode(engine, event, flight);
        } else {
            self.take_prefill(event, flight, progress);
        }
    }

    fn take_prefill(&mut self, event: &Event, flight: Flight, progress: Progress) {
        let number = event.id.0 as usize;
        let record = &mut self.records[number];
        match event.kind {
            EventKind::Admitted { cached_tokens } => record.admitted(cached_tokens),
            EventKind::Loading { tokens, .. } => record.loads(tokens),
            EventKind::FirstToken => {
                self.fleet.node_mut(flight.engine).first_token(event.id, flight.new_tokens);
            }
            EventKind::Finished(_) => {
                let job = self.job(number, flight);
                self.fleet.node_mut(flight.engine).ended(&job);
                let decoder = self.rule.decoder(event.at_s, event.id.0, &job, &self.fleet);
                self.flights[number].split = Some(Progress { decoder, is_fetched: false });
                if let Some(decoder) = decoder {
                    self.send_on(event, flight, decoder, job.prompt_tokens);
                } else {
                    self.release(event, flight);
                    self.end_session(event.at_s, flight.session);
                }
            }
            EventKind::HoldExpired => {
                // Whoever has not begun to fetch by now computes the prompt again.
                if let Some(decoder) = progress.decoder.filter(|_| !progress.is_fetched) {
                    let job = self.job(number, flight);
                    let node = self.fleet.node_mut(decoder);
                    node.engine.abort(event.at_s, event.id);
                    node.first_token(event.id, 0);
                    node.ended(&job);
                    self.send_on(event, flight, decoder, 0);
                }
            }
            _ => {}
        }
    }

    fn take_decode(&mut self, engine: usize, event: &Event, flight: Flight) {
        let number = event.id.0 as usize;
        match event.kind {
            EventKind::Admitted { .. } => {
                self.flights[number].split = Some(Progress { decoder: Some(engine), is_fetched: true });
            }
            EventKind::Loaded => self.release(event, flight),
            EventKind::FirstToken => {
                // Without a transfer nothing was loaded.
                self.release(event, flight);
                let record = &mut self.records[number];
                record.first_s = Some(event.at_s);
                let cached_tokens = record.cached_tokens;
                self.fleet.node_mut(engine).first_token(event.id, 0);
                self.rule.first_token(event.at_s, event.id.0, cached_tokens);
            }
            EventKind::Finished(_) => {
                self.records[number].end_s = Some(event.at_s);
                let job = self.job(number, flight);
                self.fleet.node_mut(engine).ended(&job);
                self.rule.ended(event.at_s, event.id.0);
                self.follow(event.at_s, flight);
            }
            _ => {}
        }
    }

    /// Sends a request to the engine that decodes it, which fetches `remote_tokens` of its prompt. One that it does
    /// not take ends here, without an answer.
    fn send_on(&mut self, event: &Event, flight: Flight, decoder: usize, remote_tokens: usize) {
        let number = event.id.0 as usize;
        let job = self.job(number, flight);
        let leg = Leg::Decode { remote_tokens };
        if let Err(error) = self.fleet.node_mut(decoder).send(event.at_s, event.id, &job, leg) {
            self.release(event, flight);
            self.refused(event.at_s, number, &error);
        }
        self.plan_step(decoder);
    }

    /// The prefill engine may forget what it held.
    fn release(&mut self, event: &Event, flight: Flight) {
        if self.fleet.node_mut(flight.engine).engine.release_held(event.at_s, event.id) {
            self.plan_step(flight.engine);
        }
    }

    fn job(&self, number: usize, flight: Flight) -> Job {
        self.as_engines_see(number, self.workload.sessions[flight.session].turns[flight.turn].job.clone())
    }
}

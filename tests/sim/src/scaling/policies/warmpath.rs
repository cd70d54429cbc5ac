//! The shipped plan, with what the controller would see.

use super::{Policy, View, ViewEngine, Wanted};
use crate::scaling::setting::Model;
use crate::scaling::world::TICK_S;
use warmpath_scale::{
    Backlog, Bounds, Demand, Engine, EngineId, EngineState, Legs, Role, Seen, Speeds, State, plan,
};

/// See the module.
pub(super) struct Warmpath {
    policy: warmpath_scale::Policy,
    speeds: Speeds,
    state: State,
}

// === impl Warmpath ===

impl Warmpath {
    pub(super) fn new(model: &Model) -> Self {
        let policy = warmpath_scale::Policy {
            roles: vec![Bounds { min: 1, max: model.engines_max }],
            idle_s: None,
            sleeps: false,
            objectives: model.objectives,
        };
        Self { policy, speeds: model.speeds(), state: State::default() }
    }
}

impl Policy for Warmpath {
    fn look(&mut self, view: &View) -> Wanted {
        let window = &view.window;
        let mean = view.output_tokens_mean;
        let demand = Demand {
            window_s: TICK_S,
            requests: window.requests,
            work_tokens: window.work_tokens,
            work_tokens_squared: window.work_tokens_squared,
            output_tokens: window.requests * mean,
            context_tokens: window.prompt_tokens + window.requests * mean / 2.0,
            firsts: window.firsts,
            firsts_late: window.firsts_late,
            ends: window.ends,
            ends_late: window.ends_late,
            ..Demand::default()
        };
        let engine = |engine: &ViewEngine| Engine {
            id: EngineId(engine.number),
            state: match (engine.is_leaving, engine.is_ready) {
                (true, _) => EngineState::Draining,
                (false, true) => EngineState::Ready,
                (false, false) => EngineState::Starting { for_s: engine.age_s },
            },
            warm_tokens: engine.warm_tokens,
            requests: engine.in_flight as u64,
        };
        let backlog = Backlog {
            held_requests: view.held as u64,
            work_tokens: view.held_tokens
                + view.engines.iter().map(|engine| engine.waiting_tokens).sum::<f64>(),
            requests_in_flight: view.engines.iter().map(|engine| engine.in_flight as u64).sum(),
        };
        let engines = view.engines.iter().map(engine).collect();
        let roles = vec![Role { legs: Legs::Both, speeds: self.speeds, ranks: 1, engines }];
        let seen = Seen { demand, backlog, roles, is_partial: false };
        let planned = plan(&self.policy, &seen, std::mem::take(&mut self.state), view.now_s);
        self.state = planned.state;
        let role = planned.roles.into_iter().next().unwrap_or_default();
        Wanted { replicas: role.replicas, leaving_first: role.order.into_iter().map(|id| id.0).collect() }
    }
}

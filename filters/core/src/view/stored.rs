//! Which endpoint keeps which stored response.
//!
//! A response of `/v1/responses` stays in the memory of the engine that made it; a later request that names it by
//! `previous_response_id`, or reads or cancels it, gets 404 from any other. The prefix tree cannot know it: the id says
//! nothing of the prompt.

use crate::hash::{SeededMap, seeded};
use crate::ids::{EndpointId, ResponseId};
use std::collections::VecDeque;

/// Stored responses that are remembered, the newest: 3 MiB.
const RESPONSES_MAX: usize = 65_536;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// By endpoint id and not by slot, for a slot may be another endpoint's tomorrow.
    endpoints: SeededMap<ResponseId, EndpointId>,
    /// Oldest first.
    order: VecDeque<ResponseId>,
}

// === impl Stored ===

impl Stored {
    pub(super) fn new(seed: u64) -> Self {
        Self { endpoints: SeededMap::with_hasher(seeded(seed)), order: VecDeque::new() }
    }

    /// Notes that `endpoint` keeps a response.
    pub(super) fn add(&mut self, response: ResponseId, endpoint: EndpointId) {
        if self.endpoints.insert(response, endpoint).is_some() {
            return;
        }
        self.order.push_back(response);
        if self.order.len() > RESPONSES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.endpoints.remove(&oldest);
        }
    }

    /// The endpoint that keeps it.
    pub(super) fn endpoint(&self, response: ResponseId) -> Option<EndpointId> {
        self.endpoints.get(&response).copied()
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ResponseId, EndpointId)> {
        self.order.iter().filter_map(|response| Some((*response, self.endpoint(*response)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::num::u64_len;

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let mut stored = Stored::new(1);
        for number in 0..u64_len(RESPONSES_MAX) + 3 {
            stored.add(ResponseId(number), EndpointId(number % 3));
            stored.add(ResponseId(number), EndpointId(number % 2));
        }
        assert_eq!(stored.endpoint(ResponseId(2)), None);
        assert_eq!(stored.endpoint(ResponseId(3)), Some(EndpointId(1)));
        assert_eq!(
            (stored.iter().count(), stored.iter().next()),
            (RESPONSES_MAX, Some((ResponseId(3), EndpointId(1))))
        );
    }
}

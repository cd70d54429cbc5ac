//! Replaces the model that a request names: aliases, and shares of the traffic for a new version.
//!
//! Not at random for each request, as gateways usually do: the turns of a conversation would change models, and each model would
//! compute each conversation. The text that every turn repeats decides, so that all proxies agree without communicating.

use crate::prompt::Request;
use crate::share::pick;
use crate::time::Timestamp;
use crate::view::View;
use crate::wire::Rewrite;

/// The model that replaces the one that the request names; `None`: it stays.
pub fn target(view: &View, request: &Request<'_>, now: Timestamp) -> Option<String> {
    let rule = rule(view, request, now)?;
    let targets = rule.targets.iter().map(|target| (target, target.model.as_str(), target.weight));
    Some(pick(request.conversation(), targets)?.model.clone())
}

/// The rule for the model that a request names.
fn rule<'a>(view: &'a View, request: &'a Request<'_>, now: Timestamp) -> Option<&'a Rewrite> {
    let model = request.model.as_ref();
    // Nearly all views have none.
    if model.is_empty() || view.pools().iter().all(|pool| pool.rewrites().is_empty()) {
        return None;
    }
    view.pool_for(model, (request.cluster, now), || request.conversation())?.pool.rewrite_of(model)
}

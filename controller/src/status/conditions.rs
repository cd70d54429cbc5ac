//! The conditions in an InferencePool's status, from its problems. Pure.

use crate::config::ObjectName;
use crate::watch::Problem;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The controller's name in status entries, as Gateway API wants it: a domain and a path.
pub(super) const CONTROLLER_NAME: &str = "warmpath.dev/controller";

/// A condition, without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// Its type.
    pub(super) r#type: &'static str,
    /// Whether it holds.
    pub(super) holds: bool,
    /// Why, in one word.
    pub(super) reason: &'static str,
    /// Why, in words.
    pub(super) message: String,
}

/// The conditions of a pool that has these problems. `Accepted` and `ResolvedRefs` are those of the API; `Ready` is Warmpath's,
/// because the API has none for a pool without engines.
pub(super) fn conditions(pool: &ObjectName, problems: &BTreeSet<Problem>) -> [Condition; 3] {
    let of_pool = || problems.iter().filter(|problem| problem.object() == pool);
    let refusal = of_pool().find(|problem| {
        matches!(problem, Problem::Invalid { .. } | Problem::Shadowed { .. } | Problem::TooMany { .. })
    });
    let lack = of_pool().find_map(|problem| match problem {
        Problem::NoPods { .. } => Some((problem, "NoPods")),
        Problem::NoneReady { .. } => Some((problem, "NoPodReady")),
        Problem::Unseen { .. } => Some((problem, "PodsNotListed")),
        _ => None,
    });
    let condition = |r#type, holds, reason, message: String| Condition { r#type, holds, reason, message };
    let accepted = match refusal {
        Some(problem) => condition("Accepted", false, "NotSupportedByParent", problem.to_string()),
        None => condition("Accepted", true, "Accepted", "requests are routed to its pods".to_owned()),
    };
    let ready = match (refusal, lack) {
        (Some(problem), _) => condition("Ready", false, "NotAccepted", problem.to_string()),
        (None, Some((problem, reason))) => condition("Ready", false, reason, problem.to_string()),
        (None, None) => condition("Ready", true, "EndpointsReady", "some of its pods are ready".to_owned()),
    };
    let resolved = "Warmpath picks endpoints by itself; endpointPickerRef is not used".to_owned();
    [accepted, condition("ResolvedRefs", true, "ResolvedRefs", resolved), ready]
}

/// The `status.parents` of a pool with this controller's entry added or replaced. Entries of others stay as they are.
pub(super) fn parents(
    old: Option<&Value>,
    gateway: &ObjectName,
    conditions: &[Condition],
    generation: i64,
    now: &str,
) -> Value {
    let mut entries = old.and_then(Value::as_array).cloned().unwrap_or_default();
    // InferencePools before 1.1 have no `controllerName`: the API server drops it, and what has our parent is ours.
    let is_own = |entry: &Value| {
        entry.get("controllerName").is_none_or(|name| name == CONTROLLER_NAME)
            && entry.pointer("/parentRef/kind").and_then(Value::as_str) == Some("Service")
            && entry.pointer("/parentRef/name").and_then(Value::as_str) == Some(&gateway.name)
            && entry.pointer("/parentRef/namespace").and_then(Value::as_str) == Some(&gateway.namespace)
    };
    let place = entries.iter().position(is_own);
    let before = place.and_then(|at| entries.get(at).cloned());
    let since = |condition: &Condition| {
        let known = before.as_ref()?.get("conditions")?.as_array()?;
        let same =
            known.iter().find(|it| it.get("type").and_then(Value::as_str) == Some(condition.r#type))?;
        let is_same = same.get("status").and_then(Value::as_str) == Some(text(condition.holds));
        is_same.then(|| same.get("lastTransitionTime").cloned())?
    };
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|condition| {
            json!({
                "type": condition.r#type,
                "status": text(condition.holds),
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": generation,
                "lastTransitionTime": since(condition).unwrap_or_else(|| now.into()),
            })
        })
        .collect();
    let own = json!({
        "controllerName": CONTROLLER_NAME,
        "parentRef": {"group": "", "kind": "Service", "name": gateway.name, "namespace": gateway.namespace},
        "conditions": conditions,
    });
    // Where it is already: what has not changed is not written.
    match place.and_then(|at| entries.get_mut(at)) {
        Some(entry) => *entry = own,
        None => entries.push(own),
    }
    // An API without `controllerName` has kept what earlier writes added.
    let mut seen = false;
    entries.retain(|entry| !is_own(entry) || !std::mem::replace(&mut seen, true));
    Value::Array(entries)
}

fn text(holds: bool) -> &'static str {
    if holds { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    use super::{CONTROLLER_NAME, conditions, parents};
    use crate::config::ObjectName;
    use crate::watch::Problem;
    use serde_json::json;

    fn named(name: &str) -> ObjectName {
        ObjectName { namespace: "llm".to_owned(), name: name.to_owned() }
    }

    fn reasons(problems: &[Problem]) -> [(bool, &'static str); 3] {
        conditions(&named("p"), &problems.iter().cloned().collect()).map(|it| (it.holds, it.reason))
    }

    #[test]
    fn a_pool_is_accepted_and_ready_unless_something_is_wrong_with_it() {
        let resolved = (true, "ResolvedRefs");
        assert_eq!(reasons(&[]), [(true, "Accepted"), resolved, (true, "EndpointsReady")]);
        let elsewhere = Problem::NoPods { pool: named("q") };
        assert_eq!(reasons(&[elsewhere]), [(true, "Accepted"), resolved, (true, "EndpointsReady")]);
        let no_pods = Problem::NoPods { pool: named("p") };
        assert_eq!(reasons(&[no_pods]), [(true, "Accepted"), resolved, (false, "NoPods")]);
        let unseen = Problem::Unseen { pool: named("p"), why: "forbidden".to_owned() };
        assert_eq!(reasons(&[unseen]), [(true, "Accepted"), resolved, (false, "PodsNotListed")]);
        let invalid = Problem::Invalid { object: named("p"), what: "no port".to_owned() };
        assert_eq!(reasons(&[invalid]), [(false, "NotSupportedByParent"), resolved, (false, "NotAccepted")]);
    }

    #[test]
    fn an_api_without_controller_names_keeps_one_entry() {
        let gateway = named("warmpath-gateway");
        let written = |old: &serde_json::Value, generation| {
            let mut new = parents(Some(old), &gateway, &conditions(&named("p"), &[].into()), generation, "t");
            for entry in new.as_array_mut().unwrap() {
                entry.as_object_mut().unwrap().remove("controllerName");
            }
            new
        };
        let of_istio = json!([{"parentRef": {"kind": "Gateway", "name": "gw"}, "conditions": []}]);
        let twice = written(&written(&of_istio, 1), 2);
        assert_eq!(twice.as_array().unwrap().len(), 2, "{twice}");
    }

    #[test]
    fn only_the_own_entry_changes_and_a_condition_that_stays_keeps_its_time() {
        let gateway = named("warmpath-gateway");
        let other = json!({"controllerName": "istio.io/x", "parentRef": {"name": "gw"}, "conditions": []});
        let elsewhere = json!({
            "controllerName": CONTROLLER_NAME,
            "parentRef": {"kind": "Service", "name": "warmpath-gateway", "namespace": "another"},
        });
        let others = json!([other, elsewhere]);
        let first = parents(Some(&others), &gateway, &conditions(&named("p"), &[].into()), 1, "t1");
        let no_pods = [Problem::NoPods { pool: named("p") }].into();
        let second = parents(Some(&first), &gateway, &conditions(&named("p"), &no_pods), 2, "t2");
        assert_eq!(second.as_array().unwrap().len(), 3);
        assert_eq!([&second[0], &second[1]], [&other, &elsewhere]);
        assert_eq!(second[2]["controllerName"], CONTROLLER_NAME);
        let again = parents(Some(&second), &gateway, &conditions(&named("p"), &no_pods), 2, "t3");
        assert_eq!(again, second, "nothing is written");
        let times = ["t1", "t1", "t2"];
        for (at, time) in times.iter().enumerate() {
            assert_eq!(second[2]["conditions"][at]["lastTransitionTime"], *time);
            assert_eq!(second[2]["conditions"][at]["observedGeneration"], 2);
        }
    }
}

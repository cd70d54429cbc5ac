//! What the controller may do.

use super::render;
use serde_json::Value;
use std::collections::BTreeSet;
use warmpath::check::kubernetes::rights::{OF_ITSELF, Right};

/// Group, resource, verb, and the name of the object if it is only one.
type Call = (String, String, String, Option<String>);

/// All that a role allows.
fn allowed(role: &Value) -> BTreeSet<Call> {
    let words = |rule: &Value, field: &str| {
        let words = rule[field].as_array().into_iter().flatten();
        words.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut calls = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let names = words(rule, "resourceNames");
        let names: Vec<_> = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                for verb in words(rule, "verbs") {
                    let call =
                        |name: &Option<String>| (group.clone(), resource.clone(), verb.clone(), name.clone());
                    calls.extend(names.iter().map(call));
                }
            }
        }
    }
    calls
}

/// All that the controller does, as `warmpath check` asks for it.
fn done(rights: impl IntoIterator<Item = Right>) -> BTreeSet<Call> {
    let calls = |right: Right| {
        let name = right.is_named.then(|| "warmpath-controller".to_owned());
        let call = move |verb: &&str| {
            (right.group.to_owned(), right.resource.to_owned(), (*verb).to_owned(), name.clone())
        };
        right.verbs.iter().map(call)
    };
    rights.into_iter().flat_map(calls).collect()
}

#[test]
fn a_role_in_each_namespace_and_none_of_the_cluster() {
    let rendered = render("namespaces: [one, two]");
    assert_eq!(rendered.of_kind("ClusterRole").count() + rendered.of_kind("ClusterRoleBinding").count(), 0);
    let roles: Vec<_> = rendered.of_kind("Role").collect();
    assert_eq!(roles.len(), 3, "two to watch, and one for the replicas");
    for namespace in ["one", "two"] {
        let role = roles.iter().find(|role| role["metadata"]["namespace"] == namespace).unwrap();
        assert_eq!(allowed(role), done(Right::of_pools()), "no more and no less than the controller does");
        let binding =
            rendered.of_kind("RoleBinding").find(|binding| binding["metadata"]["namespace"] == namespace);
        let binding = binding.unwrap();
        assert_eq!(binding["subjects"][0]["namespace"], "llm");
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    }
    let own = roles.iter().find(|role| role["metadata"]["namespace"] == "llm").unwrap();
    assert_eq!(allowed(own), done(OF_ITSELF));
    let account = rendered.of_kind("ServiceAccount").next().unwrap();
    assert_eq!(account["metadata"]["name"], "warmpath-controller", "the Lease's name");
}

#[test]
fn cluster_wide_the_same_rules_hold_everywhere() {
    let rendered = render("clusterWide: true");
    let role = rendered.of_kind("ClusterRole").next().unwrap();
    assert_eq!(allowed(role), done(Right::of_pools()));
    assert_eq!(rendered.of_kind("Role").count(), 1, "for the replicas");
}

#[test]
fn the_rights_to_make_workloads_come_with_the_models() {
    for values in ["modelServices: true", "model: {name: a}\ngpu: {type: cpu}"] {
        let rendered = render(values);
        let role = rendered.object("Role", "llm-warmpath-controller").unwrap();
        assert_eq!(allowed(role), done(Right::of_pools().chain(Right::of_models())), "{values}");
    }
}

#[test]
fn without_inference_pools_only_pods_are_read() {
    let rendered = render("inferencePools: false\npools: [{name: a, selector: {app: vllm}, ports: [8000]}]");
    let role = rendered.object("Role", "llm-warmpath-controller").unwrap();
    assert_eq!(allowed(role), done(Right::of_pools().filter(|right| right.resource == "pods")));
}

#[test]
fn only_the_controllers_pod_gets_the_token_of_its_account() {
    let rendered = render("");
    let automount =
        |kind, name, pointer: &str| rendered.object(kind, name).unwrap().pointer(pointer).cloned();
    let pod = "/spec/template/spec/automountServiceAccountToken";
    let account = automount("ServiceAccount", "warmpath-controller", "/automountServiceAccountToken");
    assert_eq!(account, Some(false.into()));
    assert_eq!(automount("Deployment", "warmpath-controller", pod), Some(true.into()));
    assert_eq!(automount("Deployment", "warmpath-gateway", pod), Some(false.into()));
}

//! What the controller may do.

use super::render;
use serde_json::Value;

fn rules(role: &Value) -> Vec<String> {
    let words = |rule: &Value, field: &str| {
        rule[field]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect::<Vec<_>>()
            .join(",")
    };
    let line = |rule: &Value| {
        format!("{} {} {}", words(rule, "apiGroups"), words(rule, "resources"), words(rule, "verbs"))
    };
    role["rules"].as_array().unwrap().iter().map(line).collect()
}

const WATCHES: [&str; 4] = [
    " pods get,list,watch",
    "inference.networking.k8s.io,inference.networking.x-k8s.io inferencepools get,list,watch",
    "llm-d.ai,inference.networking.x-k8s.io inferenceobjectives,inferencemodelrewrites get,list,watch",
    "inference.networking.k8s.io,inference.networking.x-k8s.io inferencepools/status patch",
];

#[test]
fn a_role_in_each_namespace_and_none_of_the_cluster() {
    let rendered = render("namespaces: [one, two]");
    assert_eq!(rendered.of_kind("ClusterRole").count() + rendered.of_kind("ClusterRoleBinding").count(), 0);
    let roles: Vec<_> = rendered.of_kind("Role").collect();
    assert_eq!(roles.len(), 3, "two to watch, and one for the replicas");
    for namespace in ["one", "two"] {
        let role = roles.iter().find(|role| role["metadata"]["namespace"] == namespace).unwrap();
        assert_eq!(rules(role), WATCHES);
        let binding =
            rendered.of_kind("RoleBinding").find(|binding| binding["metadata"]["namespace"] == namespace);
        let binding = binding.unwrap();
        assert_eq!(binding["subjects"][0]["namespace"], "llm");
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
    }
    let own = roles.iter().find(|role| role["metadata"]["namespace"] == "llm").unwrap();
    assert_eq!(rules(own), ["coordination.k8s.io leases get,create,update", " pods get,list,watch"]);
}

#[test]
fn cluster_wide_the_same_rules_hold_everywhere() {
    let rendered = render("clusterWide: true");
    let role = rendered.of_kind("ClusterRole").next().unwrap();
    assert_eq!(rules(role), WATCHES);
    assert_eq!(rendered.of_kind("Role").count(), 1, "for the replicas");
}

#[test]
fn without_inference_pools_only_pods_are_read() {
    let rendered = render("inferencePools: false\npools: [{name: a, selector: {app: vllm}, ports: [8000]}]");
    let role = rendered.object("Role", "llm-warmpath-controller").unwrap();
    assert_eq!(rules(role), [" pods get,list,watch"]);
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

//! What all pods of the chart have in common.

use super::render;
use serde_json::{Value, json};

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers"].map(|list| pod[list].as_array());
    lists.into_iter().flatten().flatten()
}

#[test]
fn pods_satisfy_the_restricted_standard() {
    let rendered = render("");
    for deployment in rendered.of_kind("Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["runAsUser"], 65532);
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        for container in containers(pod) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{}", container["name"]);
            assert_eq!(security["readOnlyRootFilesystem"], true, "{}", container["name"]);
            assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{}", container["name"]);
            assert!(container["resources"]["limits"]["memory"].is_string(), "{}", container["name"]);
        }
    }
}

#[test]
fn the_cluster_chooses_the_user_where_none_is_given() {
    for deployment in render("runAsUser: null").of_kind("Deployment") {
        let security = &deployment["spec"]["template"]["spec"]["securityContext"];
        assert_eq!(security["runAsUser"], Value::Null);
        assert_eq!(security["runAsNonRoot"], true);
    }
}

#[test]
fn services_have_no_address_of_a_family_in_which_no_pod_listens() {
    for (values, policy) in [("", "SingleStack"), ("listen: \"[::]\"", "PreferDualStack")] {
        let rendered = render(values);
        let policies: Vec<_> =
            rendered.of_kind("Service").map(|service| service["spec"]["ipFamilyPolicy"].clone()).collect();
        assert_eq!(policies, [policy, policy]);
    }
}

#[test]
fn a_network_policy_lets_replicas_gateways_and_monitoring_through() {
    let rendered = render(
        "networkPolicy: {enabled: true, gateways: [{namespaceSelector: {}}], monitoring: [{podSelector: {}}]}",
    );
    let ingress = &rendered.object("NetworkPolicy", "warmpath-controller").unwrap()["spec"]["ingress"];
    let from = |port: &str| {
        let rules = ingress.as_array().unwrap();
        let rule = rules.iter().find(|rule| rule["ports"][0]["port"] == port).unwrap();
        let peers = rule["from"].as_array().unwrap().iter();
        let name = |peer: &Value| match &peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] {
            Value::String(component) => component.clone(),
            _ => peer.as_object().unwrap().keys().next().unwrap().clone(),
        };
        peers.map(name).collect::<Vec<_>>()
    };
    assert_eq!(from("grpc"), ["controller", "gateway", "namespaceSelector"]);
    assert_eq!(from("http"), ["controller", "namespaceSelector", "podSelector"]);
}

#[test]
fn selectors_find_the_pods() {
    let rendered = render("networkPolicy: {enabled: true}\npodMonitor: {enabled: true}");
    for component in ["controller", "gateway"] {
        let name = format!("warmpath-{component}");
        let labels = &rendered.object("Deployment", &name).unwrap()["spec"]["template"]["metadata"]["labels"];
        let selectors = [
            ("Deployment", "/spec/selector/matchLabels"),
            ("Service", "/spec/selector"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("PodMonitor", "/spec/selector/matchLabels"),
        ];
        for (kind, pointer) in selectors {
            let selector = rendered.object(kind, &name).unwrap().pointer(pointer).unwrap();
            for (key, value) in selector.as_object().unwrap() {
                assert_eq!(labels[key], *value, "{kind} {name}");
            }
        }
    }
}

#[test]
fn secrets_are_mounted_only_where_they_are_needed() {
    let rendered = render("auth: {tokenSecret: mine}\ntls: {secret: certificate}");
    assert_eq!(rendered.of_kind("Secret").count(), 0, "one by reference");
    let volumes = |name: &str| {
        rendered.object("Deployment", name).unwrap()["spec"]["template"]["spec"]["volumes"].clone()
    };
    let of_gateway = volumes("warmpath-gateway");
    let tls = of_gateway.as_array().unwrap().iter().find(|volume| volume["name"] == "tls").unwrap();
    assert_eq!(tls["secret"]["items"], json!([{ "key": "ca.crt", "path": "ca.crt" }]), "not the private key");
    let of_controller = volumes("warmpath-controller");
    let names: Vec<_> = of_controller
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["secret"]["secretName"].clone())
        .collect();
    assert_eq!(names, [Value::Null, json!("mine"), json!("certificate")]);
}

#[test]
fn a_release_of_one_controller_has_no_budget_that_would_block_its_node() {
    let rendered = render("controller: {replicas: 1}\ngateway: {replicas: 1}");
    assert_eq!(rendered.of_kind("PodDisruptionBudget").count(), 0);
}

#[test]
fn the_grace_period_is_longer_than_the_drain() {
    let rendered = render("gateway: {drainSeconds: 600}");
    let pod = &rendered.object("Deployment", "warmpath-gateway").unwrap()["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 615);
    let stop = &pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"];
    assert_eq!(*stop, json!(["/etc/warmpath/warmpath", "proxy", "drain", "--seconds", "600"]));
}

#[test]
fn istio_gives_the_controller_no_sidecar_unless_asked() {
    let label = |values: &str| {
        let rendered = render(values);
        let pod = &rendered.object("Deployment", "warmpath-controller").unwrap()["spec"]["template"];
        pod["metadata"]["labels"]["sidecar.istio.io/inject"].clone()
    };
    assert_eq!(label(""), "false");
    assert_eq!(label("controller: {podLabels: {\"sidecar.istio.io/inject\": \"true\"}}"), "true");
}

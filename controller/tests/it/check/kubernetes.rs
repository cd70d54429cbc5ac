//! Checks of a cluster: pools and their pods, the controller's own objects and permissions.

use super::wrong;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath::check::finding::Findings;
use warmpath::check::kubernetes::installed::{self, Installed};
use warmpath::check::kubernetes::pools::{self, Pools};
use warmpath::check::kubernetes::rights::{self, Rights};
use warmpath::config::{ObjectName, Selector};
use warmpath::watch::{Described, Facts, Item, Kind, Pod, Revision, Source, SourceState, Update};
use warmpath_core::wire::Role;

fn named(name: &str) -> ObjectName {
    ObjectName { namespace: "llm".to_owned(), name: name.to_owned() }
}

fn source(kind: Kind, app: &str) -> Source {
    let selector: Selector =
        if app.is_empty() { Selector::new() } else { [("app".to_owned(), app.to_owned())].into() };
    Source { kind, namespace: Some("llm".to_owned()), selector }
}

fn pool(app: &str) -> Value {
    json!({"selector": {"matchLabels": {"app": app}}, "targetPorts": [{"number": 8000}]})
}

/// What is found with these pools, by name and selector, and pods, by label, name and whether they are ready.
fn found(pools: &[(&str, Value)], pods: &[(&str, &str, bool)]) -> Vec<String> {
    let mut facts = Facts::default();
    for kind in Kind::OF_POOLS {
        facts.open(source(kind, ""));
        let update = if kind == Kind::InferencePool {
            let described = |spec: &Value| {
                Item::Object(Described {
                    revision: Revision::default(),
                    annotations: BTreeMap::new(),
                    spec: spec.clone(),
                })
            };
            Update::Listed(pools.iter().map(|(name, spec)| (named(name), described(spec))).collect())
        } else {
            Update::Failed(SourceState::Missing)
        };
        facts.apply(&source(kind, ""), update);
    }
    for app in ["vllm", "other"] {
        let pod = |at: usize, is_ready| {
            let ip = Some(format!("10.0.0.{at}").parse().unwrap());
            Item::Pod(Pod {
                identity: 1,
                ip,
                is_ready,
                is_leaving: false,
                role: Some(Role::Both),
                active_ports: None,
                service: None,
            })
        };
        let of_app = pods.iter().enumerate().filter(|(_, (of, ..))| *of == app);
        let items = of_app.map(|(at, (_, name, is_ready))| (named(name), pod(at, *is_ready)));
        facts.open(source(Kind::Pod, app));
        facts.apply(&source(Kind::Pod, app), Update::Listed(items.collect()));
    }
    let mut findings = Findings::new("");
    pools::check(&Pools { facts }, &mut findings);
    wrong(findings)
}

#[test]
fn pools_whose_pods_are_ready_are_in_order() {
    assert_eq!(
        found(&[("llama", pool("vllm"))], &[("vllm", "a", true), ("vllm", "b", true)]),
        Vec::<String>::new()
    );
}

#[test]
fn pods_that_are_not_ready_are_named() {
    assert_eq!(
        found(&[("llama", pool("vllm"))], &[("vllm", "a", true), ("vllm", "b", false)]),
        ["warning kubernetes.pods-ready pods app=vllm: 1 of 2 are ready, not: b"]
    );
    assert_eq!(
        found(&[("llama", pool("vllm"))], &[("vllm", "a", false)]),
        ["error kubernetes.pods-ready pods app=vllm: 0 of 1 are ready, not: a"]
    );
}

#[test]
fn what_is_wrong_with_pools_is_found() {
    assert_eq!(
        found(&[("llama", pool("other"))], &[]),
        ["error kubernetes.selector llm/llama: no pod has the labels of its selector"]
    );
    let twice = found(&[("llama", pool("vllm")), ("twin", pool("vllm"))], &[("vllm", "a", true)]);
    assert!(twice.len() == 1 && twice[0].starts_with("warning kubernetes.overlap llm/twin: "), "{twice:?}");
    let invalid = found(&[("llama", json!({"selector": {"matchLabels": {"app": "vllm"}}}))], &[]);
    assert!(invalid[0].starts_with("error kubernetes.pool-spec llm/llama: "), "{invalid:?}");
}

#[test]
fn a_cluster_without_inference_pools_is_said_to_have_none() {
    let mut facts = Facts::default();
    for kind in Kind::OF_POOLS {
        facts.open(source(kind, ""));
        facts.apply(&source(kind, ""), Update::Failed(SourceState::Missing));
    }
    let mut findings = Findings::new("");
    pools::check(&Pools { facts }, &mut findings);
    let lines = wrong(findings);
    assert!(
        lines[0]
            .starts_with("warning kubernetes.kinds not there: inferencepools.inference.networking.k8s.io, "),
        "{lines:?}"
    );
}

fn installed(deployment: Value, service: Value) -> Vec<String> {
    let deployments: Vec<Deployment> = serde_json::from_value(deployment).unwrap();
    let services: Vec<Service> = serde_json::from_value(service).unwrap();
    let mut findings = Findings::new("");
    installed::check(&Installed { deployments, services }, &mut findings);
    wrong(findings)
}

#[test]
fn the_controllers_own_objects_are_checked() {
    let deployment = |ready: i32| {
        json!([{"metadata": {"name": "warmpath-controller"}, "status": {"readyReplicas": ready},
                "spec": {"replicas": 2, "selector": {}, "template": {"spec": {"containers": []}}}}])
    };
    let service = |port: Value| json!([{"metadata": {"name": "w"}, "spec": {"ports": [port]}}]);
    let grpc = json!({"name": "grpc", "port": 18000});
    assert_eq!(installed(deployment(2), service(grpc.clone())), Vec::<String>::new());
    assert_eq!(
        installed(deployment(1), service(grpc.clone())),
        ["warning kubernetes.controller deployment warmpath-controller: 1 of 2 replicas are ready"]
    );
    assert_eq!(
        installed(deployment(0), service(grpc.clone())),
        ["error kubernetes.controller deployment warmpath-controller: 0 of 2 replicas are ready"]
    );
    assert!(
        installed(json!([]), service(grpc))[0].starts_with("warning kubernetes.controller no Deployment")
    );
    for (port, is_wrong) in [
        (json!({"name": "grpc-state", "port": 18000}), false),
        (json!({"name": "state", "port": 18000, "appProtocol": "kubernetes.io/h2c"}), false),
        (json!({"name": "state", "port": 18000}), true),
        (json!({"name": "grpc", "port": 18000, "appProtocol": "tcp"}), true),
        (json!({"name": "http", "port": 18002}), false),
    ] {
        let lines = installed(deployment(2), service(port.clone()));
        assert_eq!(!lines.is_empty(), is_wrong, "{port}: {lines:?}");
    }
}

#[test]
fn rights_that_are_refused_are_named() {
    let found = |refused: &[&str]| {
        let refused = refused.iter().map(|right| (*right).to_owned()).collect();
        let mut findings = Findings::new("");
        rights::check(&Rights { account: "system:serviceaccount:llm:w".to_owned(), refused }, &mut findings);
        wrong(findings)
    };
    assert_eq!(found(&[]), Vec::<String>::new());
    assert_eq!(
        found(&["watch pods", "patch inferencepools/status.inference.networking.k8s.io"]),
        ["error kubernetes.rights system:serviceaccount:llm:w: may not watch pods; patch \
          inferencepools/status.inference.networking.k8s.io"]
    );
}

//! What an apply would change, over a Deployment as the API server shows it.

use super::{Contested, Respect, Value, difference, json};

fn live(more: &Value) -> Value {
    let mut live = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "llama",
            "labels": {"app": "llama", "team": "search"},
            "managedFields": [
                {"manager": "warmpath", "operation": "Apply", "fieldsV1": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {
                        "f:replicas": {},
                        "f:selector": {},
                        "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"engine\"}": {
                            ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                            "f:ports": {"k:{\"containerPort\":8000,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                            "f:resources": {"f:limits": {"f:cpu": {}}},
                        }}}},
                    },
                }},
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
                 "fieldsV1": {"f:status": {"f:replicas": {}}}},
            ],
        },
        "spec": {
            "replicas": 2,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {"spec": {"containers": [
                {"name": "sidecar", "image": "mesh"},
                {"name": "engine", "image": "vllm:1", "args": ["a", "b"], "imagePullPolicy": "IfNotPresent",
                 "ports": [{"containerPort": 8000, "protocol": "TCP"}], "resources": {"limits": {"cpu": "500m"}}},
            ]}},
        },
        "status": {"replicas": 2},
    });
    merge(&mut live, more);
    live
}

fn merge(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Object(value), Value::Object(more)) => {
            for (name, more) in more {
                merge(value.entry(name.clone()).or_insert(Value::Null), more);
            }
        }
        (Value::Array(value), Value::Array(more)) => value.extend(more.clone()),
        (value, more) => *value = more.clone(),
    }
}

fn desired() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llama", "labels": {"app": "llama"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {"spec": {"containers": [{
                "name": "engine", "image": "vllm:1", "args": ["a", "b"],
                "ports": [{"containerPort": 8000}], "resources": {"limits": {"cpu": 0.5}},
            }]}},
        },
    })
}

/// The live object, with one more writer.
fn also_written(manager: &str, fields: &Value, more: &Value) -> Value {
    let entry = json!({"manager": manager, "operation": "Update", "fieldsV1": fields});
    let mut live = live(more);
    merge(&mut live, &json!({"metadata": {"managedFields": [entry]}}));
    live
}

#[test]
fn what_is_there_with_defaults_and_fields_of_others_is_the_same() {
    let found = difference(&desired(), &live(&json!({})), Respect::All);
    assert!(found.is_same, "{found:?}");
    assert_eq!(found.manifest, desired());
}

#[test]
fn each_change_of_the_manifest_is_one_of_the_object() {
    for (pointer, value) in [
        ("/spec/replicas", json!(4)),
        ("/spec/template/spec/containers/0/image", json!("vllm:2")),
        ("/spec/template/spec/containers/0/args", json!(["a"])),
        ("/spec/template/spec/containers/0/ports/0/containerPort", json!(8001)),
        ("/spec/template/spec/containers/0/resources/limits/cpu", json!("2")),
        ("/metadata/labels/app", json!("other")),
    ] {
        let mut changed = desired();
        *changed.pointer_mut(pointer).unwrap() = value;
        let found = difference(&changed, &live(&json!({})), Respect::All);
        assert!(!found.is_same && found.contested.is_empty(), "{pointer}");
    }
    let mut more = desired();
    more["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "more"}));
    assert!(!difference(&more, &live(&json!({})), Respect::All).is_same);
}

#[test]
fn a_field_that_an_earlier_manifest_had_is_given_up() {
    for (pointer, name) in [
        ("/metadata/labels", "app"),
        ("/spec/template/spec/containers/0", "args"),
        ("/spec/template/spec/containers/0", "ports"),
    ] {
        let mut less = desired();
        less.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
        assert!(!difference(&less, &live(&json!({})), Respect::All).is_same, "{pointer}/{name}");
    }
}

#[test]
fn replicas_stay_until_another_scaler_has_written_them() {
    let mut without = desired();
    without["spec"].as_object_mut().unwrap().remove("replicas");
    let four = json!({"spec": {"replicas": 4}});
    let found = difference(&without, &live(&four), Respect::All);
    assert!(found.is_same, "nothing is written: {found:?}");
    assert_eq!(found.manifest["spec"]["replicas"], 4, "nor lost with what else is written");
    let scaler = json!({"f:spec": {"f:replicas": {}}});
    let found = difference(&without, &also_written("kube-controller-manager", &scaler, &four), Respect::All);
    assert!(!found.is_same && found.manifest["spec"].get("replicas").is_none(), "{found:?}");
}

#[test]
fn what_kubectl_has_scaled_once_is_overridden_where_a_scaler_sets_the_replicas() {
    let mut live = live(&json!({"spec": {"replicas": 0}}));
    let entry = json!({"manager": "kubectl", "operation": "Update", "subresource": "scale",
        "fieldsV1": {"f:spec": {"f:replicas": {}}}});
    merge(&mut live, &json!({"metadata": {"managedFields": [entry]}}));
    let kept = difference(&desired(), &live, Respect::All);
    assert!(kept.contested.len() == 1 && !kept.is_forced, "{kept:?}");
    let found = difference(&desired(), &live, Respect::AllButKubectlScale);
    assert!(found.contested.is_empty() && found.is_forced, "{found:?}");
    assert_eq!(found.manifest["spec"]["replicas"], 2);
    live["spec"]["replicas"] = json!(2);
    let found = difference(&desired(), &live, Respect::AllButKubectlScale);
    assert!(found.is_same && !found.is_forced, "{found:?}");
    let mut autoscaled = live.clone();
    autoscaled["metadata"]["managedFields"][2]["manager"] = json!("kube-controller-manager");
    autoscaled["spec"]["replicas"] = json!(7);
    let kept = difference(&desired(), &autoscaled, Respect::AllButKubectlScale);
    assert!(kept.contested.len() == 1 && !kept.is_forced, "an HPA's replicas stay: {kept:?}");
}

#[test]
fn what_others_set_stays_as_they_set_it() {
    let of_spec = |fields: Value| json!({"f:spec": fields});
    let image =
        json!({"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"engine\"}": {"f:image": {}}}}}});
    let scaled =
        also_written("kubectl", &of_spec(json!({"f:replicas": {}})), &json!({"spec": {"replicas": 3}}));
    let mut changed = desired();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("vllm:2");
    for (desired, live, path) in [
        (desired(), scaled, ".spec.replicas"),
        (
            changed,
            also_written("kubectl", &of_spec(image), &json!({})),
            ".spec.template.spec.containers[engine].image",
        ),
    ] {
        let found = difference(&desired, &live, Respect::All);
        let contested = Contested { path: path.to_owned(), manager: "kubectl".to_owned() };
        assert_eq!(found.contested, [contested]);
        // Both set it before: our share is given up, so that no conflict remains.
        assert!(!found.is_same);
    }
}

#[test]
fn a_field_that_others_took_over_is_written_no_more() {
    let mut live = also_written(
        "kubectl-edit",
        &json!({"f:spec": {"f:replicas": {}}}),
        &json!({"spec": {"replicas": 3}}),
    );
    let own = live.pointer_mut("/metadata/managedFields/0/fieldsV1/f:spec").unwrap();
    own.as_object_mut().unwrap().remove("f:replicas");
    let found = difference(&desired(), &live, Respect::All);
    assert!(found.is_same && found.contested.len() == 1, "{found:?}");
    assert_eq!(found.manifest.pointer("/spec/replicas"), None);
}

#[test]
fn what_was_never_applied_is_applied_even_if_it_looks_the_same() {
    // Nothing differs but the record of who set it.
    let found = difference(&desired(), &desired(), Respect::All);
    assert!(!found.is_same);
    assert_eq!((found.manifest, found.contested), (desired(), Vec::new()));
}

#[test]
fn values_that_the_api_server_leaves_out_are_no_difference() {
    let mut sparse = desired();
    merge(
        &mut sparse,
        &json!({"spec": {"paused": false, "minReadySeconds": 0, "template": {"metadata": {}}}}),
    );
    assert!(difference(&sparse, &live(&json!({})), Respect::All).is_same);
}

//! Models that the chart runs: what it makes of the values, and which values it refuses.

use super::{IMAGE, render};
use serde_json::{Value, json};
use warmpath_deploy::api::ModelService;
use warmpath_gateways::{Chart, ChartError};

const SERVED: &str = "model: {name: meta-llama/Llama-3.1-8B-Instruct}\ngpu: {type: nvidia-h100}\n";

/// The ModelServices of a rendering, which the controller reads without an error.
fn services(values: &str) -> Vec<Value> {
    let rendered = render(values);
    let services: Vec<Value> = rendered.of_kind("ModelService").cloned().collect();
    for service in &services {
        serde_json::from_value::<ModelService>(service.clone())
            .unwrap_or_else(|error| panic!("{error}: {service}"));
    }
    services
}

#[test]
fn without_a_model_the_chart_runs_none_and_gets_no_right_to() {
    let rendered = render("");
    assert_eq!(rendered.of_kind("ModelService").count(), 0);
    let role = rendered.object("Role", "llm-warmpath-controller").unwrap();
    assert!(!role.to_string().contains("create"), "{role}");
    let file = rendered.object("ConfigMap", "warmpath-controller").unwrap();
    assert!(!file["data"]["controller.yaml"].as_str().unwrap().contains("model_services"));
}

#[test]
fn a_model_with_prefill_and_decode_is_a_model_service_with_both_roles() {
    let services = services(&format!(
        "{SERVED}prefill: {{replicas: 2}}\ndecode: {{replicas: 4, maxReplicas: 8}}\nautoscaling: {{enabled: true, scaleToZero: true}}"
    ));
    let [service] = &services[..] else { panic!("{services:?}") };
    assert_eq!(service["metadata"]["name"], "llama-3-1-8b-instruct");
    assert_eq!(service["metadata"]["namespace"], "llm");
    let on = json!({"gpu": {"type": "nvidia-h100"}});
    assert_eq!(
        service["spec"],
        json!({
            "model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
            "roles": {
                "prefill": {"replicas": {"min": 2}, "hardware": on},
                "decode": {"replicas": {"min": 4, "max": 8}, "hardware": on},
            },
            "autoscaling": {"enabled": true, "scaleToZero": true},
        })
    );
    let file = render(SERVED).object("ConfigMap", "warmpath-controller").unwrap().clone();
    assert!(file["data"]["controller.yaml"].as_str().unwrap().contains("model_services: true"));
}

#[test]
fn a_model_alone_gets_one_engine_that_does_everything() {
    let service = &services(SERVED)[0];
    assert_eq!(service["spec"]["roles"]["serve"]["replicas"]["min"], 1);
    assert_eq!(service["spec"]["roles"].as_object().unwrap().len(), 1);
    assert_eq!(service["spec"].get("autoscaling"), None);
}

#[test]
fn further_fields_of_a_models_specification_take_precedence() {
    let service = &services(
        "model: {name: 8b_Model., spec: {model: {servedNames: [chat]}, engine: {image: own:1}, roles: {serve: {parallelism: {tensor: 2}}}}}\n\
         gpu: {type: cpu}\nserve: {replicas: 3}",
    )[0];
    assert_eq!(service["metadata"]["name"], "m-8b-model", "a name that the API server takes");
    assert_eq!(service["spec"]["model"], json!({"name": "8b_Model.", "servedNames": ["chat"]}));
    assert_eq!(service["spec"]["roles"]["serve"]["parallelism"]["tensor"], 2);
    assert_eq!(service["spec"]["roles"]["serve"]["replicas"]["min"], 3);
    assert_eq!(service["spec"]["engine"]["image"], "own:1");
}

#[test]
fn several_models_are_a_list_beside_the_first() {
    let services = services(&format!(
        "{SERVED}models:\n- {{name: qwen/Qwen3-32B, gpu: {{type: amd-mi300x}}, serve: {{replicas: 2}}}}\n- {{name: small, gpu: {{type: cpu}}}}"
    ));
    let names: Vec<&str> =
        services.iter().map(|service| service["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["llama-3-1-8b-instruct", "qwen3-32b", "small"]);
    assert_eq!(services[1]["spec"]["roles"]["serve"]["hardware"]["gpu"]["type"], "amd-mi300x");
}

#[test]
fn wrong_models_are_refused_with_their_place_and_cause() {
    for (values, message) in [
        ("model: {name: a b}", "at '/model/name': 'a b' does not match pattern"),
        (
            "model: {name: a}\ngpu: {type: nvidia-h900}",
            "at '/gpu/type': value must be one of '', 'nvidia-h100'",
        ),
        (
            "model: {name: a}\ngpu: {type: cpu}\nprefill: {replicas: -1}",
            "at '/prefill/replicas': minimum: got -1, want 0",
        ),
        (
            "model: {name: a}\ngpu: {type: cpu}\ndecode: {replicas: many}",
            "at '/decode/replicas': got string, want integer",
        ),
        ("model: {name: a, replicas: 2}", "at '/model': additional properties 'replicas' not allowed"),
        ("autoscaling: {scaleToZero: sometimes}", "at '/autoscaling/scaleToZero': got string, want boolean"),
        ("models: [{name: a}]", "at '/models/0': missing property 'gpu'"),
        ("models: [{gpu: {type: cpu}}]", "at '/models/0': missing property 'name'"),
        (
            "models: [{name: a, gpu: {type: ''}}]",
            "at '/models/0/gpu/type': value must be one of 'nvidia-h100'",
        ),
        (
            "model: {name: a}",
            "gpu.type is required with a model: set it to what the engines run on, such as nvidia-h100 or cpu",
        ),
        (
            "model: {name: a}\ngpu: {type: cpu}\ndecode: {replicas: 2}",
            "prefill.replicas and decode.replicas go together, because neither can serve a request alone: set both, or serve.replicas",
        ),
        (
            "models: [{name: a, gpu: {type: cpu}, prefill: {replicas: 2}}]",
            "models[0].prefill.replicas and models[0].decode.replicas go together",
        ),
        (
            "model: {name: a}\ngpu: {type: cpu}\nserve: {replicas: 1}\nprefill: {replicas: 1}\ndecode: {replicas: 1}",
            "serve.replicas and prefill.replicas exclude each other: engines do everything, or share requests",
        ),
        (
            "model: {name: a}\ngpu: {type: cpu}\nautoscaling: {scaleToZero: true}",
            "autoscaling.scaleToZero requires autoscaling.enabled, without which nothing scales",
        ),
        (
            "model: {name: x/a}\ngpu: {type: cpu}\nmodels: [{name: y/A, gpu: {type: cpu}}]",
            "models[0].name gives a ModelService the name of another one, a: make one of the models yourself",
        ),
        (
            "model: {name: a}\ngpu: {type: cpu}\nmodelServices: false",
            "modelServices is false, so that nobody carries out the models: remove it, or model.name and models",
        ),
        (
            "model: {name: a}\ngpu: {type: cpu}\ninferencePools: false",
            "inferencePools is false, so that no request is routed to models that ModelServices run: remove it",
        ),
        (
            "model: {name: a}\ngpu: {type: cpu}\nnamespaces: [other]",
            "the models are in the namespace llm, which the controller does not watch: add it to namespaces",
        ),
    ] {
        let refused = Chart::new(&format!("{IMAGE}{values}")).unwrap().render();
        let Err(ChartError::Refused(refusal)) = refused else { panic!("taken: {values}") };
        assert!(refusal.contains(message), "{values}\ngets\n{refusal}\nand not\n{message}");
    }
}

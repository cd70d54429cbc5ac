//! Models that the chart runs: what it makes of the values, and which values it refuses.

use super::{IMAGE, render};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
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

/// As in docs/scaling.md, whose roles begin at 0: they became one engine that does everything.
#[test]
fn a_role_with_a_maximum_and_no_number_is_a_role() {
    let service = &services(&format!(
        "{SERVED}prefill: {{replicas: 0, maxReplicas: 8}}\ndecode: {{maxReplicas: 16}}\nautoscaling: {{enabled: true, scaleToZero: true}}"
    ))[0];
    let roles = &service["spec"]["roles"];
    assert_eq!(roles["prefill"]["replicas"], json!({"min": 1, "max": 8}));
    assert_eq!(roles["decode"]["replicas"], json!({"min": 1, "max": 16}));
    assert_eq!(roles.get("serve"), None);
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

/// Blocks of YAML in the chart's README that begin with a comment that names them as values.
#[test]
fn the_values_that_the_readme_shows_are_rendered() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../controller/chart/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let blocks = readme.split("```yaml\n# values.yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut kinds = Vec::new();
    for values in blocks {
        let chart = Chart::new(values).unwrap();
        let rendered = chart.render().unwrap_or_else(|error| panic!("{error}\nwith {values}"));
        let service = rendered.of_kind("ModelService").next().unwrap();
        // Routes lead to objects of the ModelService's name.
        let name = service["metadata"]["name"].as_str().unwrap();
        assert!(readme.contains(&format!("backendRefs: [{{name: {name}, port: 8000}}]")), "{name}");
        assert!(readme.contains(&format!("kind: InferencePool, name: {name}}}")), "{name}");
        let ours = ["EnvoyFilter", "EnvoyPatchPolicy"].map(|kind| rendered.of_kind(kind).count());
        kinds.push(ours.map(|count| count > 0));
    }
    assert_eq!(kinds, [[true, false], [false, true]]);
}

fn refused(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/refused").join(name)
}

/// `fixtures/refused/values.yaml` -> `messages.txt`, which `WARMPATH_UPDATE_GOLDEN=1` writes anew.
#[test]
fn wrong_models_are_refused_with_their_place_and_cause() {
    let cases = fs::read_to_string(refused("values.yaml")).unwrap();
    let mut messages = String::new();
    for case in serde_saphyr::from_multiple::<Value>(&cases).unwrap() {
        let name = case["name"].as_str().unwrap();
        let values = case["values"].as_object().unwrap().iter();
        let chart = Chart::new(IMAGE).unwrap();
        let chart = values.fold(chart, |chart, (key, value)| chart.with(&format!("/{key}"), value.clone()));
        let Err(ChartError::Refused(refusal)) = chart.render() else { panic!("taken: {name}") };
        let _ = writeln!(messages, "{name}");
        for line in refusal.lines() {
            // Without the place of the line that refuses.
            let said = line.split_once("): ").filter(|(place, _)| place.contains("checks.yaml:"));
            let _ = writeln!(messages, "  {}", said.map_or(line, |(_, said)| said));
        }
    }
    if std::env::var_os("WARMPATH_UPDATE_GOLDEN").is_some() {
        fs::write(refused("messages.txt"), &messages).unwrap();
    }
    let golden = fs::read_to_string(refused("messages.txt")).unwrap_or_default();
    assert!(messages == golden, "see the difference with WARMPATH_UPDATE_GOLDEN=1\n{messages}");
}

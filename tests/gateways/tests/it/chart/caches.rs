//! Tokenizers and KV events, as the chart brings them to the controller.

use super::render;
use serde_json::{Value, json};
use warmpath::config::{PodPool, Settings};
use warmpath_config::KvEvents;
use warmpath_config::kv_events::Ports;
use warmpath_gateways::Manifests;

const VALUES: &str = r#"
controller:
  tokenizers:
  - {name: llama-3.1-8b, volume: {persistentVolumeClaim: {claimName: models, readOnly: true}}, subPath: llama/3.1}
  - {name: templates, volume: {configMap: {name: templates}}}
pools:
- name: llama
  selector: {app: vllm}
  ports: [8000]
  prompt:
    tokenizer: llama-3.1-8b
    chat_template: templates/own.jinja
    template_arguments: '{"enable_thinking": false}'
  kv_events: {source: ports, port: 5557, replay_port: 5558, ranks: 8, topic: kv}
"#;

/// The guide, with an example of values.
const GUIDE: &str = include_str!("../../../../../docs/cache-knowledge.md");

/// For engines that connect.
const CONNECTIONS: &str = r"
controller: {replicas: 1, kvEventsPort: 5557, tokenizers: [{name: m, volume: {configMap: {name: m}}}]}
pools: [{name: a, selector: {app: vllm}, ports: [8000], prompt: {tokenizer: m}, kv_events: {source: connections}}]
networkPolicy: {enabled: true, engines: [{podSelector: {matchLabels: {app: vllm}}}]}
";

fn settings(rendered: &Manifests) -> Settings {
    let file = rendered.object("ConfigMap", "warmpath-controller").unwrap();
    Settings::parse(file["data"]["controller.yaml"].as_str().unwrap()).unwrap()
}

fn only_pool(settings: &Settings) -> &PodPool {
    &settings.kubernetes.as_ref().unwrap().pools[0]
}

fn pod(rendered: &Manifests) -> &Value {
    &rendered.object("Deployment", "warmpath-controller").unwrap()["spec"]["template"]["spec"]
}

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array().unwrap().iter().find(|one| one["name"] == name)
}

#[test]
fn tokenizers_lie_where_the_controllers_file_says() {
    let rendered = render(VALUES);
    let settings = settings(&rendered);
    let directory = settings.kubernetes.as_ref().unwrap().tokenizers.as_deref();
    assert_eq!(directory, Some("/tokenizers"), "for the names in annotations");
    let prompt = only_pool(&settings).prompt.as_ref().unwrap();
    assert_eq!(prompt.tokenizer, "/tokenizers/llama-3.1-8b");
    assert_eq!(prompt.chat_template.as_deref(), Some("/tokenizers/templates/own.jinja"));
    assert_eq!(prompt.template_arguments, r#"{"enable_thinking": false}"#);
    let mounts = pod(&rendered)["containers"][0]["volumeMounts"].as_array().unwrap();
    for directory in ["llama-3.1-8b", "templates"] {
        let path = format!("/tokenizers/{directory}");
        let mount = mounts.iter().find(|mount| mount["mountPath"] == path).unwrap();
        assert_eq!(mount["readOnly"], true);
    }
}

#[test]
fn tokenizers_come_from_the_volumes_that_are_named() {
    let rendered = render(VALUES);
    let volume = |path: &str| {
        let mounts = pod(&rendered)["containers"][0]["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["mountPath"] == path).unwrap();
        let volume = named(&pod(&rendered)["volumes"], mount["name"].as_str().unwrap()).unwrap();
        (volume.clone(), mount["subPath"].clone())
    };
    let (claim, folder) = volume("/tokenizers/llama-3.1-8b");
    assert_eq!(claim["persistentVolumeClaim"], json!({ "claimName": "models", "readOnly": true }));
    assert_eq!(folder, "llama/3.1");
    let (map, folder) = volume("/tokenizers/templates");
    assert_eq!(map["configMap"], json!({ "name": "templates" }));
    assert_eq!(folder, Value::Null, "a mounted part of a ConfigMap does not change with it");
}

#[test]
fn names_of_volumes_have_no_dots_which_the_api_server_would_refuse() {
    let rendered = render(VALUES);
    for volume in pod(&rendered)["volumes"].as_array().unwrap() {
        assert!(!volume["name"].as_str().unwrap().contains('.'), "{volume}");
    }
}

#[test]
fn the_ports_of_kv_events_reach_the_controller() {
    let ports = Ports { port: 5557, replay_port: Some(5558), ranks: 8, topic: "kv".to_owned() };
    assert_eq!(only_pool(&settings(&render(VALUES))).kv_events, KvEvents::Ports(ports));
}

#[test]
fn the_guides_values_are_taken() {
    let (_, example) = GUIDE.split_once("```yaml\n# values.yaml\n").unwrap();
    let rendered = render(example.split_once("```").unwrap().0);
    let settings = settings(&rendered);
    assert_eq!(only_pool(&settings).prompt.as_ref().unwrap().tokenizer, "/tokenizers/llama-3.1-8b");
}

#[test]
fn without_tokenizers_nothing_is_mounted_and_no_port_is_open() {
    let rendered = render("networkPolicy: {enabled: true}");
    let settings = settings(&rendered);
    assert_eq!((settings.kubernetes.unwrap().tokenizers, settings.listen_kv_events), (None, None));
    let text = rendered.text();
    assert!(!text.contains("kv-events") && !text.contains("tokenizer"), "{text}");
}

#[test]
fn engines_that_connect_find_a_port_that_lets_them_in() {
    let rendered = render(CONNECTIONS);
    let settings = settings(&rendered);
    assert_eq!(settings.listen_kv_events.unwrap().to_string(), "0.0.0.0:5557");
    assert_eq!(only_pool(&settings).kv_events, KvEvents::Connections);
    let service = &rendered.object("Service", "warmpath-controller").unwrap()["spec"]["ports"];
    let port = named(service, "tcp-kv-events").unwrap();
    assert_eq!(port["port"], 5557);
    let container = &pod(&rendered)["containers"][0]["ports"];
    assert_eq!(named(container, port["targetPort"].as_str().unwrap()).unwrap()["containerPort"], 5557);
    let policy = &rendered.object("NetworkPolicy", "warmpath-controller").unwrap()["spec"]["ingress"];
    let rule = policy.as_array().unwrap().iter().find(|rule| rule["ports"][0]["port"] == port["targetPort"]);
    assert_eq!(rule.unwrap()["from"], json!([{ "podSelector": { "matchLabels": { "app": "vllm" } } }]));
}

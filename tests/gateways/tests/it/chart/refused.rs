//! Values that the chart rejects, each with its message.

use super::IMAGE;
use warmpath_gateways::{Chart, ChartError};

const REFUSED: [(&str, &str); 53] = [
    ("pools: [{name: a, selector: {app/x/y: c}, ports: [1]}]", "invalid propertyName 'app/x/y'"),
    (
        "gateway: {kind: none}\nnetworkPolicy: {enabled: true}",
        "networkPolicy.enabled with gateway.kind none requires networkPolicy.gateways",
    ),
    (
        "gateway: {kind: envoy-gateway, envoyGateway: {gateway: a, route: b}, wasm: {source: oci, sha256: \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"}}",
        "gateway.wasm.url is required for source oci",
    ),
    (
        "gateway: {istio: {mode: waypoint}}",
        "at '/gateway/istio/mode': value must be one of 'gateway', 'inferencePool', 'sidecar'",
    ),
    (
        "gateway: {istio: {backends: [{host: vllm, port: 8000}]}}",
        "at '/gateway/istio/backends/0/host': 'vllm' does not match pattern",
    ),
    (
        "gateway: {istio: {backends: [{host: vllm.llm.svc}]}}",
        "at '/gateway/istio/backends/0': missing property 'port'",
    ),
    ("gateway: {wasm: {sha256: abc}}", "at '/gateway/wasm/sha256': 'abc' does not match pattern"),
    (
        "gateway: {wasm: {source: ftp}}",
        "at '/gateway/wasm/source': value must be one of 'http', 'oci', 'file'",
    ),
    (
        "gateway: {kind: nginx}",
        "at '/gateway/kind': value must be one of 'envoy', 'istio', 'envoy-gateway', 'none'",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], weight: 0}]",
        "at '/pools/0/weight': minimum: got 0, want 1",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], transfer: {protocol: NIXL}}]",
        "at '/pools/0/transfer/protocol': value must be one of 'nixl', 'mooncake', 'sglang', 'tensorrt-llm'",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], transfer: {bootstrap_port: 8998}}]",
        "at '/pools/0/transfer': missing property 'protocol'",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], hold: {room_s: 3601}}]",
        "at '/pools/0/hold/room_s': maximum: got 3,601, want 3,600",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], hold: {tenants: []}}]",
        "at '/pools/0/hold': 'anyOf' failed",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], hold: {room_s: 1, tenants: [{name: t}]}}]",
        "at '/pools/0/hold/tenants/0': missing property 'weight'",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], prompt: {tokenizer: ../config}}]",
        "at '/pools/0/prompt/tokenizer': '../config' does not match pattern",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], prompt: {content_format: openai}}]",
        "at '/pools/0/prompt': missing property 'tokenizer'",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], kv_events: {source: zmq}}]",
        "at '/pools/0/kv_events/source': value must be one of 'discovered', 'ports', 'connections', 'none'",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], kv_events: {source: ports, port: 5557, ranks: 65}}]",
        "at '/pools/0/kv_events/ranks': maximum: got 65, want 64",
    ),
    (
        "controller: {tokenizers: [{name: a/b, volume: {configMap: {name: c}}}]}",
        "at '/controller/tokenizers/0/name': 'a/b' does not match pattern",
    ),
    (
        "controller: {tokenizers: [{name: a, volume: {pvc: {claimName: c}}}]}",
        "at '/controller/tokenizers/0/volume': additional properties 'pvc' not allowed",
    ),
    (
        "controller: {tokenizers: [{name: a, volume: {configMap: {name: c}, hostPath: {path: /c}}}]}",
        "at '/controller/tokenizers/0/volume': maxProperties: got 2, want 1",
    ),
    ("controller: {kvEventsPort: 65536}", "at '/controller/kvEventsPort': maximum: got 65,536, want 65,535"),
    ("gateway: {replica: 3}", "at '/gateway': additional properties 'replica' not allowed"),
    ("replicas: 2", "at '': additional properties 'replicas' not allowed"),
    ("controller: {replicas: 0}", "at '/controller/replicas': minimum: got 0, want 1"),
    ("controller: {replicas: two}", "at '/controller/replicas': got string, want integer"),
    ("controller: {replicas: 1.5}", "at '/controller/replicas': got number, want integer"),
    ("listen: 10.0.0.1", "at '/listen': value must be one of '0.0.0.0', '[::]'"),
    (
        "controller: {settings: {scrape: {interval: 1}}}",
        "at '/controller/settings/scrape': additional properties 'interval' not allowed",
    ),
    (
        "controller: {settings: {cell_bytes: 16}}",
        "at '/controller/settings/cell_bytes': minimum: got 16, want 32",
    ),
    ("controller: {logFormat: yaml}", "at '/controller/logFormat': value must be one of 'text', 'json'"),
    ("controller: {resources: {limits: {memory: lots}}}", "at '/controller/resources/limits/memory'"),
    ("gateway: {workers: 0}", "at '/gateway/workers': minimum: got 0, want 1"),
    ("gateway: {drainSeconds: -1}", "at '/gateway/drainSeconds': minimum: got -1, want 0"),
    ("gateway: {service: {port: 70000}}", "at '/gateway/service/port': maximum: got 70,000, want 65,535"),
    ("gateway: {service: {type: External}}", "at '/gateway/service/type': value must be one of"),
    (
        "gateway: {resources: {limits: {memory: 4G}}}",
        "at '/gateway/resources/limits/memory': '4G' does not match pattern '^[1-9][0-9]*(Mi|Gi)$'",
    ),
    ("gateway: {logLevel: warn}", "at '/gateway/logLevel': value must be one of"),
    ("gateway: {filter: {alternates: 8}}", "at '/gateway/filter/alternates': maximum: got 8, want 7"),
    (
        "gateway: {filter: {hold: {requests_max: 100001}}}",
        "at '/gateway/filter/hold/requests_max': maximum: got 100,001, want 100,000",
    ),
    (
        "gateway: {filter: {cell_bytes: 128}}",
        "at '/gateway/filter': additional properties 'cell_bytes' not allowed",
    ),
    ("namespaces: llm", "at '/namespaces': got string, want array"),
    ("namespaces: [LLM]", "at '/namespaces/0': 'LLM' does not match pattern"),
    (
        "pools: [{name: a, selector: {}, ports: [8000]}]",
        "at '/pools/0/selector': minProperties: got 0, want 1",
    ),
    ("pools: [{name: a, selector: {app: b}}]", "at '/pools/0': missing property 'ports'"),
    ("pools: [{name: a, selector: {app: b}, ports: [0]}]", "at '/pools/0/ports/0': minimum: got 0, want 1"),
    ("auth: {token: secret}", "at '/auth': additional properties 'token' not allowed"),
    ("tls: {secret: \"a b\"}", "at '/tls/secret': 'a b' does not match pattern"),
    ("podMonitor: {interval: often}", "at '/podMonitor/interval': 'often' does not match pattern"),
    ("runAsUser: 0", "at '/runAsUser'"),
    (
        "networkPolicy: {gateways: [{pods: all}]}",
        "at '/networkPolicy/gateways/0': additional properties 'pods' not allowed",
    ),
    (
        "image: {controller: x, gateway: \"envoy:v1 40\"}",
        "at '/image/gateway': 'envoy:v1 40' does not match pattern",
    ),
];

/// What only the values together show.
const CONTRADICTORY: [(&str, &str); 25] = [
    (
        "gateway: {kind: istio}",
        "gateway.wasm.sha256 is required for source http: it is in dist/SHA256SUMS after `./just build`",
    ),
    ("gateway: {kind: istio, wasm: {source: oci}}", "gateway.wasm.url is required for source oci"),
    (
        "gateway: {kind: istio, wasm: {source: file}}",
        "gateway.istio.mode gateway requires gateway.istio.backends",
    ),
    (
        "gateway: {kind: istio, wasm: {source: file}, istio: {mode: inferencePool}}",
        "requires gateway.istio.gateway and gateway.istio.inferencePools",
    ),
    (
        "gateway: {kind: istio, wasm: {source: file}, istio: {mode: sidecar, backends: [{host: a.b.svc.c, port: 1}]}}",
        "requires gateway.istio.selector",
    ),
    (
        "gateway: {kind: envoy-gateway, wasm: {source: file}}",
        "Envoy Gateway fetches the filter: set gateway.wasm.source to http or oci",
    ),
    (
        "clusterWide: true\nnamespaces: [a]",
        "namespaces and clusterWide exclude each other: list namespaces, or watch them all",
    ),
    (
        "gateway: {autoscaling: {enabled: true, minReplicas: 5, maxReplicas: 2}}",
        "gateway.autoscaling.minReplicas is above maxReplicas: swap them",
    ),
    ("inferencePools: false", "there is nothing to route to: set inferencePools to true, or list pools"),
    (
        "auth: {enabled: false, tokenSecret: a}",
        "auth.tokenSecret is given, but auth.enabled is false: remove one",
    ),
    (
        "pools: [{name: a, namespace: b, selector: {app: c}, ports: [1]}]",
        "pools[0].namespace is b, which the controller does not watch: add it to namespaces",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1]}, {name: a, selector: {app: d}, ports: [1]}]",
        "pools[1] has the name of another pool, llm/a: rename one",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], hold: {room_s: 0}}]",
        "pools[0].hold holds no request: set room_s, endpoint_s or both to the longest wait in seconds, or remove it",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], transfer: {protocol: nixl}, hold: {room_s: 60, endpoint_s: 60}}]",
        "pools[0].hold.room_s is given with transfer, where requests wait for an endpoint only: remove one of both",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], prompt: {tokenizer: m/it}}]",
        "pools[0].prompt.tokenizer is m/it, which no entry of controller.tokenizers mounts: add one with the name m",
    ),
    (
        "controller: {tokenizers: [{name: m, volume: {configMap: {name: c}}}]}\npools: [{name: a, selector: {app: c}, ports: [1], prompt: {tokenizer: m, chat_template: n/it.jinja}}]",
        "pools[0].prompt.chat_template is n/it.jinja, which no entry of controller.tokenizers mounts: add one with the name n",
    ),
    (
        "controller: {tokenizers: [{name: m, volume: {configMap: {name: c}}}, {name: m, volume: {configMap: {name: d}}}]}",
        "controller.tokenizers[1] has the name of another entry, m: rename one",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], kv_events: {source: discovered}}]",
        "pools[0].kv_events is given without prompt, by which the engines' tokens become text: add prompt.tokenizer",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], kv_events: {source: ports}}]",
        "pools[0].kv_events.port is required for source ports: name the port where the engines publish, such as 5557",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], kv_events: {source: discovered, replay_port: 5558}}]",
        "pools[0].kv_events has port, replay_port, ranks or topic, which only source ports takes: set source to ports, or remove them",
    ),
    (
        "pools: [{name: a, selector: {app: c}, ports: [1], kv_events: {source: connections}}]",
        "pools[0].kv_events.source is connections, and the controller has no port for them: set controller.kvEventsPort, such as 5557",
    ),
    (
        "controller: {kvEventsPort: 5557}",
        "controller.kvEventsPort is given with several replicas, of which each engine would connect to one: set controller.replicas to 1",
    ),
    (
        "controller: {kvEventsPort: 18002}",
        "controller.kvEventsPort is another port of the controller: choose one besides 18000 and 18002",
    ),
    (
        "controller: {kvEventsPort: 5557}\nnetworkPolicy: {enabled: true}",
        "networkPolicy.engines is required with controller.kvEventsPort: list the pods of the engines that connect",
    ),
    ("image: {controller: \"\"}", "image.controller: name the image that you built with `./just image`"),
];

fn refusal(values: &str) -> String {
    let with_image = if values.starts_with("image") { String::new() } else { IMAGE.to_owned() };
    let chart = Chart::new(&format!("{with_image}{values}")).unwrap();
    match chart.render() {
        Err(ChartError::Refused(message)) => message,
        Err(error) => panic!("{error}: {values}"),
        Ok(_) => panic!("taken: {values}"),
    }
}

#[test]
fn wrong_values_are_refused_with_their_place_and_cause() {
    for (values, message) in REFUSED.iter().chain(&CONTRADICTORY) {
        let refusal = refusal(values);
        assert!(refusal.contains(message), "{values}\ngets\n{refusal}\nand not\n{message}");
    }
}

#[test]
fn all_wrong_values_are_named_at_once() {
    let message = refusal("gateway: {kind: nginx, replica: 3}\ncontroller: {replicas: 0}");
    for part in ["/gateway/kind", "'replica' not allowed", "/controller/replicas"] {
        assert!(message.contains(part), "{message}");
    }
    let message = refusal("clusterWide: true\nnamespaces: [a]\ninferencePools: false");
    for part in ["exclude each other", "nothing to route to"] {
        assert!(message.contains(part), "{message}");
    }
}

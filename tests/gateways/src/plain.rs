//! The manifests in the repository for `kubectl apply`, rendered from the chart: one source, two ways to install.

use crate::chart::{Chart, ChartError};
use std::path::{Path, PathBuf};

/// Stands in a file where the user puts the filter's sum.
const SUM: &str = "SHA256";
/// What the chart is given for it, since it accepts only sums.
const SUM_RENDERED: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Where the templates of other gateways are; all else in a rendering is the controller's.
const TEMPLATES: [&str; 2] = ["warmpath/templates/istio/", "warmpath/templates/envoy-gateway/"];
/// Labels that say how an object was installed.
const LABELS_OF_HELM: [&str; 3] =
    ["app.kubernetes.io/version:", "app.kubernetes.io/managed-by:", "helm.sh/chart:"];

/// One file.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Where it is, from the root of the repository.
    pub path: &'static str,
    /// What it is for, as its first line.
    title: &'static str,
    /// The values of `gateway` that it is rendered with.
    values: &'static str,
}

/// All files.
pub const FILES: [Plain; 8] = [
    Plain {
        path: "istio/gateway.yaml",
        title: "An ingress gateway of Istio in front of the Service `vllm`, port 8000, in the namespace `llm`.",
        values: "istio: {expose: {enabled: true}, backends: [{host: vllm.llm.svc.cluster.local, port: 8000}]}\n\
                 wasm: {source: file}",
    },
    Plain {
        path: "istio/gateway-http.yaml",
        title: "The same, with the filter from the controller.",
        values: "istio: {expose: {enabled: true}, backends: [{host: vllm.llm.svc.cluster.local, port: 8000}]}",
    },
    Plain {
        path: "istio/gateway-oci.yaml",
        title: "The same, with the filter from a registry.",
        values: "istio: {expose: {enabled: true}, backends: [{host: vllm.llm.svc.cluster.local, port: 8000}]}\n\
                 wasm: {source: oci, url: \"oci://REGISTRY/warmpath/router:0.1.0\"}",
    },
    Plain {
        path: "istio/shared-gateway.yaml",
        title: "An ingress gateway that other apps share: the filter is on for the route `llm` of your VirtualService.",
        values: "istio: {routes: [llm], backends: [{host: vllm.llm.svc.cluster.local, port: 8000}]}\n\
                 wasm: {source: file}",
    },
    Plain {
        path: "istio/inferencepool.yaml",
        title: "The Gateway `gw` of the Gateway API in front of the InferencePool `llama`, in the namespace `llm`.",
        values: "istio: {mode: inferencePool, gateway: gw, inferencePools: [{name: llama}]}\n\
                 wasm: {source: file}",
    },
    Plain {
        path: "istio/sidecar.yaml",
        title: "The sidecars of clients (`app: client`) of the Service `vllm`, port 8000, in the namespace `llm`.",
        values: "istio: {mode: sidecar, selector: {app: client}, backends: [{host: vllm.llm.svc.cluster.local, port: 8000}]}",
    },
    Plain {
        path: "istio/wasmplugin.yaml",
        title: "The filter as a WasmPlugin, which cannot read prompts. Use `gateway.yaml` where you can.",
        values: "istio: {form: wasmPlugin, expose: {enabled: true}, backends: [{host: vllm.llm.svc.cluster.local, port: 8000}]}\n\
                 filter: {affinity_headers: [x-session-id]}",
    },
    Plain {
        path: "envoy/envoy-gateway/policies.yaml",
        title: "Envoy Gateway: the Gateway `eg` with the listener `http`, and the HTTPRoute `llm`, in the namespace `llm`.",
        values: "envoyGateway: {gateway: eg, route: llm}",
    },
];

// === impl Plain ===

impl Plain {
    /// The file on this machine.
    pub fn on_disk(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(self.path)
    }

    /// What the chart makes of it now.
    pub fn render(&self) -> Result<String, ChartError> {
        let indented = self.values.replace('\n', "\n  ");
        let kind = if self.path.starts_with("istio/") { "istio" } else { "envoy-gateway" };
        let chart = Chart::new(&format!(
            "image: {{controller: unused.invalid/warmpath:0}}\ngateway:\n  kind: {kind}\n  {indented}\n"
        ))?;
        let chart = chart.with("/gateway/wasm/sha256", SUM_RENDERED);
        let rendered = chart.render()?;
        let documents: Vec<_> = rendered.text().split("---\n").filter_map(document).collect();
        let head = format!(
            "# {}\n#\n# README.md says what to change. Generated from controller/chart by `./just generate`.\n",
            self.title
        );
        Ok(format!("{head}---\n{}", documents.join("---\n")).replace(SUM_RENDERED, SUM))
    }
}

/// A document of a template that is meant, without what only Helm needs.
fn document(text: &str) -> Option<String> {
    let (source, body) = text.strip_prefix("# Source: ")?.split_once('\n')?;
    if !TEMPLATES.iter().any(|template| source.starts_with(template)) {
        return None;
    }
    let is_kept = |line: &&str| !LABELS_OF_HELM.iter().any(|label| line.trim_start().starts_with(label));
    let lines: Vec<_> = body.lines().filter(is_kept).map(str::trim_end).collect();
    Some(format!("{}\n", lines.join("\n").trim_end()))
}

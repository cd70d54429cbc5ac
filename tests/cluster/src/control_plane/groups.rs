//! The controller of LeaderWorkerSets, beside the control plane, as an administrator installs it: with its webhooks, without which
//! its pods lack the labels and variables that name their place in the group.
//!
//! Its webhooks are called at an address instead of a Service: the API server and it are processes of one network. The webhook of
//! pods is called for pods of groups only, so that all other pods do without the controller, also while it starts.

use super::{ControlPlane, options};
use crate::process::Process;
use crate::tools::Tool;
use crate::wait::until;
use anyhow::Context;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use std::fs;
use tokio::process::Command;

/// The port of its webhooks.
const WEBHOOK_PORT: u16 = 9443;

/// The name of both webhook configurations, and who writes them.
const NAME: &str = "lws";

/// The label of pods of groups.
const GROUP_LABEL: &str = "leaderworkerset.sigs.k8s.io/name";

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts the controller of LeaderWorkerSets, whose definition must be there, unless it runs already.
    pub async fn start_groups(&self) -> anyhow::Result<()> {
        let mut running = self.groups.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let folder = self.folder.join("lws");
        fs::create_dir_all(&folder).context("cannot make the folder of LeaderWorkerSets")?;
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
            .context("cannot make a certificate")?;
        let certificate = certified.cert.pem();
        self.write("lws/tls.crt", &certificate)?;
        self.write("lws/tls.key", &certified.key_pair.serialize_pem())?;
        self.write("lws/config.yaml", &configuration(&self.in_folder("lws")).to_string())?;
        let process = running.insert(self.spawn_groups()?);
        self.call_webhooks(certificate.into_bytes()).await?;
        let is_ready = async || if process.has_ended() { Some(false) } else { self.takes_groups().await };
        let is_up =
            until("LeaderWorkerSets to be admitted", is_ready).await.with_context(|| self.tail("lws"))?;
        anyhow::ensure!(is_up, "the controller of LeaderWorkerSets has ended; {}", self.tail("lws"));
        Ok(())
    }

    fn spawn_groups(&self) -> anyhow::Result<Process> {
        let mut command = Command::new(Tool::LeaderWorkerSets.path()?);
        let arguments = options(&[
            ("config", &self.in_folder("lws/config.yaml")),
            ("leader-elect", "false"),
            ("metrics-bind-address", "0"),
            ("health-probe-bind-address", "0"),
        ]);
        command.args(arguments).env("KUBECONFIG", self.kubeconfig_path()).env("HOME", &self.folder);
        Process::spawn(command, &self.log("lws"))
    }

    async fn call_webhooks(&self, certificate: Vec<u8>) -> anyhow::Result<()> {
        let client = self.client().await?;
        let as_manager = PatchParams::apply(NAME).force();
        let [mutating, validating] = webhooks(&ByteString(certificate))?;
        let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        api.patch(NAME, &as_manager, &Patch::Apply(mutating)).await?;
        let api: Api<ValidatingWebhookConfiguration> = Api::all(client);
        api.patch(NAME, &as_manager, &Patch::Apply(validating)).await?;
        Ok(())
    }

    /// Whether a LeaderWorkerSet gets its defaults; `None`: not yet.
    async fn takes_groups(&self) -> Option<bool> {
        let resource = ApiResource {
            group: "leaderworkerset.x-k8s.io".to_owned(),
            version: "v1".to_owned(),
            api_version: "leaderworkerset.x-k8s.io/v1".to_owned(),
            kind: "LeaderWorkerSet".to_owned(),
            plural: "leaderworkersets".to_owned(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client().await.ok()?, "default", &resource);
        let template = json!({"spec": {"containers": [{"name": "none", "image": "none"}]}});
        let group = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": NAME},
            "spec": {"leaderWorkerTemplate": {"size": 2, "workerTemplate": template}},
        });
        let dry = PatchParams { dry_run: true, ..PatchParams::apply(NAME).force() };
        let made = api.patch(NAME, &dry, &Patch::Apply(group)).await.ok()?;
        made.data.pointer("/spec/networkConfig/subdomainPolicy").map(|_| true)
    }
}

/// The controller's own configuration.
fn configuration(certificates: &str) -> Value {
    json!({
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "webhook": {"port": WEBHOOK_PORT, "certDir": certificates},
        "internalCertManagement": {"enable": false},
    })
}

/// What the API server asks it before it stores an object: the names and paths of its own manifests.
fn webhooks(certificate: &ByteString) -> anyhow::Result<[Value; 2]> {
    let certificate = serde_json::to_value(certificate).context("no certificate")?;
    let webhook = |name: &str,
                   path: &str,
                   group: &str,
                   resource: &str,
                   operations: &[&str],
                   objects: Value| {
        json!({
            "name": name,
            "objectSelector": objects,
            "clientConfig": {"url": format!("https://127.0.0.1:{WEBHOOK_PORT}{path}"), "caBundle": certificate},
            "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "operations": operations, "resources": [resource]}],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
        })
    };
    let of_groups = |name: &str, path: &str| {
        webhook(name, path, "leaderworkerset.x-k8s.io", "leaderworkersets", &["CREATE", "UPDATE"], json!({}))
    };
    let in_groups = json!({"matchExpressions": [{"key": GROUP_LABEL, "operator": "Exists"}]});
    let of_pods = webhook("mpod.kb.io", "/mutate--v1-pod", "", "pods", &["CREATE"], in_groups);
    let path = "leaderworkerset-x-k8s-io-v1-leaderworkerset";
    let configuration = |kind: &str, webhooks: Vec<Value>| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": NAME},
            "webhooks": webhooks,
        })
    };
    Ok([
        configuration(
            "MutatingWebhookConfiguration",
            vec![of_groups("mleaderworkerset.kb.io", &format!("/mutate-{path}")), of_pods],
        ),
        configuration(
            "ValidatingWebhookConfiguration",
            vec![of_groups("vleaderworkerset.kb.io", &format!("/validate-{path}"))],
        ),
    ])
}

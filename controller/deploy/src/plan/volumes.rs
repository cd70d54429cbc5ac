//! The volumes of a pod, and where its container has them.

use crate::api::{Amount, EngineKind, ModelServiceSpec, Source, Volume, WhenUnsatisfiable};
use crate::engines::{
    ADAPTERS_PATH, FILES_PATH, Launch, MODEL_PATH, SHARED_PATH, TEMPLATE_PATH, WEIGHTS_PATH,
};
use crate::json::put;
use crate::shape::Shape;
use serde_json::{Map, Value, json};

/// Shared memory for what an engine's processes say to each other. vLLM and SGLang ask for more than a container's 64 MiB.
const SHARED_MEMORY_BYTES: u64 = 16 << 30;
/// Host memory of an engine beside its tier and the shared memory: weights pass through it while they are loaded.
const HOST_MEMORY_BYTES: u64 = 32 << 30;

/// What each device's process of vLLM has for transfers with a Mooncake store (`local_buffer_size` of its `MooncakeStoreConnector`).
const MOONCAKE_BUFFER_BYTES: u64 = 4 << 30;

/// Volumes, and mounts of them.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    pub(super) volumes: Vec<Value>,
    pub(super) mounts: Vec<Value>,
}

/// The volumes of a role's pods.
pub(super) fn volumes(spec: &ModelServiceSpec, shape: &Shape<'_>, launch: &Launch) -> Volumes {
    let mut found = Volumes::default();
    let shared = Amount::bytes(SHARED_MEMORY_BYTES.saturating_add(tier_bytes(shape)));
    found.add(
        "shm",
        json!({"emptyDir": {"medium": "Memory", "sizeLimit": shared}}),
        json!({"mountPath": "/dev/shm"}),
    );
    found.add_model(spec);
    if let Some(nvme) = &shape.cache.nvme {
        found.add("kv", source(&nvme.volume, Some(&nvme.size)), json!({"mountPath": nvme.path}));
    }
    if let Some(claim) = shape.cache.shared.as_ref().and_then(|shared| shared.claim.as_ref()) {
        let volume = json!({"persistentVolumeClaim": {"claimName": claim}});
        found.add("kv-shared", volume, json!({"mountPath": SHARED_PATH}));
    }
    let adapters = spec.adapters.iter().flat_map(|adapters| &adapters.list);
    for (at, adapter) in adapters.enumerate() {
        let path = format!("{ADAPTERS_PATH}/{}", adapter.name);
        found.add_source(&format!("adapter-{at}"), &adapter.source, &path, true);
    }
    if !launch.files.is_empty() {
        let item = |name: &String| json!({"path": name, "fieldRef": {"fieldPath": format!("metadata.annotations['{}']", file_annotation(name))}});
        let items: Vec<Value> = launch.files.keys().map(item).collect();
        found.add(
            "files",
            json!({"downwardAPI": {"items": items}}),
            json!({"mountPath": FILES_PATH, "readOnly": true}),
        );
    }
    if let Some(template) = &spec.model.chat_template {
        let (directory, file) = TEMPLATE_PATH.rsplit_once('/').unwrap_or_default();
        let volume = json!({"configMap": {"name": template.config_map.name, "items": [{"key": template.config_map.key, "path": file}]}});
        found.add("chat-template", volume, json!({"mountPath": directory, "readOnly": true}));
    }
    found
}

/// The annotation that carries a small file: a change of it replaces the pods, as a change of a ConfigMap would not.
pub(super) fn file_annotation(name: &str) -> String {
    format!("warmpath.dev/file-{name}")
}

/// The host memory that a pod needs; `None`: what it needs is not known, and nothing is asked for.
pub(super) fn memory(spec: &ModelServiceSpec, shape: &Shape<'_>) -> Option<Amount> {
    let stated = shape.role.hardware.requests.as_ref().and_then(|requests| requests.memory.clone());
    let tier = tier_bytes(shape).saturating_add(store_bytes(spec, shape));
    let derived = tier.saturating_add(HOST_MEMORY_BYTES).saturating_add(SHARED_MEMORY_BYTES);
    stated.or_else(|| (tier > 0).then(|| Amount::bytes(derived)))
}

fn tier_bytes(shape: &Shape<'_>) -> u64 {
    shape.cache.cpu.as_ref().and_then(|cpu| cpu.size.units()).unwrap_or_default()
}

/// Host memory that goes to a Mooncake store.
fn store_bytes(spec: &ModelServiceSpec, shape: &Shape<'_>) -> u64 {
    let Some(store) = shape.cache.shared.as_ref().and_then(|shared| shared.mooncake.as_ref()) else {
        return 0;
    };
    let buffers = match spec.engine.kind {
        EngineKind::Vllm => MOONCAKE_BUFFER_BYTES.saturating_mul(u64::from(shape.devices_per_pod)),
        EngineKind::Sglang | EngineKind::Trtllm => 0,
    };
    store.segment.as_ref().and_then(Amount::units).unwrap_or_default().saturating_add(buffers)
}

fn source(volume: &Volume, size: Option<&Amount>) -> Value {
    if let Some(claim) = &volume.claim {
        return json!({"persistentVolumeClaim": {"claimName": claim.name}});
    }
    if let Some(host) = &volume.host_path {
        return json!({"hostPath": {"path": host.path, "type": "DirectoryOrCreate"}});
    }
    let ephemeral = volume.ephemeral.clone().unwrap_or_default();
    let size = ephemeral.size.as_ref().or(size);
    match (&ephemeral.storage_class, size) {
        (Some(class), Some(size)) => json!({"ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}},
        }}}}),
        (_, Some(size)) => json!({"emptyDir": {"sizeLimit": size}}),
        (_, None) => json!({"emptyDir": {}}),
    }
}

/// How pods of a role are spread, by these labels of theirs.
pub(super) fn spread(spec: &ModelServiceSpec, labels: &Value) -> Vec<Value> {
    let constraint = |key: &str, skew: i32, when: &str| json!({"topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": when, "labelSelector": {"matchLabels": labels}});
    match &spec.placement.spread {
        Some(spread) => spread
            .iter()
            .map(|one| constraint(&one.topology_key, one.max_skew, one.when_unsatisfiable.as_str()))
            .collect(),
        None => ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
            .map(|key| constraint(key, 1, WhenUnsatisfiable::default().as_str()))
            .to_vec(),
    }
}

// === impl Volumes ===

impl Volumes {
    fn add(&mut self, name: &str, volume: Value, mount: Value) {
        self.volumes.push(named(name, volume));
        self.mounts.push(named(name, mount));
    }

    /// The model's own volume, or the one that keeps what is downloaded, so that a container that starts again need not.
    fn add_model(&mut self, spec: &ModelServiceSpec) {
        match &spec.model.source {
            Some(source) if source.hub.is_none() => self.add_source("model", source, MODEL_PATH, false),
            _ => {
                let volume = spec
                    .model
                    .cache
                    .as_ref()
                    .map_or_else(|| json!({"emptyDir": {}}), |cache| source(cache, None));
                self.add("weights", volume, json!({"mountPath": WEIGHTS_PATH}));
            }
        }
    }

    /// A claim or an image. `as_root`: its path is what is mounted; otherwise all of it is.
    fn add_source(&mut self, name: &str, source: &Source, at: &str, as_root: bool) {
        let (volume, path) = if let Some(claim) = &source.claim {
            (
                json!({"persistentVolumeClaim": {"claimName": claim.name, "readOnly": true}}),
                claim.path.as_ref(),
            )
        } else if let Some(image) = &source.image {
            (json!({"image": {"reference": image.reference}}), image.path.as_ref())
        } else {
            return;
        };
        let mut mount = json!({"mountPath": at, "readOnly": true});
        if let Some(path) = path.filter(|_| as_root) {
            put(&mut mount, "subPath", path.trim_matches('/'));
        }
        self.add(name, volume, mount);
    }
}

fn named(name: &str, object: Value) -> Value {
    let mut all = Map::new();
    all.insert("name".to_owned(), name.into());
    if let Value::Object(rest) = object {
        all.extend(rest);
    }
    all.into()
}

//! The `kubernetes` section: what is followed in a cluster, and what is written there.

use std::collections::BTreeMap;
use warmpath_config::{
    Entry, Fields, KvEvents, Problem, Prompt, Reader, Unique, WEIGHT_MAX, hold, pools, transfer,
};
use warmpath_core::limits::{MODELS_PER_POOL_MAX, POOLS_MAX};
use warmpath_core::wire::{Hold, Transfer};

/// Namespaces that may be listed: each has watches of its own.
const NAMESPACES_MAX: usize = 64;
/// Labels of a selector, as InferencePool bounds them.
const LABELS_MAX: usize = 64;
/// Ports of a pool, as InferencePool bounds them: each is its own endpoint.
pub const PORTS_MAX: usize = 8;
/// The lease's name when the file names none.
const LEASE_DEFAULT: &str = "warmpath";

/// The cluster's DNS domain when the file names none.
const DOMAIN_DEFAULT: &str = "cluster.local";
/// Images that may be replaced.
const IMAGES_MAX: usize = 64;

/// Labels that a pod must have, all of them.
pub type Selector = BTreeMap<String, String>;

/// What is followed in a cluster, and what is written there.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubernetes {
    /// Whose pools are followed; empty for all namespaces.
    pub namespaces: Vec<String>,
    /// Whether InferencePools are followed.
    pub inference_pools: bool,
    /// Whether ModelServices are carried out.
    pub model_services: bool,
    /// The controller's Service, which InferencePools of ModelServices name as their picker where they must name one.
    pub service: Option<ObjectName>,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Images for the engines of ModelServices, in place of those that their presets name.
    pub engine_images: BTreeMap<String, String>,
    /// Pools that no InferencePool describes.
    pub pools: Vec<PodPool>,
    /// The gateway's Service, which the status of InferencePools names as their parent; `None` writes no status.
    pub gateway: Option<ObjectName>,
    /// The lease whose holder writes. No namespace: that of the controller's pod.
    pub lease: ObjectName,
    /// The other replicas; `None` for a single controller.
    pub peers: Option<Peers>,
    /// The directory with the tokenizers that InferencePools may name, each a directory in it.
    pub tokenizers: Option<String>,
}

/// An object's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Empty where the namespace of the controller's pod is meant.
    pub namespace: String,
    /// The name in it.
    pub name: String,
}

/// Engines that are pods with certain labels.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPool {
    /// Namespace and name; the pool's name is both, with a slash.
    pub name: ObjectName,
    /// The pods' labels.
    pub selector: Selector,
    /// Each is its own endpoint.
    pub ports: Vec<u16>,
    /// Names of the base model. Empty: those that the engines list.
    pub models: Vec<String>,
    /// Names of adapters.
    pub adapters: Vec<String>,
    /// Its share of the conversations of a model that other pools serve, too, relative to theirs; zero for the default.
    pub weight: u32,
    /// How its engines pass KV on; `None`: no request is split.
    pub transfer: Option<Transfer>,
    /// How long its requests may wait in the proxy; `None`: none does.
    pub hold: Option<Hold>,
    /// As in [`warmpath_config::Pool`].
    pub prompt: Option<Prompt>,
    /// Where its engines publish what they hold.
    pub kv_events: KvEvents,
}

/// The pods of the other replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Where they are; empty for the namespace of the controller's pod.
    pub namespace: String,
    /// Their labels.
    pub selector: Selector,
    /// Their gRPC port.
    pub port: u16,
}

// === impl Kubernetes ===

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            inference_pools: true,
            model_services: false,
            service: None,
            cluster_domain: DOMAIN_DEFAULT.to_owned(),
            engine_images: BTreeMap::new(),
            pools: Vec::new(),
            gateway: None,
            lease: ObjectName { namespace: String::new(), name: LEASE_DEFAULT.to_owned() },
            peers: None,
            tokenizers: None,
        }
    }
}

impl Kubernetes {
    /// Fills in the namespace of the controller's pod where none is named.
    #[must_use]
    pub fn within(mut self, own: &str) -> Self {
        let peers = self.peers.as_mut().map(|peers| &mut peers.namespace);
        let gateway = self.gateway.as_mut().map(|gateway| &mut gateway.namespace);
        let service = self.service.as_mut().map(|service| &mut service.namespace);
        for namespace in [Some(&mut self.lease.namespace), gateway, service, peers].into_iter().flatten() {
            if namespace.is_empty() {
                own.clone_into(namespace);
            }
        }
        self
    }
}

// === impl ObjectName ===

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

pub(super) fn read(entry: &Entry<'_>, reader: &mut Reader) -> Kubernetes {
    let mut fields = reader.fields(entry);
    let default = Kubernetes::default();
    let namespaces = names(&mut fields, "namespaces", NAMESPACES_MAX, reader);
    let inference_pools = fields.optional("inference_pools").and_then(|entry| reader.flag(&entry));
    let model_services = fields.optional("model_services").and_then(|entry| reader.flag(&entry));
    let service = fields.optional("service").map(|entry| read_object(&entry, "name", "", reader));
    let cluster_domain = fields.optional("cluster_domain").and_then(|entry| reader.name(&entry));
    let engine_images = fields.optional("engine_images").map(|entry| read_images(&entry, reader));
    let pools = fields.optional("pools").map(|entry| read_pools(&entry, reader)).unwrap_or_default();
    let gateway = fields.optional("gateway").map(|entry| read_object(&entry, "service", "", reader));
    let lease = fields.optional("lease").map(|entry| read_object(&entry, "name", LEASE_DEFAULT, reader));
    let peers = fields.optional("peers").map(|entry| read_peers(&entry, reader));
    let tokenizers = fields.optional("tokenizers").and_then(|entry| reader.name(&entry));
    fields.finish(reader);
    Kubernetes {
        namespaces,
        inference_pools: inference_pools.unwrap_or(default.inference_pools),
        model_services: model_services.unwrap_or(default.model_services),
        service,
        cluster_domain: cluster_domain.unwrap_or(default.cluster_domain),
        engine_images: engine_images.unwrap_or_default(),
        pools,
        gateway,
        lease: lease.unwrap_or(default.lease),
        peers,
        tokenizers,
    }
}

/// Reads a map from images to images.
fn read_images(entry: &Entry<'_>, reader: &mut Reader) -> BTreeMap<String, String> {
    let mut images = reader.fields(entry);
    let found = images.rest();
    images.finish(reader);
    reader.bound(&entry.place, found.len(), "images", IMAGES_MAX);
    let image = |(name, entry): (&str, Entry<'_>)| Some((name.to_owned(), reader.name(&entry)?));
    found.into_iter().filter_map(image).collect()
}

fn read_pools(entry: &Entry<'_>, reader: &mut Reader) -> Vec<PodPool> {
    let entries = reader.list(entry, "pools", POOLS_MAX);
    let mut seen = Unique::new("give each pool of a namespace a name of its own");
    entries.iter().map(|entry| read_pool(entry, &mut seen, reader)).collect()
}

fn read_pool(entry: &Entry<'_>, seen: &mut Unique, reader: &mut Reader) -> PodPool {
    let mut fields = reader.fields(entry);
    let mut name = |field: &'static str, reader: &mut Reader| {
        fields.required(field, reader).and_then(|entry| reader.name(&entry)).unwrap_or_default()
    };
    let name = ObjectName { namespace: name("namespace", reader), name: name("name", reader) };
    if !name.namespace.is_empty() && !name.name.is_empty() {
        seen.add(&entry.place, name.to_string(), reader);
    }
    let selector = selector(&mut fields, reader);
    let ports = fields.required("ports", reader).map(|entry| read_ports(&entry, reader));
    let models = names(&mut fields, "models", MODELS_PER_POOL_MAX, reader);
    let adapters = names(&mut fields, "adapters", MODELS_PER_POOL_MAX, reader);
    let weight = fields.optional("weight").and_then(|entry| reader.number(&entry, 1..=WEIGHT_MAX));
    let transfer = fields.optional("transfer").map(|entry| transfer::read(&entry, reader));
    let beside = hold::Beside { has_transfer: transfer.is_some(), has_controller: true };
    let hold = fields.optional("hold").map(|entry| hold::read(&entry, beside, reader));
    let (mut prompt, mut kv_events) = (None, KvEvents::default());
    pools::read_caches(&mut fields, &mut prompt, &mut kv_events, reader);
    fields.finish(reader);
    let (ports, weight) = (ports.unwrap_or_default(), weight.unwrap_or_default());
    PodPool { name, selector, ports, models, adapters, weight, transfer, hold, prompt, kv_events }
}

fn read_ports(entry: &Entry<'_>, reader: &mut Reader) -> Vec<u16> {
    if entry.is_empty_list() {
        reader.report(&entry.place, Problem::Empty { remedy: "list the port on which the engines listen" });
    }
    let mut seen = Unique::new("list each port once");
    let mut ports = Vec::new();
    for entry in reader.list(entry, "ports", PORTS_MAX) {
        if let Some(port) = read_port(&entry, reader) {
            seen.add(&entry.place, port.to_string(), reader);
            ports.push(port);
        }
    }
    ports
}

fn read_port(entry: &Entry<'_>, reader: &mut Reader) -> Option<u16> {
    reader.number(entry, 1..=u64::from(u16::MAX))
}

fn read_object(
    entry: &Entry<'_>,
    name_field: &'static str,
    name_default: &str,
    reader: &mut Reader,
) -> ObjectName {
    let mut fields = reader.fields(entry);
    let namespace = fields.optional("namespace").and_then(|entry| reader.name(&entry));
    let name = if name_default.is_empty() {
        fields.required(name_field, reader)
    } else {
        fields.optional(name_field)
    };
    let name = name.and_then(|entry| reader.name(&entry));
    fields.finish(reader);
    ObjectName {
        namespace: namespace.unwrap_or_default(),
        name: name.unwrap_or_else(|| name_default.to_owned()),
    }
}

fn read_peers(entry: &Entry<'_>, reader: &mut Reader) -> Peers {
    let mut fields = reader.fields(entry);
    let namespace = fields.optional("namespace").and_then(|entry| reader.name(&entry));
    let selector = selector(&mut fields, reader);
    let port = fields.required("port", reader).and_then(|entry| read_port(&entry, reader));
    fields.finish(reader);
    Peers { namespace: namespace.unwrap_or_default(), selector, port: port.unwrap_or_default() }
}

/// Takes the `selector` field: labels with their values. An empty one would select every pod.
fn selector(fields: &mut Fields<'_>, reader: &mut Reader) -> Selector {
    let Some(entry) = fields.required("selector", reader) else { return Selector::new() };
    let mut labels = reader.fields(&entry);
    let is_map = labels.is_map();
    let found = labels.rest();
    labels.finish(reader);
    reader.bound(&entry.place, found.len(), "labels", LABELS_MAX);
    if found.is_empty() && is_map {
        reader.report(&entry.place, Problem::Empty { remedy: "name a label that the pods have" });
    }
    let label = |(name, entry): (&str, Entry<'_>)| Some((name.to_owned(), reader.name(&entry)?));
    found.into_iter().filter_map(label).collect()
}

fn names(fields: &mut Fields<'_>, field: &'static str, max: usize, reader: &mut Reader) -> Vec<String> {
    let Some(entry) = fields.optional(field) else { return Vec::new() };
    let mut seen = Unique::new("list each once");
    let mut names = Vec::new();
    for entry in reader.list(&entry, "names", max) {
        if let Some(name) = reader.name(&entry) {
            seen.add(&entry.place, name.clone(), reader);
            names.push(name);
        }
    }
    names
}

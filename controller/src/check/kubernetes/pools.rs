//! The kinds that describe pools, the pools, and their pods.

use crate::check::finding::{Check, Findings, Level};
use crate::config::Kubernetes;
use crate::watch::{Facts, Item, Kind, Pod, Problem, Source, SourceState, Update, list, plan};
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use warmpath_deploy::plan::SERVICE_LABEL;

/// Pods that are named one by one; of more only the number is.
const NAMED_MAX: usize = 8;

static KINDS: Check = Check {
    id: "kubernetes.kinds",
    worst: Level::Warning,
    why: "without the kind InferencePool, the only pools are those that the controller's file names by labels",
    remedy: "install the CRDs of the Gateway API Inference Extension, or name labels in kubernetes.pools",
};

static SELECTOR: Check = Check {
    id: "kubernetes.selector",
    worst: Level::Error,
    why: "no pod has the labels of the pool's selector: its requests get 503",
    remedy: "compare the selector with `kubectl get pods --show-labels`; pods must be in the pool's namespace",
};

static READY: Check = Check {
    id: "kubernetes.pods-ready",
    worst: Level::Error,
    why: "a pod that is not ready gets no requests",
    remedy: "see `kubectl describe pod` and the engine's log: images, GPUs, the readiness probe, readiness gates. A pod \
             with the label llm-d.ai/role: encode never gets requests of its own",
};

static SPEC: Check = Check {
    id: "kubernetes.pool-spec",
    worst: Level::Error,
    why: "the controller cannot use the object, or leaves out a part of it",
    remedy: "change what the message names",
};

static OVERLAP: Check = Check {
    id: "kubernetes.overlap",
    worst: Level::Warning,
    why: "of two pools with one name, only one is used; an endpoint in two pools counts the load and cache of both",
    remedy: "give each pool its own name, and labels that select no other pool's pods",
};

/// In the order of docs/check.md.
pub(super) static CHECKS: [&Check; 5] = [&KINDS, &SELECTOR, &READY, &SPEC, &OVERLAP];

/// What describes the pools of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    /// As the controller would see it.
    pub facts: Facts,
}

// === impl Pools ===

impl Pools {
    /// Lists the objects, and the pods that they select.
    pub(super) async fn of(client: &Client, namespace: &str) -> Result<Self, String> {
        let mut facts = Facts::default();
        let source = |kind| Source { kind, namespace: Some(namespace.to_owned()), selector: [].into() };
        for source in Kind::OF_POOLS.map(source) {
            add(client, &mut facts, source).await?;
        }
        let sources: BTreeSet<Source> = plan(&facts, &Kubernetes::default()).sources;
        for source in sources {
            add(client, &mut facts, source).await?;
        }
        Ok(Self { facts })
    }
}

async fn add(client: &Client, facts: &mut Facts, source: Source) -> Result<(), String> {
    let update = list(client, &source).await;
    if let Update::Failed(SourceState::Forbidden(message) | SourceState::Failing(message)) = &update {
        return Err(format!("{}: {message}", source.kind.label()));
    }
    facts.open(source.clone());
    facts.apply(&source, update);
    Ok(())
}

/// Checks the pools.
pub fn check(pools: &Pools, to: &mut Findings) {
    check_kinds(&pools.facts, to);
    let plan = plan(&pools.facts, &Kubernetes::default());
    for problem in &plan.problems {
        let check = match problem {
            Problem::NoPods { .. } | Problem::Unseen { .. } => &SELECTOR,
            // With the pods' names, below.
            Problem::NoneReady { .. } => continue,
            Problem::Invalid { .. } | Problem::NoSuchPool { .. } | Problem::TooMany { .. } => &SPEC,
            Problem::Shadowed { .. } | Problem::Overlap { .. } => &OVERLAP,
        };
        to.bad(check, "", problem.to_string());
    }
    for (source, shown) in pools.facts.sources().filter(|(source, _)| source.kind == Kind::Pod) {
        // One watch shows the pods of several ModelServices.
        let mut by_service: BTreeMap<Option<&str>, Vec<(String, bool)>> = BTreeMap::new();
        for (name, item) in &shown.items {
            if let Item::Pod(pod) = item
                && !pod.is_leaving
            {
                let of_service = by_service.entry(pod.service.as_deref()).or_default();
                of_service.push((name.name.clone(), is_usable(pod)));
            }
        }
        for (service, pods) in by_service {
            let service = service.map(|service| (SERVICE_LABEL, service));
            let of_source = source.selector.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let of_source = of_source.filter(|(name, _)| *name != SERVICE_LABEL);
            let labels: Vec<String> =
                of_source.chain(service).map(|(name, value)| format!("{name}={value}")).collect();
            check_pods(&format!("pods {}", labels.join(",")), &pods, to);
        }
    }
}

/// Whether a pod gets requests.
fn is_usable(pod: &Pod) -> bool {
    pod.is_ready && pod.ip.is_some() && pod.role.is_some()
}

fn check_kinds(facts: &Facts, to: &mut Findings) {
    let mut missing = Vec::new();
    let mut has_pools = false;
    for (source, shown) in facts.sources().filter(|(source, _)| source.kind != Kind::Pod) {
        let is_there = shown.state == SourceState::Synced;
        has_pools |= is_there && matches!(source.kind, Kind::InferencePool | Kind::InferencePoolAlpha);
        if !is_there {
            missing.push(source.kind.label());
        }
    }
    let seen =
        if missing.is_empty() { "all".to_owned() } else { format!("not there: {}", missing.join(", ")) };
    to.judge(&KINDS, has_pools, "", seen);
}

fn check_pods(subject: &str, pods: &[(String, bool)], to: &mut Findings) {
    let waiting: Vec<&str> =
        pods.iter().filter(|(_, is_ready)| !is_ready).map(|(name, _)| name.as_str()).collect();
    let level = match (waiting.len(), pods.len()) {
        (_, 0) => return,
        (0, _) => Level::Ok,
        (waiting, all) if waiting == all => Level::Error,
        _ => Level::Warning,
    };
    let mut seen = format!("{} of {} are ready", pods.len() - waiting.len(), pods.len());
    if !waiting.is_empty() {
        let named: Vec<&str> = waiting.iter().take(NAMED_MAX).copied().collect();
        seen.push_str(&[", not: ", &named.join(", ")].concat());
    }
    to.add(&READY, level, subject, seen);
}

//! Facts -> pools, their problems, and the pods that must be watched for them.
//!
//! Pure, and computed anew at each change: a thousand pods take well below a millisecond, and no state can be left over from an
//! earlier change.

use super::annotations::Annotations;
use super::facts::{Described, Facts, Item, Revision, Shown, Source, SourceState};
use super::kinds::Kind;
use super::pod::Pod;
use super::problem::Problem;
use crate::config::{Kubernetes, Member, ObjectName, PORTS_MAX, Peers, Pool, Selector};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use warmpath_config::{KvEvents, Prompt, WEIGHT_MAX};
use warmpath_core::limits::{ENDPOINTS_MAX, NAME_BYTES_MAX, POOLS_MAX};
use warmpath_core::wire::{Hold, Objective, Rewrite, RewriteTarget, Transfer};
use warmpath_deploy::plan::{ENDPOINT_LABEL, SERVICE_LABEL, TAKES_REQUESTS};

/// Most objectives and rewrites of a pool, and targets of a rewrite. Any beyond are left out.
const OBJECTIVES_MAX: usize = 256;
const REWRITES_MAX: usize = 256;
const TARGETS_MAX: usize = 16;

/// What follows from the facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In order of preference.
    pub pools: Vec<Pool>,
    /// The pod behind each endpoint.
    pub pods: BTreeMap<SocketAddr, ObjectName>,
    /// What is wrong, in words.
    pub problems: BTreeSet<Problem>,
    /// The InferencePools of version v1, used or not: the ones whose status is written.
    pub inference_pools: BTreeMap<ObjectName, Revision>,
    /// Where the controller's replicas listen, this one included, ready or not.
    pub replicas: BTreeSet<SocketAddr>,
    /// The watches of pods that are needed.
    pub sources: BTreeSet<Source>,
}

/// A pool, as an InferencePool or the file describes it.
#[derive(Clone, Debug)]
struct PoolSpec {
    name: ObjectName,
    selector: Selector,
    ports: Vec<u16>,
    models: Vec<String>,
    adapters: Vec<String>,
    weight: u32,
    transfer: Option<Transfer>,
    hold: Option<Hold>,
    prompt: Option<Prompt>,
    kv_events: KvEvents,
}

/// The pods of ModelServices, by namespace and ModelService.
type ByService<'a> = BTreeMap<(&'a str, &'a str), Vec<(&'a ObjectName, &'a Pod)>>;

/// What follows from `facts`.
pub fn plan(facts: &Facts, settings: &Kubernetes) -> Plan {
    let mut plan = Plan::default();
    let mut endpoint_count = 0;
    let by_service = by_service(facts);
    for described in described(facts, settings, &mut plan.problems) {
        plan.add(described, facts, &by_service, &mut endpoint_count);
    }
    plan.inference_pools =
        facts.objects(Kind::InferencePool).map(|(name, pool)| (name.clone(), pool.revision)).collect();
    plan.add_objectives(facts);
    plan.add_rewrites(facts);
    if let Some(peers) = &settings.peers {
        plan.add_replicas(peers, facts);
    }
    plan
}

/// The watch that shows a pool's pods, and the ModelService whose pods they are if it shows those of others, too: one watch serves all
/// ModelServices of a namespace, where one for each would cost the API server hundreds.
fn source_of(pool: &ObjectName, selector: Selector) -> (Source, Option<String>) {
    let shared = || Selector::from([(ENDPOINT_LABEL.to_owned(), TAKES_REQUESTS.to_owned())]);
    let service = selector.get(SERVICE_LABEL).cloned();
    let mut rest = selector.clone();
    rest.remove(SERVICE_LABEL);
    let (selector, service) =
        if service.is_some() && rest == shared() { (rest, service) } else { (selector, None) };
    (Source { kind: Kind::Pod, namespace: Some(pool.namespace.clone()), selector }, service)
}

fn by_service(facts: &Facts) -> ByService<'_> {
    let mut by_service = ByService::new();
    let is_shared =
        |source: &Source| source.kind == Kind::Pod && source.selector.contains_key(ENDPOINT_LABEL);
    for (_, shown) in facts.sources().filter(|(source, _)| is_shared(source)) {
        for (name, pod) in pods(shown) {
            if let Some(service) = &pod.service {
                by_service.entry((name.namespace.as_str(), service.as_str())).or_default().push((name, pod));
            }
        }
    }
    by_service
}

fn pods(shown: &Shown) -> impl Iterator<Item = (&ObjectName, &Pod)> {
    shown.items.iter().filter_map(|(name, item)| match item {
        Item::Pod(pod) => Some((name, pod)),
        _ => None,
    })
}

/// All pools, in order of preference: those of the file, then the others by age.
fn described(facts: &Facts, settings: &Kubernetes, problems: &mut BTreeSet<Problem>) -> Vec<PoolSpec> {
    let of_file = settings.pools.iter().map(|pool| PoolSpec {
        name: pool.name.clone(),
        selector: pool.selector.clone(),
        ports: pool.ports.clone(),
        models: pool.models.clone(),
        adapters: pool.adapters.clone(),
        weight: pool.weight,
        transfer: pool.transfer.clone(),
        hold: pool.hold.clone(),
        prompt: pool.prompt.clone(),
        kv_events: pool.kv_events.clone(),
    });
    let mut found: Vec<PoolSpec> = of_file.collect();
    let mut named: BTreeSet<ObjectName> = found.iter().map(|pool| pool.name.clone()).collect();
    let mut objects = Vec::new();
    for kind in [Kind::InferencePool, Kind::InferencePoolAlpha] {
        for (name, object) in facts.objects(kind) {
            if named.insert(name.clone()) {
                objects.push((object.revision.created, name, object));
            } else if !is_copy(kind, name, object, facts) {
                problems.insert(Problem::Shadowed { pool: name.clone() });
            }
        }
    }
    objects.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    for (_, name, object) in objects {
        match read_pool(name, object, settings.tokenizers.as_deref(), problems) {
            Ok(pool) => found.push(pool),
            Err(what) => {
                problems.insert(Problem::Invalid { object: name.clone(), what });
            }
        }
    }
    found
}

/// Whether an InferencePool of the older group says what the one of its name in the newer group says. KServe makes both.
fn is_copy(kind: Kind, name: &ObjectName, object: &Described, facts: &Facts) -> bool {
    let mut newer = facts.objects(Kind::InferencePool);
    let same = |(other, newer): (&ObjectName, &Described)| {
        other == name
            && labels(&newer.spec) == labels(&object.spec)
            && ports(&newer.spec) == ports(&object.spec)
    };
    kind == Kind::InferencePoolAlpha && newer.any(same)
}

/// The labels that an InferencePool of either group selects.
fn labels(spec: &Value) -> Option<&Map<String, Value>> {
    spec.pointer("/selector/matchLabels").or_else(|| spec.get("selector")).and_then(Value::as_object)
}

/// The ports of an InferencePool of either group.
fn ports(spec: &Value) -> Vec<u16> {
    let listed = spec.get("targetPorts").and_then(Value::as_array);
    let numbers = listed.into_iter().flatten().filter_map(|port| port.get("number"));
    let ports = numbers.chain(spec.get("targetPortNumber")).filter_map(|number| {
        number.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0)
    });
    let mut seen = BTreeSet::new();
    ports.filter(|port| seen.insert(*port)).take(PORTS_MAX).collect()
}

/// Reads an InferencePool of either group. The newer one has `selector.matchLabels` and `targetPorts`; the older one has the
/// labels in `selector` itself, and `targetPortNumber`. Warmpath picks the endpoints, whatever picker the pool names.
fn read_pool(
    name: &ObjectName,
    object: &Described,
    tokenizers: Option<&str>,
    problems: &mut BTreeSet<Problem>,
) -> Result<PoolSpec, String> {
    let spec = &object.spec;
    let labels = labels(spec).filter(|labels| !labels.is_empty());
    let labels = labels.ok_or("spec.selector names no label: it would select every pod")?;
    let label = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    let selector: Option<Selector> = labels.iter().map(label).collect();
    let selector = selector.ok_or("spec.selector has a label whose value is not a string")?;
    let ports = ports(spec);
    if ports.is_empty() {
        return Err("spec.targetPorts names no port".to_owned());
    }
    let mut annotations = Annotations { name, of: &object.annotations, problems };
    let (transfer, prompt) = (annotations.transfer(), annotations.prompt(tokenizers));
    Ok(PoolSpec {
        name: name.clone(),
        selector,
        ports,
        models: annotations.models(),
        adapters: annotations.adapters(),
        weight: annotations.weight(),
        hold: annotations.hold(transfer.is_some()),
        transfer,
        kv_events: annotations.kv_events(prompt.is_some()),
        prompt,
    })
}

// === impl Plan ===

impl Plan {
    fn add(
        &mut self,
        described: PoolSpec,
        facts: &Facts,
        by_service: &ByService<'_>,
        endpoint_count: &mut usize,
    ) {
        let PoolSpec { name, selector, ports, models, adapters, weight, transfer, hold, prompt, kv_events } =
            described;
        if self.pools.len() >= POOLS_MAX {
            self.problems.insert(Problem::TooMany { pool: name, of: "pools", max: POOLS_MAX });
            return;
        }
        let (source, service) = source_of(&name, selector);
        let shown = facts.shown(&source);
        let of_pool: Vec<(&ObjectName, &Pod)> = match &service {
            Some(service) => {
                by_service.get(&(name.namespace.as_str(), service.as_str())).cloned().unwrap_or_default()
            }
            None => shown.into_iter().flat_map(pods).collect(),
        };
        let (mut endpoints, mut pod_count) = (Vec::new(), 0);
        for (pod_name, pod) in of_pool {
            pod_count += 1;
            for member in members(pod, &ports) {
                if self.pods.insert(member.address, pod_name.clone()).is_some()
                    && let Some(other) = self.pool_with(member.address)
                {
                    self.problems.insert(Problem::Overlap { pool: name.clone(), other });
                }
                endpoints.push(member);
            }
        }
        let refusal = shown.filter(|shown| !shown.is_known).and_then(|shown| match &shown.state {
            SourceState::Forbidden(why) | SourceState::Failing(why) => Some(why.clone()),
            _ => None,
        });
        if let Some(why) = refusal {
            self.problems.insert(Problem::Unseen { pool: name.clone(), why });
        }
        if shown.is_some_and(|shown| shown.is_known) && endpoints.is_empty() {
            self.problems.insert(if pod_count == 0 {
                Problem::NoPods { pool: name.clone() }
            } else {
                Problem::NoneReady { pool: name.clone(), pods: pod_count }
            });
        }
        let room = ENDPOINTS_MAX - *endpoint_count;
        if endpoints.len() > room {
            self.problems.insert(Problem::TooMany {
                pool: name.clone(),
                of: "endpoints",
                max: ENDPOINTS_MAX,
            });
            endpoints.truncate(room);
        }
        *endpoint_count += endpoints.len();
        self.sources.insert(source);
        let name = name.to_string();
        self.pools.push(Pool {
            name,
            models,
            adapters,
            endpoints,
            weight,
            transfer,
            hold,
            prompt,
            kv_events,
            ..Pool::default()
        });
    }

    fn pool_with(&self, address: SocketAddr) -> Option<ObjectName> {
        let has = |pool: &&Pool| pool.endpoints.iter().any(|member| member.address == address);
        self.pools.iter().find(has).map(|pool| object_name(&pool.name))
    }

    /// The pool that an object refers to, in the object's namespace.
    fn referred(&mut self, object: &ObjectName, spec: &Value) -> Option<&mut Pool> {
        let name = spec.pointer("/poolRef/name").and_then(Value::as_str).unwrap_or_default();
        let pool = ObjectName { namespace: object.namespace.clone(), name: name.to_owned() };
        let wanted = pool.to_string();
        let found = self.pools.iter().position(|pool| pool.name == wanted);
        if found.is_none() {
            self.problems.insert(Problem::NoSuchPool { object: object.clone(), pool });
        }
        self.pools.get_mut(found?)
    }

    fn add_replicas(&mut self, peers: &Peers, facts: &Facts) {
        let (namespace, selector) = (Some(peers.namespace.clone()), peers.selector.clone());
        let source = Source { kind: Kind::Pod, namespace, selector };
        for item in facts.shown(&source).into_iter().flat_map(|shown| shown.items.values()) {
            if let Item::Pod(Pod { ip: Some(ip), is_leaving: false, .. }) = item {
                self.replicas.insert(SocketAddr::new(*ip, peers.port));
            }
        }
        self.sources.insert(source);
    }

    fn add_objectives(&mut self, facts: &Facts) {
        for (name, object) in by_age(facts, [Kind::InferenceObjective, Kind::InferenceObjectiveAlpha]) {
            let priority = object.spec.get("priority").and_then(Value::as_i64).unwrap_or(0);
            let priority = i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX });
            let Some(pool) = self.referred(name, &object.spec) else { continue };
            let is_named = pool.objectives.iter().any(|objective| objective.name == name.name);
            if !is_named && pool.objectives.len() < OBJECTIVES_MAX {
                pool.objectives.push(Objective { name: name.name.clone(), priority });
            }
        }
    }

    /// Precedence as InferenceModelRewrite defines it: an exact match before any, then the older object, then the earlier rule.
    fn add_rewrites(&mut self, facts: &Facts) {
        for (name, object) in by_age(facts, [Kind::InferenceModelRewrite, Kind::InferenceModelRewriteAlpha]) {
            let rules = object.spec.get("rules").and_then(Value::as_array);
            let mut rewrites = Vec::new();
            let mut invalid = None;
            for (at, rule) in rules.into_iter().flatten().enumerate() {
                match read_rule(rule) {
                    Ok(rule) => rewrites.extend(rule),
                    Err(what) => invalid = Some(format!("spec.rules[{at}]: {what}")),
                }
            }
            if let Some(what) = invalid {
                self.problems.insert(Problem::Invalid { object: name.clone(), what });
            }
            if let Some(pool) = self.referred(name, &object.spec) {
                let room = REWRITES_MAX.saturating_sub(pool.rewrites.len());
                pool.rewrites.extend(rewrites.into_iter().take(room));
            }
        }
        for pool in &mut self.pools {
            pool.rewrites.sort_by_key(|rewrite| rewrite.model.is_empty());
        }
    }
}

/// The endpoints of a pod in a pool with these ports.
fn members(pod: &Pod, ports: &[u16]) -> impl Iterator<Item = Member> {
    let (ip, role) = if pod.is_candidate() { (pod.ip, pod.role) } else { (None, None) };
    let is_active = |port: &&u16| pod.active_ports.as_ref().is_none_or(|active| active.contains(port));
    let member = move |port: &u16| {
        Some(Member { address: SocketAddr::new(ip?, *port), identity: pod.identity, role: role? })
    };
    ports.iter().filter(is_active).filter_map(member)
}

/// The objects of two kinds, oldest first. A name that both kinds have counts once.
fn by_age(facts: &Facts, kinds: [Kind; 2]) -> Vec<(&ObjectName, &Described)> {
    let mut seen = BTreeSet::new();
    let mut objects: Vec<_> = kinds.into_iter().flat_map(|kind| facts.objects(kind)).collect();
    objects.retain(|(name, _)| seen.insert(*name));
    objects.sort_by_key(|(name, object)| (object.revision.created, *name));
    objects
}

/// A rule's rewrites: one for each name that it matches; one without a name for a rule that matches any.
fn read_rule(rule: &Value) -> Result<Vec<Rewrite>, String> {
    let targets = rule.get("targets").and_then(Value::as_array).filter(|targets| !targets.is_empty());
    let targets: Result<Vec<RewriteTarget>, String> =
        targets.ok_or("targets is empty")?.iter().take(TARGETS_MAX).map(read_target).collect();
    let targets = targets?;
    let matches = rule.get("matches").and_then(Value::as_array).filter(|matches| !matches.is_empty());
    let Some(matches) = matches else {
        return Ok(vec![Rewrite { model: String::new(), targets }]);
    };
    let names =
        matches.iter().map(|one| one.pointer("/model/value").and_then(Value::as_str).unwrap_or_default());
    Ok(names.map(|name| Rewrite { model: name.to_owned(), targets: targets.clone() }).collect())
}

/// A target. Its weight defaults to 1: either all targets of a rule have weights, or none.
fn read_target(target: &Value) -> Result<RewriteTarget, String> {
    let model = target.get("modelRewrite").and_then(Value::as_str).filter(|model| !model.is_empty());
    let model = model.ok_or("a target has no modelRewrite")?.to_owned();
    if model.len() > NAME_BYTES_MAX || model.chars().any(char::is_control) {
        return Err(format!(
            "modelRewrite must have at most {NAME_BYTES_MAX} bytes, and no control characters"
        ));
    }
    let weight = target.get("weight").map_or(Some(1), Value::as_u64).unwrap_or(0).min(WEIGHT_MAX);
    Ok(RewriteTarget { model, weight: u32::try_from(weight).unwrap_or(u32::MAX) })
}

fn object_name(pool: &str) -> ObjectName {
    let (namespace, name) = pool.split_once('/').unwrap_or_default();
    ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }
}

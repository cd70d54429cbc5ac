//! The plan that follows from a cluster's objects: pools with endpoints, and their problems.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath::config::{Kubernetes, Member, ObjectName, PodPool, Selector};
use warmpath::watch::{Described, Facts, Item, Kind, Plan, Pod, Problem, Revision, Source, Update, plan};
use warmpath_config::kv_events::Ports;
use warmpath_config::{KvEvents, Pool};
use warmpath_core::limits::ENDPOINTS_MAX;
use warmpath_core::wire::{
    Hold, Objective, Rewrite, RewriteTarget, Role, Tenant, Transfer, TransferProtocol,
};

/// A cluster with one namespace.
#[derive(Default)]
struct Cluster {
    facts: Facts,
    settings: Kubernetes,
    objects: BTreeMap<Kind, BTreeMap<ObjectName, Item>>,
}

fn named(name: &str) -> ObjectName {
    ObjectName { namespace: "llm".to_owned(), name: name.to_owned() }
}

fn labels(app: &str) -> Selector {
    [("app".to_owned(), app.to_owned())].into()
}

fn pod(ip: &str) -> Pod {
    let ip = Some(ip.parse().unwrap());
    Pod {
        identity: 1,
        ip,
        is_ready: true,
        is_leaving: false,
        role: Some(Role::Both),
        active_ports: None,
        service: None,
    }
}

fn pool(app: &str) -> Value {
    json!({"selector": {"matchLabels": {"app": app}}, "targetPorts": [{"number": 8000}]})
}

impl Cluster {
    /// Adds an object that is `age` seconds old.
    fn object(mut self, kind: Kind, name: &str, age: i64, spec: Value) -> Self {
        self.add(kind, name, age, BTreeMap::new(), spec);
        self
    }

    fn add(&mut self, kind: Kind, name: &str, age: i64, annotations: BTreeMap<String, String>, spec: Value) {
        let created = Some(k8s_openapi::jiff::Timestamp::from_second(1_000_000 - age).unwrap());
        let revision = Revision { created, generation: 1 };
        let item = Item::Object(Described { revision, annotations, spec });
        self.objects.entry(kind).or_default().insert(named(name), item);
        let source = Source { kind, namespace: Some("llm".to_owned()), selector: Selector::new() };
        self.facts.open(source.clone());
        self.facts.apply(&source, Update::Listed(self.objects[&kind].clone()));
    }

    fn pods(mut self, app: &str, pods: &[Pod]) -> Self {
        let source = Source { kind: Kind::Pod, namespace: Some("llm".to_owned()), selector: labels(app) };
        let items =
            pods.iter().enumerate().map(|(at, pod)| (named(&format!("{app}-{at}")), Item::Pod(pod.clone())));
        self.facts.open(source.clone());
        self.facts.apply(&source, Update::Listed(items.collect()));
        self
    }

    fn plan(&self) -> Plan {
        plan(&self.facts, &self.settings)
    }

    fn problems(&self) -> Vec<Problem> {
        self.plan().problems.into_iter().collect()
    }
}

fn transfer(protocol: TransferProtocol, bootstrap_port: u32) -> Transfer {
    Transfer { protocol: protocol.into(), bootstrap_port, cluster: String::new() }
}

fn hold(room_s: u32, endpoint_s: u32) -> Hold {
    Hold { room_ms_max: 1000 * room_s, endpoint_ms_max: 1000 * endpoint_s, tenants: vec![] }
}

fn endpoints(plan: &Plan, pool: &str) -> Vec<String> {
    let pool = plan.pools.iter().find(|it| it.name == pool).unwrap_or_else(|| panic!("no {pool}"));
    pool.endpoints.iter().map(|member| member.address.to_string()).collect()
}

#[test]
fn pools_of_both_groups_and_of_the_file_become_pools() {
    let mut cluster = Cluster::default()
        .object(Kind::InferencePool, "young", 1, pool("young"))
        .object(Kind::InferencePool, "old", 9, pool("old"))
        .object(
            Kind::InferencePoolAlpha,
            "alpha",
            5,
            json!({"selector": {"app": "alpha"}, "targetPortNumber": 9000, "extensionRef": {"name": "epp"}}),
        )
        .object(
            Kind::InferencePoolAlpha,
            "article",
            4,
            json!({"selector": {"app": "article"}, "targetPortNumber": 8000,
                   "endpointPickerConfig": {"extensionRef": {"name": "epp"}}}),
        )
        .pods("alpha", &[pod("10.0.0.1"), pod("fd00::1")]);
    cluster.settings.pools = vec![PodPool {
        name: named("file"),
        selector: labels("file"),
        ports: vec![80],
        models: vec!["m".to_owned()],
        adapters: vec![],
        weight: 7,
        transfer: Some(transfer(TransferProtocol::Pull, 0)),
        hold: Some(hold(0, 60)),
        prompt: None,
        kv_events: KvEvents::Off,
    }];
    let plan = cluster.plan();
    assert_eq!(plan.pools[0].weight, 7);
    assert_eq!(plan.pools[0].transfer, Some(transfer(TransferProtocol::Pull, 0)));
    assert_eq!(plan.pools[0].hold, Some(hold(0, 60)));
    let names: Vec<&str> = plan.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["llm/file", "llm/old", "llm/alpha", "llm/article", "llm/young"]);
    assert_eq!(endpoints(&plan, "llm/alpha"), ["10.0.0.1:9000", "[fd00::1]:9000"]);
    assert_eq!(plan.pods[&"10.0.0.1:9000".parse().unwrap()], named("alpha-0"));
    assert_eq!(plan.sources.len(), 5);
}

#[test]
fn a_pod_is_an_endpoint_of_each_port_while_it_is_ready_and_stays() {
    let spec =
        json!({"selector": {"matchLabels": {"app": "a"}}, "targetPorts": [{"number": 1}, {"number": 2}]});
    let pods = [
        Pod { active_ports: Some(vec![2, 3]), role: Some(Role::Prefill), identity: 7, ..pod("10.0.0.1") },
        Pod { is_ready: false, ..pod("10.0.0.2") },
        Pod { is_leaving: true, ..pod("10.0.0.3") },
        Pod { ip: None, ..pod("10.0.0.4") },
        Pod { role: None, ..pod("10.0.0.5") },
        pod("10.0.0.6"),
    ];
    let plan = Cluster::default().object(Kind::InferencePool, "p", 0, spec).pods("a", &pods).plan();
    assert_eq!(endpoints(&plan, "llm/p"), ["10.0.0.1:2", "10.0.0.6:1", "10.0.0.6:2"]);
    let first = Member { address: "10.0.0.1:2".parse().unwrap(), identity: 7, role: Role::Prefill };
    assert_eq!(plan.pools[0].endpoints[0], first);
    assert!(plan.problems.is_empty());
}

#[test]
fn a_port_that_a_pool_names_twice_is_one_endpoint() {
    let ports = json!([{"number": 1}, {"number": 2}, {"number": 1}]);
    let spec = json!({"selector": {"matchLabels": {"app": "a"}}, "targetPorts": ports});
    let cluster = Cluster::default().object(Kind::InferencePool, "p", 0, spec).pods("a", &[pod("10.0.0.1")]);
    assert_eq!(endpoints(&cluster.plan(), "llm/p"), ["10.0.0.1:1", "10.0.0.1:2"]);
}

#[test]
fn a_pool_without_endpoints_says_why() {
    let cluster = Cluster::default().object(Kind::InferencePool, "p", 0, pool("a"));
    assert_eq!(cluster.problems(), [], "its pods are not known yet");
    let cluster = cluster.pods("a", &[]);
    assert_eq!(cluster.problems(), [Problem::NoPods { pool: named("p") }]);
    let cluster = cluster.pods("a", &[Pod { is_ready: false, ..pod("10.0.0.1") }]);
    assert_eq!(cluster.problems(), [Problem::NoneReady { pool: named("p"), pods: 1 }]);
    assert_eq!(cluster.plan().pools.len(), 1, "its models are still its own");
}

#[test]
fn what_makes_no_sense_is_left_out_and_named() {
    let wrong = [
        ("a", json!({}), "spec.selector names no label: it would select every pod"),
        (
            "b",
            json!({"selector": {"matchLabels": {}}}),
            "spec.selector names no label: it would select every pod",
        ),
        ("c", json!({"selector": {"app": 1}}), "spec.selector has a label whose value is not a string"),
        ("d", json!({"selector": {"app": "d"}, "targetPortNumber": 0}), "spec.targetPorts names no port"),
    ];
    let mut cluster = Cluster::default();
    for (name, spec, _) in &wrong {
        cluster = cluster.object(Kind::InferencePool, name, 0, spec.clone());
    }
    let wanted = wrong.map(|(name, _, what)| Problem::Invalid { object: named(name), what: what.to_owned() });
    assert_eq!(cluster.problems(), wanted);
    assert_eq!(cluster.plan().pools.len(), 0);
}

#[test]
fn pools_that_exclude_each_other_are_named_and_the_older_one_counts() {
    let mut cluster = Cluster::default().object(Kind::InferencePool, "same", 1, pool("a")).object(
        Kind::InferencePoolAlpha,
        "same",
        9,
        json!({"selector": {"app": "b"}, "targetPortNumber": 1}),
    );
    for (name, age, models) in [("old", 8, "m, n"), ("young", 2, "n,o,o")] {
        let annotations = [("warmpath.dev/models".to_owned(), models.to_owned())].into();
        cluster.add(Kind::InferencePool, name, age, annotations, pool("a"));
    }
    let cluster = cluster.pods("a", &[pod("10.0.0.1")]);
    let plan = cluster.plan();
    let models: Vec<_> = plan.pools.iter().map(|pool| (pool.name.as_str(), pool.models.join(" "))).collect();
    let models: Vec<_> = models.iter().map(|(name, models)| (*name, models.as_str())).collect();
    assert_eq!(models, [("llm/old", "m n"), ("llm/young", "n o"), ("llm/same", "")]);
    let overlap = |pool| Problem::Overlap { pool: named(pool), other: named("old") };
    let wanted = [Problem::Shadowed { pool: named("same") }, overlap("same"), overlap("young")];
    assert_eq!(cluster.problems(), wanted);
}

#[test]
fn a_pool_that_kserve_makes_in_both_groups_is_no_mistake() {
    let copy = |port: u16| json!({"selector": {"app": "a"}, "targetPortNumber": port});
    let of_both = |port| {
        let cluster = Cluster::default().object(Kind::InferencePool, "p", 0, pool("a"));
        cluster.object(Kind::InferencePoolAlpha, "p", 0, copy(port)).pods("a", &[pod("10.0.0.1")])
    };
    assert_eq!(of_both(8000).problems(), []);
    assert_eq!(endpoints(&of_both(8000).plan(), "llm/p"), ["10.0.0.1:8000"]);
    assert_eq!(of_both(8001).problems(), [Problem::Shadowed { pool: named("p") }]);
}

#[test]
fn an_annotation_that_is_no_list_of_names_is_reported() {
    let mut cluster = Cluster::default();
    let annotations = [("warmpath.dev/models".to_owned(), "a\u{7}b".to_owned())].into();
    cluster.add(Kind::InferencePool, "p", 0, annotations, pool("a"));
    let [Problem::Invalid { object, what }] = &cluster.problems()[..] else { panic!() };
    assert_eq!(object, &named("p"));
    assert!(what.starts_with("annotation warmpath.dev/models: a name must have"), "{what}");
}

#[test]
fn pools_of_one_model_have_weights() {
    let weigh = |weight: &str| {
        let mut cluster = Cluster::default();
        let annotations = [("warmpath.dev/weight".to_owned(), weight.to_owned())].into();
        cluster.add(Kind::InferencePool, "p", 0, annotations, pool("a"));
        (cluster.plan().pools[0].weight, cluster.problems().len())
    };
    assert_eq!(weigh(" 30 "), (30, 0));
    for wrong in ["0", "-1", "x", "1000001"] {
        assert_eq!(weigh(wrong), (0, 1), "{wrong}");
    }
}

/// A pool with these annotations, and what is wrong with them.
fn annotated(annotations: &[(&str, &str)]) -> (Pool, Vec<String>) {
    let mut cluster = Cluster::default();
    let of = |(name, value): &(&str, &str)| (format!("warmpath.dev/{name}"), (*value).to_owned());
    cluster.add(Kind::InferencePool, "p", 0, annotations.iter().map(of).collect(), pool("a"));
    let plan = cluster.pods("a", &[pod("10.0.0.1")]).plan();
    (plan.pools[0].clone(), plan.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_pool_says_how_long_its_requests_may_wait() {
    let read = |annotations: &[(&str, &str)]| {
        let (pool, problems) = annotated(annotations);
        (pool.hold, problems)
    };
    assert_eq!(read(&[]), (None, vec![]));
    assert_eq!(read(&[("hold-room", "0"), ("hold-endpoint", "0")]), (None, vec![]));
    assert_eq!(read(&[("hold-room", " 120 ")]), (Some(hold(120, 0)), vec![]));
    assert_eq!(read(&[("hold-endpoint", "3600")]), (Some(hold(0, 3600)), vec![]));
    let tenants = [("a", 3), ("b=c", 1)].map(|(name, weight)| Tenant { name: name.to_owned(), weight });
    assert_eq!(
        read(&[("hold-room", "1"), ("hold-tenants", "a=3, b=c = 1,")]),
        (Some(Hold { tenants: tenants.into(), ..hold(1, 0) }), vec![])
    );
    let wrong = [
        ("hold-room", "3601", "write whole seconds, from 0 to 3600"),
        ("hold-room", "-1", "write whole seconds, from 0 to 3600"),
        ("hold-room", "2m", "write whole seconds, from 0 to 3600"),
        ("hold-tenants", "a", "write name=weight, each weight a whole number from 1 to 1000"),
        ("hold-tenants", "a=0", "write name=weight, each weight a whole number from 1 to 1000"),
        ("hold-tenants", "=1", "write name=weight, each weight a whole number from 1 to 1000"),
        ("hold-tenants", "a=1,a=2", "list each tenant once"),
    ];
    for (annotation, value, what) in wrong {
        let (kept, problems) = read(&[("hold-endpoint", "9"), (annotation, value)]);
        assert_eq!(kept, Some(hold(0, 9)), "{value}");
        assert_eq!(problems, [format!("llm/p: annotation warmpath.dev/{annotation}: {what}")]);
    }
}

#[test]
fn a_pool_names_its_tokenizer_and_where_its_engines_publish() {
    let read = |tokenizers: Option<&str>, annotations: &[(&str, &str)]| {
        let mut cluster = Cluster::default();
        cluster.settings.tokenizers = tokenizers.map(str::to_owned);
        let of = |(name, value): &(&str, &str)| (format!("warmpath.dev/{name}"), (*value).to_owned());
        cluster.add(Kind::InferencePool, "p", 0, annotations.iter().map(of).collect(), pool("a"));
        let plan = cluster.pods("a", &[pod("10.0.0.1")]).plan();
        let pool = plan.pools[0].clone();
        let problems = plan.problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        (pool.prompt.map(|prompt| prompt.tokenizer), pool.kv_events, problems)
    };
    let llama = Some("/models/llama".to_owned());
    let (named, models) = (("tokenizer", "llama"), Some("/models"));
    assert_eq!(read(models, &[named]), (llama.clone(), KvEvents::Discovered, vec![]));
    let ports =
        KvEvents::Ports(Ports { port: 5557, replay_port: Some(5558), ranks: 1, topic: String::new() });
    assert_eq!(read(models, &[named, ("kv-events", "5557, 5558")]), (llama.clone(), ports, vec![]));
    assert_eq!(read(models, &[named, ("kv-events", "none")]), (llama, KvEvents::Off, vec![]));
    for (tokenizers, annotation, value, what) in [
        (models, "tokenizer", "../secrets", "write the name of a directory"),
        (models, "tokenizer", "a/b", "write the name of a directory"),
        (None, "tokenizer", "llama", "set kubernetes.tokenizers"),
        (models, "chat-template", "templates/../../secrets", "write a directory and a file in it"),
        (models, "chat-template", "templates/llama.jinja", "add warmpath.dev/tokenizer"),
        (models, "kv-events", "5557", "add warmpath.dev/tokenizer"),
        (models, "kv-events", "zmq", "write discovered, none, or a port"),
    ] {
        let (prompt, _, problems) = read(tokenizers, &[(annotation, value)]);
        assert_eq!(prompt, None);
        assert!(problems.len() == 1 && problems[0].contains(what), "{problems:?}");
    }
}

#[test]
fn a_pool_names_a_chat_template_of_its_own() {
    let mut cluster = Cluster::default();
    cluster.settings.tokenizers = Some("/models".to_owned());
    let of = |(name, value): (&str, &str)| (format!("warmpath.dev/{name}"), value.to_owned());
    let annotations = [("tokenizer", "llama"), ("chat-template", "templates/llama.jinja")];
    cluster.add(Kind::InferencePool, "p", 0, annotations.into_iter().map(of).collect(), pool("a"));
    let plan = cluster.pods("a", &[pod("10.0.0.1")]).plan();
    let template = plan.pools[0].prompt.clone().and_then(|prompt| prompt.chat_template);
    assert_eq!(template.as_deref(), Some("/models/templates/llama.jinja"));
}

#[test]
fn a_wait_that_no_request_can_have_is_named() {
    let (pool, problems) = annotated(&[("transfer", "nixl"), ("hold-room", "60"), ("hold-endpoint", "9")]);
    assert_eq!(pool.hold, Some(hold(0, 9)));
    let room = "llm/p: annotation warmpath.dev/hold-room: remove it, requests wait for room only in pools without \
                warmpath.dev/transfer";
    assert_eq!(problems, [room]);
    let (pool, problems) = annotated(&[("hold-tenants", "a=1")]);
    assert_eq!(pool.hold, None);
    let alone = "llm/p: annotation warmpath.dev/hold-tenants: add warmpath.dev/hold-room or warmpath.dev/hold-endpoint, \
                 without which nobody waits";
    assert_eq!(problems, [alone]);
}

#[test]
fn a_pool_says_how_its_engines_pass_kv_on() {
    let read = |annotations: &[(&str, &str)]| {
        let (pool, problems) = annotated(annotations);
        (pool.transfer, problems)
    };
    assert_eq!(read(&[]), (None, vec![]));
    assert_eq!(read(&[("transfer", " nixl ")]), (Some(transfer(TransferProtocol::Pull, 0)), vec![]));
    assert_eq!(
        read(&[("transfer", "sglang"), ("bootstrap-port", "8998")]),
        (Some(transfer(TransferProtocol::Bootstrap, 8998)), vec![])
    );
    let through = |cluster: &str| read(&[("transfer", "nixl"), ("transfer-cluster", cluster)]);
    assert_eq!(through("engines").0.unwrap().cluster, "engines");
    assert_eq!(through("a\u{7}b").1.len(), 1);
    let names = "llm/p: annotation warmpath.dev/transfer: write one of nixl, mooncake, sglang, tensorrt-llm";
    assert_eq!(read(&[("transfer", "NIXL")]), (None, vec![names.to_owned()]));
    let (kept, problems) = read(&[("transfer", "sglang"), ("bootstrap-port", "0")]);
    assert_eq!(kept, Some(transfer(TransferProtocol::Bootstrap, 0)));
    assert_eq!(problems, ["llm/p: annotation warmpath.dev/bootstrap-port: write a port from 1 to 65535"]);
    for annotations in
        [&[("bootstrap-port", "8998")][..], &[("transfer", "nixl"), ("bootstrap-port", "8998")]]
    {
        let (kept, problems) = read(annotations);
        assert_eq!(kept.map_or(0, |transfer| transfer.bootstrap_port), 0);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[test]
fn endpoints_beyond_the_bound_are_left_out() {
    let pods: Vec<Pod> =
        (0..ENDPOINTS_MAX).map(|at| pod(&format!("10.{}.{}.1", at / 256, at % 256))).collect();
    let spec = json!({"selector": {"app": "a"}, "targetPorts": [{"number": 1}, {"number": 2}]});
    let cluster = Cluster::default().object(Kind::InferencePool, "p", 0, spec).pods("a", &pods);
    assert_eq!(cluster.plan().pools[0].endpoints.len(), ENDPOINTS_MAX);
    let of = "endpoints";
    assert_eq!(cluster.problems(), [Problem::TooMany { pool: named("p"), of, max: ENDPOINTS_MAX }]);
}

#[test]
fn objectives_and_rewrites_belong_to_the_pool_that_they_refer_to() {
    let refer = |name: &str, rest: Value| {
        let mut spec = json!({"poolRef": {"name": name}});
        spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        spec
    };
    let rule = |model: Option<&str>, targets: Value| {
        let mut rule = json!({"targets": targets});
        if let Some(model) = model {
            rule["matches"] = json!([{"model": {"type": "Exact", "value": model}}]);
        }
        rule
    };
    let any = rule(None, json!([{"modelRewrite": "base"}]));
    let canary =
        rule(Some("m"), json!([{"modelRewrite": "v1", "weight": 9}, {"modelRewrite": "v2", "weight": 1}]));
    let later = rule(Some("m"), json!([{"modelRewrite": "v3"}]));
    let cluster = Cluster::default()
        .object(Kind::InferencePool, "p", 0, pool("a"))
        .object(Kind::InferenceObjective, "batch", 0, refer("p", json!({"priority": -5})))
        .object(Kind::InferenceObjectiveAlpha, "batch", 0, refer("p", json!({"priority": 5})))
        .object(Kind::InferenceObjective, "lost", 0, refer("q", json!({})))
        .object(Kind::InferenceModelRewrite, "old", 9, refer("p", json!({"rules": [any, canary]})))
        .object(Kind::InferenceModelRewriteAlpha, "young", 1, refer("p", json!({"rules": [later, {}]})));
    let plan = cluster.plan();
    assert_eq!(plan.pools[0].objectives, [Objective { name: "batch".to_owned(), priority: -5 }]);
    let target = |model: &str, weight| RewriteTarget { model: model.to_owned(), weight };
    let rewrite = |model: &str, targets| Rewrite { model: model.to_owned(), targets };
    let wanted = [
        rewrite("m", vec![target("v1", 9), target("v2", 1)]),
        rewrite("m", vec![target("v3", 1)]),
        rewrite("", vec![target("base", 1)]),
    ];
    assert_eq!(plan.pools[0].rewrites, wanted);
    let invalid =
        Problem::Invalid { object: named("young"), what: "spec.rules[1]: targets is empty".to_owned() };
    let lost = Problem::NoSuchPool { object: named("lost"), pool: named("q") };
    assert_eq!(cluster.problems(), [invalid, lost]);
}

#[test]
fn pods_of_many_model_services_come_over_one_watch_and_stay_apart() {
    let of = |service: &str| {
        json!({
            "selector": {"matchLabels": {"warmpath.dev/model-service": service, "warmpath.dev/endpoint": "true"}},
            "targetPorts": [{"number": 8000}],
        })
    };
    let mut cluster = Cluster::default()
        .object(Kind::InferencePool, "a", 3, of("a"))
        .object(Kind::InferencePool, "b", 2, of("b"))
        .object(Kind::InferencePool, "other", 1, pool("other"));
    let selector = Selector::from([("warmpath.dev/endpoint".to_owned(), "true".to_owned())]);
    let source = Source { kind: Kind::Pod, namespace: Some("llm".to_owned()), selector };
    let pod = |ip: &str, service: &str| {
        let pod = Pod { service: Some(service.to_owned()), ..pod(ip) };
        (named(ip), Item::Pod(pod))
    };
    let pods = [pod("10.0.0.1", "a"), pod("10.0.0.2", "b"), pod("10.0.0.3", "a"), pod("10.0.0.4", "c")];
    cluster.facts.open(source.clone());
    cluster.facts.apply(&source, Update::Listed(pods.into()));
    let plan = cluster.plan();
    assert_eq!(endpoints(&plan, "llm/a"), ["10.0.0.1:8000", "10.0.0.3:8000"]);
    assert_eq!(endpoints(&plan, "llm/b"), ["10.0.0.2:8000"]);
    let of_pods = plan.sources.iter().filter(|it| it.kind == Kind::Pod);
    assert_eq!(of_pods.count(), 2, "one for all ModelServices: {:?}", plan.sources);
    assert!(plan.sources.contains(&source));
}

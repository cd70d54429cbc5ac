//! The same conversations through plain Envoys and through the chart's, to the same engines: what routing gains, and what it costs.
//!
//! ```text
//!  conversations ─┬► 2 plain Envoys ─► each whole request to one of all engines ─┬► caches emptied before each way
//!                 └► 2 Envoys of the chart, with the filter ─► whole, or two legs ┘
//! ```
//!
//! One way after the other, because all of it shares one machine. Times are model time, as in the other demos, and the engines run at
//! real speed unless asked otherwise: at a high scale the wall clock would show what this machine needs for two legs, and not what
//! engines save. The load is one that the engines bear either way; what they can bear at most is shown by `./just demo`.

use super::plain;
use crate::args::DemoArgs;
use crate::arm::Arm;
use crate::bench::process::{Cpu, Meter};
use crate::cluster::params;
use crate::measure::{ArmRun, Summary};
use crate::play::{Progress, Setting, Stage, converse};
use crate::report::comparison;
use crate::workload::{Conversation, conversations};
use anyhow::{Context, ensure};
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use warmpath_cluster::{Namespace, engine_address, pod_address, until};
use warmpath_engine::State;
use warmpath_http::Client;
use warmpath_report::{Row, percent};

/// The port of the chart's Envoys and of plain ones.
const PORT: u16 = 8080;

/// What is measured around each way.
pub(super) struct Places<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) model: &'a str,
    pub(super) prefill: &'a [Pod],
    pub(super) decode: &'a [Pod],
    pub(super) controllers: &'a [Pod],
    pub(super) gateways: &'a [Pod],
}

/// What one way came to.
struct Way {
    run: ArmRun,
    /// Of the prompts, the tokens that engines computed.
    computed_tokens: u64,
    /// Requests whose prompt one engine handed over to another.
    split: u64,
    /// The share of time in which engines computed: those that prefill, and those that decode.
    busy: [f64; 2],
    /// Processor time of Envoys and of controllers.
    envoys_us: f64,
    controllers_us: f64,
}

/// What the engines of a role have done so far.
#[derive(Clone, Copy, Default)]
struct Done {
    engines: usize,
    computed_tokens: u64,
    split: u64,
    busy_s: f64,
}

/// Plays all ways, and prints them beside each other.
pub(super) async fn play(args: &DemoArgs, places: &Places<'_>) -> anyhow::Result<()> {
    let all: Arc<[Conversation]> = conversations(args.seed, args.groups, args.conversations_per_group).into();
    let mut ways = Vec::new();
    for arm in &args.arms {
        let envoys = match arm.plain() {
            Some(lb) => {
                plain::start(places.namespace, &addresses(&places.engines())?, places.gateways.len(), lb)
                    .await?
            }
            None => places.gateways.to_vec(),
        };
        ways.push(places.play(args, *arm, &envoys, &all).await?);
        if arm.plain().is_some() {
            plain::remove(places.namespace).await?;
        }
    }
    print(args, places, &ways, all.len());
    let mut lost = Vec::new();
    for way in &ways {
        let reasons = way.run.calls.iter().filter_map(|call| Some(call.outcome.as_ref().err()?.label()));
        lost.extend(reasons.map(|reason| format!("{}: {reason}", way.run.arm)));
    }
    ensure!(lost.is_empty(), "{} requests were lost: {:?}", lost.len(), lost.first());
    let errors = places.fetch_errors().await?;
    ensure!(errors.is_empty(), "prompts did not come from the engines that computed them: {errors:?}");
    Ok(())
}

fn print(args: &DemoArgs, places: &Places<'_>, ways: &[Way], conversations: usize) {
    let summaries: Vec<Summary> = ways.iter().map(|way| way.run.summary()).collect();
    let mut table = comparison(&summaries);
    let row = |label: &str, show: &dyn Fn(&Way) -> String| {
        let cells = ways.iter().map(show);
        [label.to_owned()].into_iter().chain(cells).chain([String::new()]).collect::<Row>()
    };
    let each = |way: &Way, sum: f64| sum / way.run.calls.len().max(1) as f64;
    table.rows.extend([
        row("prompt tokens computed, each request", &|way| {
            format!("{:.0}", each(way, way.computed_tokens as f64))
        }),
        row("requests in two legs", &|way| percent(each(way, way.split as f64))),
        row("prefill engines busy", &|way| percent(way.busy[0])),
        row("decode engines busy", &|way| percent(way.busy[1])),
        row("Envoys' processor time, each request", &|way| {
            format!("{:.2} ms", each(way, way.envoys_us) / 1e3)
        }),
        row("controllers' processor time, each request", &|way| {
            format!("{:.2} ms", each(way, way.controllers_us) / 1e3)
        }),
    ]);
    let (prefill, decode, envoys) = (places.prefill.len(), places.decode.len(), places.gateways.len());
    println!(
        "\n{conversations} conversations of {} clients, the same every way, {envoys} Envoys of one worker, all caches empty at first:",
        args.clients
    );
    println!("- plain: each request whole to one of all {} engines", prefill + decode);
    println!(
        "- warmpath: {prefill} engines prefill and {decode} decode; a prompt whose other leg costs more than it saves is computed where it is \
         decoded"
    );
    println!(
        "Times are model time, wall time x {}: {} engines on H100s are simulated. Processor time is this machine's own; what it shares \
         with engines, clients and a control plane counts {} times against every way.\n",
        args.time_scale,
        args.preset.name(),
        args.time_scale
    );
    println!("{}", table.to_text());
}

// === impl Places ===

impl Places<'_> {
    fn engines(&self) -> Vec<Pod> {
        [self.prefill, self.decode].concat()
    }

    async fn play(
        &self,
        args: &DemoArgs,
        arm: Arm,
        envoys: &[Pod],
        all: &Arc<[Conversation]>,
    ) -> anyhow::Result<Way> {
        let gateways: Vec<SocketAddr> =
            envoys.iter().map(|pod| pod_address(pod, PORT)).collect::<anyhow::Result<_>>()?;
        for gateway in &gateways {
            self.begin(*gateway).await?;
        }
        self.empty_caches().await?;
        let names = self.engines().into_iter().filter_map(|pod| pod.metadata.name);
        let setting = Setting {
            arm,
            gateways,
            engines: names.collect(),
            model: self.model.to_owned(),
            block_tokens: params(args.preset, args.kv_tokens).block_tokens,
            time_scale: args.time_scale,
        };
        let requests = all.iter().map(|conversation| conversation.turns.len()).sum();
        let (of_envoys, of_controllers) = (self.meters(envoys).await?, self.meters(self.controllers).await?);
        let before = [done(self.prefill).await?, done(self.decode).await?];
        let stage = Arc::new(Stage::before(setting, Progress::new(arm, requests)));
        converse(&stage, all, args.clients).await?;
        let (envoys_us, controllers_us) = (spent(&of_envoys)?, spent(&of_controllers)?);
        let after = [done(self.prefill).await?, done(self.decode).await?];
        let run = stage.finish();
        let span_s = run.span_ms() / 1e3;
        let busy = |role: usize| {
            let (before, after) =
                (before.get(role).copied().unwrap_or_default(), after.get(role).copied().unwrap_or_default());
            (after.busy_s - before.busy_s) / (span_s * after.engines.max(1) as f64)
        };
        let sum =
            |of: fn(&Done) -> u64| after.iter().map(of).sum::<u64>() - before.iter().map(of).sum::<u64>();
        Ok(Way {
            computed_tokens: sum(|done| done.computed_tokens),
            split: sum(|done| done.split),
            busy: [busy(0), busy(1)],
            envoys_us,
            controllers_us,
            run,
        })
    }

    /// Why engines could not fetch a prompt last.
    async fn fetch_errors(&self) -> anyhow::Result<Vec<String>> {
        let mut errors = Vec::new();
        for engine in self.engines() {
            errors.extend(state(&engine).await?.fetch_error);
        }
        Ok(errors)
    }

    /// Waits for a first response through an Envoy.
    async fn begin(&self, gateway: SocketAddr) -> anyhow::Result<()> {
        let client = Client::http1(gateway);
        let body =
            json!({"model": self.model, "max_tokens": 1, "messages": [{"role": "user", "content": "begin"}]});
        until("a response through an Envoy", async || {
            let response = client.post_json("/v1/chat/completions", &body).await.ok()?;
            response.status.is_success().then_some(())
        })
        .await
    }

    async fn empty_caches(&self) -> anyhow::Result<()> {
        for engine in self.engines() {
            let client = Client::http1(engine_address(&engine)?);
            until("an engine without requests, to empty its cache", async || {
                let response = client.post_json("/reset_prefix_cache", &json!({})).await.ok()?;
                (response.status == StatusCode::OK).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    async fn meters(&self, pods: &[Pod]) -> anyhow::Result<Vec<(Meter, Cpu)>> {
        let mut meters = Vec::new();
        for pod in pods {
            let meter = Meter::of(self.namespace.process(pod).await?.try_into()?);
            meters.push((meter, meter.read()?));
        }
        Ok(meters)
    }
}

/// Microseconds since the meters were read.
fn spent(meters: &[(Meter, Cpu)]) -> anyhow::Result<f64> {
    meters.iter().map(|(meter, before)| Ok(meter.read()?.since(before))).sum()
}

fn addresses(engines: &[Pod]) -> anyhow::Result<Vec<SocketAddr>> {
    engines.iter().map(engine_address).collect()
}

async fn done(engines: &[Pod]) -> anyhow::Result<Done> {
    let mut sum = Done { engines: engines.len(), ..Done::default() };
    for engine in engines {
        let state = state(engine).await?;
        sum.computed_tokens += state.prefill_tokens_computed;
        sum.split += state.legs.prompts_fetched;
        sum.busy_s += state.busy_s;
    }
    Ok(sum)
}

/// An engine's counters.
async fn state(engine: &Pod) -> anyhow::Result<State> {
    let body = Client::http1(engine_address(engine)?).get("/sim/state").await?.body;
    serde_json::from_slice(&body).context("an engine's counters are none")
}

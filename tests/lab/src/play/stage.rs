//! Where an arm is played: sends one request at a time for whoever plays, and keeps what became of it.

use super::Progress;
use crate::arm::Arm;
use crate::client::{Client, Heard, Lost};
use crate::cluster::{Cluster, MODEL, Spec};
use crate::ideal::EndlessCache;
use crate::measure::{Answered, ArmRun, Call};
use anyhow::Context;
use bytes::Bytes;
use fnv::FnvHashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use warmpath_engine::api::Protocol;

const MS_PER_S: f64 = 1_000.0;

/// Before what an arm is played.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The arm.
    pub arm: Arm,
    /// Where clients send requests; each client keeps to one.
    pub gateways: Vec<SocketAddr>,
    /// The names of the engines behind them.
    pub engines: Vec<String>,
    /// The model that requests name.
    pub model: String,
    /// Tokens of a block of the engines' caches.
    pub block_tokens: usize,
    /// How many times faster than real the engines run.
    pub time_scale: f64,
}

/// An arm under way.
#[derive(Debug)]
pub struct Stage {
    arm: Arm,
    model: String,
    /// One for each gateway.
    clients: Vec<Client>,
    engines: FnvHashMap<String, usize>,
    time_scale: f64,
    begun: Instant,
    ideal: Mutex<EndlessCache>,
    calls: Mutex<Vec<Call>>,
    progress: Progress,
}

/// A request that is ready to be sent: reading a long prompt at the last moment would make it late.
#[derive(Debug)]
pub struct Question {
    protocol: Protocol,
    body: Bytes,
    prompt: Vec<u8>,
    /// Whether there is an image in it.
    pub has_image: bool,
    /// When it was first sent, if it was refused.
    since: Option<Instant>,
}

// === impl Stage ===

impl Stage {
    /// A stage before a cluster. Time begins now.
    pub fn new(cluster: &Cluster, spec: &Spec, progress: Progress) -> Self {
        let setting = Setting {
            arm: spec.arm,
            gateways: cluster.gateways().to_vec(),
            engines: cluster.engines().iter().map(|engine| engine.name().to_owned()).collect(),
            model: MODEL.to_owned(),
            block_tokens: spec.params.block_tokens,
            time_scale: spec.time_scale,
        };
        Self::before(setting, progress)
    }

    /// A stage before engines that run elsewhere. Time begins now.
    pub fn before(setting: Setting, progress: Progress) -> Self {
        let engines = setting.engines.into_iter().enumerate();
        Self {
            arm: setting.arm,
            clients: setting.gateways.into_iter().map(Client::new).collect(),
            engines: engines.map(|(number, name)| (name, number)).collect(),
            time_scale: setting.time_scale,
            begun: Instant::now(),
            ideal: Mutex::new(EndlessCache::new(&setting.model, setting.block_tokens)),
            calls: Mutex::default(),
            progress,
            model: setting.model,
        }
    }

    /// The model that requests name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The moment at `model_ms` of this arm, on the wall clock.
    pub fn moment(&self, model_ms: f64) -> Instant {
        self.begun + self.wall(model_ms)
    }

    /// A time of the model on the wall clock.
    pub fn wall(&self, model_ms: f64) -> Duration {
        Duration::from_secs_f64(model_ms / MS_PER_S / self.time_scale)
    }

    /// Sends a request through the gateway that `number` falls to, and returns the answer's text, or nothing if
    /// it is lost. `due` is when it should be sent.
    pub async fn ask(
        &self,
        number: usize,
        question: Question,
        due: Option<Instant>,
    ) -> anyhow::Result<Option<String>> {
        Ok(self.ask_noting(number, question, due, &OnceLock::new()).await?.ok())
    }

    /// The same, with the reason if it is lost; `first` is set as soon as the first token is there.
    pub async fn ask_noting(
        &self,
        number: usize,
        question: Question,
        due: Option<Instant>,
        first: &OnceLock<()>,
    ) -> anyhow::Result<Result<String, Lost>> {
        let Question { protocol, body, prompt, has_image, since } = question;
        let client = number.checked_rem(self.clients.len()).and_then(|at| self.clients.get(at));
        let client = client.context("there is no gateway")?;
        let ideal_cached_tokens = lock(&self.ideal).ask(&prompt) as u64;
        let sent = Instant::now();
        let heard = client.ask_noting(protocol, body, first).await;
        let before = since.map_or(Duration::ZERO, |since| sent.saturating_duration_since(since));
        let outcome = heard.as_ref().map(|heard| self.answered(heard, before)).map_err(|lost| *lost);
        lock(&self.calls).push(Call {
            at_ms: self.model_ms((sent - self.begun).saturating_sub(before)),
            late_ms: due.map_or(0.0, |due| self.model_ms(sent.saturating_duration_since(due))),
            ideal_cached_tokens,
            has_image,
            outcome,
        });
        self.progress.step(outcome.is_err());
        let heard = match heard {
            Ok(heard) => heard,
            Err(lost) => return Ok(Err(lost)),
        };
        let whole = [prompt.as_slice(), heard.text.as_bytes()].concat();
        lock(&self.ideal).store(&whole);
        Ok(Ok(heard.text))
    }

    /// What became of all requests so far, in the order in which they were sent.
    pub fn finish(&self) -> ArmRun {
        self.progress.finish();
        let mut calls = std::mem::take(&mut *lock(&self.calls));
        calls.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
        ArmRun::whole(self.arm, calls)
    }

    /// `before`: how long the client had waited when it was sent for the last time.
    fn answered(&self, heard: &Heard, before: Duration) -> Answered {
        Answered {
            engine: self.engines.get(&heard.engine).copied(),
            ttft_ms: self.model_ms(before + heard.ttft),
            e2e_ms: self.model_ms(before + heard.e2e),
            prompt_tokens: heard.usage.prompt_tokens,
            cached_tokens: heard.usage.cached_tokens,
            output_tokens: heard.usage.output_tokens,
        }
    }

    /// A time of the wall clock in milliseconds of the model.
    pub fn model_ms(&self, wall: Duration) -> f64 {
        wall.as_secs_f64() * MS_PER_S * self.time_scale
    }
}

// === impl Question ===

impl Question {
    /// Its times count from then on.
    #[must_use]
    pub fn waiting_since(self, since: Instant) -> Self {
        Self { since: Some(since), ..self }
    }

    /// Reads the prompt out of a body, as the engine will.
    pub fn new(protocol: Protocol, body: impl Into<Bytes>) -> anyhow::Result<Self> {
        let body = body.into();
        let ask = protocol.parse(&body).ok().context("the engine would refuse this body")?;
        let prompt = ask.prompts.into_iter().next().context("a body without a prompt")?.into_bytes();
        Ok(Self { protocol, body, prompt, has_image: false, since: None })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

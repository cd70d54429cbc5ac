//! What there is during the day, once a second: pods, as the API server lists them, and requests, as the controller shows them.

use super::{ROLES, SERVICE};
use k8s_openapi::api::core::v1::Pod;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use warmpath_cluster::{Release, is_ready};

/// The resource that an engine's GPUs are.
const GPU: &str = "nvidia.com/gpu";
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) at_s: f64,
    /// GPUs of all pods, from their making to their end.
    pub(super) gpus: f64,
    /// Pods of each role that are there, and those of them that are ready.
    pub(super) engines: [u32; 2],
    pub(super) ready: [u32; 2],
    /// Requests at the engines of each role, and requests that the proxy holds.
    pub(super) requests: [usize; 2],
    pub(super) held: usize,
}

/// Looks until it is stopped. Its copies share one state.
#[derive(Clone)]
pub(super) struct Gauge {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    samples: Vec<Sample>,
    task: JoinSet<()>,
}

// === impl Sample ===

impl Sample {
    /// Whether anybody wants anything.
    pub(super) fn active(&self) -> bool {
        self.held > 0 || self.requests.iter().any(|requests| *requests > 0)
    }
}

// === impl Gauge ===

impl Gauge {
    pub(super) fn start(release: Release, controller: Pod, begun: Instant) -> Self {
        let gauge = Self { state: Arc::default() };
        let looking = gauge.clone();
        gauge.lock().task.spawn(async move {
            let mut ticks = tokio::time::interval(LOOK_INTERVAL);
            loop {
                ticks.tick().await;
                if let Ok(sample) = look(&release, &controller, begun).await {
                    looking.lock().samples.push(sample);
                }
            }
        });
        gauge
    }

    /// The last sample.
    pub(super) fn last(&self) -> Option<Sample> {
        self.lock().samples.last().cloned()
    }

    /// Ends the looking, and returns all samples.
    pub(super) fn stop(&self) -> Vec<Sample> {
        let mut state = self.lock();
        state.task.abort_all();
        std::mem::take(&mut state.samples)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No update leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look(release: &Release, controller: &Pod, begun: Instant) -> anyhow::Result<Sample> {
    let pods = release.namespace.pods(&format!("warmpath.dev/model-service={SERVICE}")).await?;
    let state = release.state(controller).await?;
    let mut sample = Sample { at_s: begun.elapsed().as_secs_f64(), ..Sample::default() };
    for pod in &pods {
        sample.gpus += gpus(pod);
        let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get("warmpath.dev/role"));
        for ((role, engines), ready) in ROLES.iter().zip(&mut sample.engines).zip(&mut sample.ready) {
            if label.is_some_and(|label| label == role) {
                *engines += 1;
                *ready += u32::from(is_ready(pod));
            }
        }
    }
    if let Some(pool) = state.pools.first() {
        sample.held = pool.held_for_endpoint.requests;
        for (role, requests) in ROLES.iter().zip(&mut sample.requests) {
            let here = pool.endpoints.iter().filter(|endpoint| endpoint.role == *role);
            *requests = here.map(|endpoint| endpoint.requests as usize).sum();
        }
    }
    Ok(sample)
}

fn gpus(pod: &Pod) -> f64 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let limits = containers.filter_map(|one| one.resources.as_ref()?.limits.as_ref()?.get(GPU));
    limits.filter_map(|count| count.0.parse::<f64>().ok()).sum()
}

/// The most ready engines of a role at any time.
pub(super) fn most(samples: &[Sample], role: usize) -> u32 {
    samples.iter().filter_map(|sample| sample.ready.get(role)).copied().max().unwrap_or_default().max(1)
}

/// GPU-seconds of the day: each sample until the next.
pub(super) fn gpu_s(samples: &[Sample]) -> f64 {
    gpu_s_so_far(samples).last().map_or(0.0, |[_, gpu_s]| *gpu_s)
}

/// GPU-seconds until each sample, with its time.
pub(super) fn gpu_s_so_far(samples: &[Sample]) -> Vec<[f64; 2]> {
    let mut sum = 0.0;
    let until = |(one, next): (&Sample, &Sample)| {
        sum += one.gpus * (next.at_s - one.at_s);
        [next.at_s, sum]
    };
    samples.iter().zip(samples.iter().skip(1)).map(until).collect()
}

#[cfg(test)]
mod tests {
    use super::{Sample, gpu_s, most};

    #[test]
    fn gpus_cost_for_the_time_that_they_are_there() {
        let sample = |at_s, gpus, ready| Sample { at_s, gpus, ready, ..Sample::default() };
        let samples = [sample(0.0, 0.0, [0, 0]), sample(10.0, 4.0, [1, 2]), sample(15.0, 2.0, [3, 0])];
        assert!((gpu_s(&samples) - 20.0).abs() < 1e-9);
        assert_eq!((most(&samples, 0), most(&samples, 1), most(&[], 0)), (3, 2, 1));
    }
}

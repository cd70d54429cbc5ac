//! The ways to choose the number of engines, and KEDA's.

use super::{FASTER, START_S};
use warmpath_sim::scaling::Hpa;

/// Requests of an engine, at it and held before it, that KEDA is set to: what does best in the simulator's days.
const REQUESTS: f64 = 12.0;
/// How often a HorizontalPodAutoscaler looks, in seconds.
pub(super) const SYNC_S: f64 = 15.0;
/// How often KEDA looks whether there is anything to do at zero, and how long nothing must be for it to go there, in seconds.
const POLL_S: f64 = 30.0;
const COOLDOWN_S: f64 = 300.0;

/// A way to choose the number of engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// The controller's scaler.
    Warmpath,
    /// KEDA: a HorizontalPodAutoscaler on requests, and zero when there are none.
    Keda,
    /// So many of each role, all day.
    Fixed([u32; 2]),
}

/// KEDA for one role.
#[derive(Debug)]
pub(super) struct Keda {
    max: u32,
    /// The autoscaler, while the role is not at zero.
    hpa: Option<Hpa>,
    polled_s: f64,
    active_s: f64,
    replicas: u32,
}

// === impl Policy ===

impl Policy {
    /// Its name, for files and objects.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Warmpath => "warmpath",
            Self::Keda => "keda",
            Self::Fixed(_) => "fixed",
        }
    }

    /// What it is, in words.
    pub(super) fn words(self) -> String {
        match self {
            Self::Warmpath => "Warmpath's scaler, by the objectives".to_owned(),
            Self::Keda => format!("KEDA, {REQUESTS} requests an engine"),
            Self::Fixed([prefill, decode]) => format!("fixed, {prefill} prefill and {decode} decode engines"),
        }
    }

    /// What must be known of it.
    pub(super) fn note() -> String {
        format!(
            "Engines start in {START_S} s, where vLLM takes 100 s or more. KEDA's times are divided by {FASTER} as well: it polls every \
             {} s, its autoscaler looks every {} s and shrinks after {} s, and it goes to zero after {} s. Warmpath learns its times.",
            POLL_S / FASTER,
            SYNC_S / FASTER,
            COOLDOWN_S / FASTER,
            COOLDOWN_S / FASTER
        )
    }
}

// === impl Keda ===

impl Keda {
    pub(super) fn new(max: u32) -> Self {
        Self { max, hpa: None, polled_s: f64::NEG_INFINITY, active_s: f64::NEG_INFINITY, replicas: 0 }
    }

    /// The replicas, if they change. `requests` are those of this role's engines and those that are held; `is_active`: whether there are
    /// any of the model at all. Times are KEDA's, in seconds.
    pub(super) fn look(&mut self, requests: usize, is_active: bool, now_s: f64) -> Option<u32> {
        if is_active {
            self.active_s = now_s;
        }
        if self.replicas == 0 && now_s - self.polled_s < POLL_S {
            return None;
        }
        self.polled_s = now_s;
        let replicas = if self.replicas == 0 {
            u32::from(is_active)
        } else if now_s - self.active_s >= COOLDOWN_S {
            0
        } else {
            let hpa = self.hpa.get_or_insert_with(|| Hpa::new(REQUESTS, self.max));
            hpa.replicas(requests as f64, now_s)
        };
        if replicas == 0 {
            self.hpa = None;
        }
        let before = std::mem::replace(&mut self.replicas, replicas);
        (before != replicas).then_some(replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::Keda;

    #[test]
    fn it_wakes_at_a_poll_grows_by_requests_and_sleeps_after_the_cooldown() {
        let mut keda = Keda::new(6);
        assert_eq!(keda.look(0, false, 0.0), None);
        assert_eq!(keda.look(50, true, 15.0), None, "it polls every 30 s");
        assert_eq!(keda.look(50, true, 30.0), Some(1));
        assert_eq!(keda.look(50, true, 45.0), Some(5));
        assert_eq!(keda.look(0, false, 60.0), None, "stable for five minutes");
        assert_eq!(keda.look(0, false, 344.0), None);
        assert_eq!(keda.look(0, false, 345.0), Some(0));
    }
}

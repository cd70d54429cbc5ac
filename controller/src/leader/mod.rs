//! Which of the replicas writes to the API server: the holder of a Lease.
//!
//! All replicas serve proxies, but only one may write, or they would overwrite each other. The holder renews every few seconds,
//! and the others look as often: one request each.

mod election;
mod refusal;

use crate::config::ObjectName;
use election::{Election, LEASE_DURATION, RENEW_INTERVAL, Record, Step};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use refusal::Refusal;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// A candidate for the lease.
struct Candidate {
    api: Api<Lease>,
    name: ObjectName,
    election: Election,
    /// The lease as this replica wrote it last: it is renewed without another look at it.
    written: Option<Lease>,
    /// Why the last request failed.
    refusal: Option<Refusal>,
    /// Whether one has succeeded.
    was_allowed: bool,
    to: watch::Sender<bool>,
}

/// Competes for the lease until `stop` turns true, then gives it up. The receiver says whether this replica holds it.
pub(crate) fn start(
    client: Client,
    name: ObjectName,
    identity: String,
    stop: watch::Receiver<bool>,
) -> (watch::Receiver<bool>, tokio::task::JoinHandle<()>) {
    let candidate = Candidate::new(client, name, identity);
    (candidate.to.subscribe(), tokio::spawn(candidate.run(stop)))
}

// === impl Candidate ===

impl Candidate {
    fn new(client: Client, name: ObjectName, identity: String) -> Self {
        Self {
            api: Api::namespaced(client, &name.namespace),
            name,
            election: Election::new(identity),
            written: None,
            refusal: None,
            was_allowed: false,
            to: watch::Sender::new(false),
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut stopped = pin!(async move {
            // An error means that the sender is gone, which is a stop, too.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let mut ticks = tokio::time::interval(RENEW_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.stand().await,
                () = &mut stopped => return self.give_up().await,
            }
        }
    }

    /// Looks at the lease, and takes or renews it if it may.
    async fn stand(&mut self) {
        let sent = Instant::now();
        let looked = tokio::time::timeout(REQUEST_TIMEOUT, self.look()).await;
        match looked {
            Ok(Ok(is_written)) => {
                (self.refusal, self.was_allowed) = (None, true);
                if is_written {
                    self.election.took(sent);
                }
            }
            Ok(Err(error)) => self.note(&error),
            Err(_) => tracing::debug!(lease = %self.name, "no response to a request for the lease"),
        }
        let is_leader = self.election.is_leader(Instant::now());
        if self.to.send_if_modified(|was| std::mem::replace(was, is_leader) != is_leader) {
            tracing::info!(lease = %self.name, is_leader, "the lease has changed hands");
        }
    }

    /// Returns whether the lease was written.
    async fn look(&mut self) -> Result<bool, kube::Error> {
        if let Some(written) = self.written.take()
            && self.election.is_leader(Instant::now())
        {
            match self.write(Some(written), self.election.identity().to_owned()).await {
                // Somebody else has written or deleted it.
                Err(error) if matches!(Refusal::of(&error), Refusal::Changed | Refusal::Absent) => {}
                renewed => return renewed.map(|()| true),
            }
        }
        let lease = self.api.get_opt(&self.name.name).await?;
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let record = spec.map(|spec| Record {
            holder: spec.holder_identity.clone().unwrap_or_default(),
            renewed: spec.renew_time.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
        });
        match self.election.look(record.as_ref(), Instant::now()) {
            Step::Wait => Ok(false),
            Step::Take => self.write(lease, self.election.identity().to_owned()).await.map(|()| true),
        }
    }

    async fn write(&mut self, old: Option<Lease>, holder: String) -> Result<(), kube::Error> {
        let params = PostParams::default();
        let now = MicroTime(Timestamp::now());
        let (metadata, old_spec) = match old {
            Some(old) => (old.metadata, old.spec.unwrap_or_default()),
            None => (
                ObjectMeta { name: Some(self.name.name.clone()), ..ObjectMeta::default() },
                LeaseSpec::default(),
            ),
        };
        let is_same = old_spec.holder_identity.as_ref() == Some(&holder);
        let spec = LeaseSpec {
            acquire_time: if is_same { old_spec.acquire_time } else { Some(now.clone()) },
            lease_transitions: Some(old_spec.lease_transitions.unwrap_or(0) + i32::from(!is_same)),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            holder_identity: Some(holder),
            renew_time: Some(now),
            ..old_spec
        };
        let exists = metadata.resource_version.is_some();
        let lease = Lease { metadata, spec: Some(spec) };
        // With the version that was read, so that of two writers one loses.
        let written = if exists {
            self.api.replace(&self.name.name, &params, &lease).await?
        } else {
            self.api.create(&params, &lease).await?
        };
        self.written = Some(written);
        Ok(())
    }

    /// Frees the lease at once, so that the others need not wait for its duration.
    async fn give_up(&mut self) {
        if !self.election.is_leader(Instant::now()) {
            return;
        }
        self.to.send_replace(false);
        let given_up = async {
            let lease = self.api.get_opt(&self.name.name).await?;
            self.write(lease, String::new()).await
        };
        if let Ok(Err(error)) = tokio::time::timeout(REQUEST_TIMEOUT, given_up).await {
            // As when the role goes before the pods, in an uninstall: nobody has to do anything.
            tracing::info!(lease = %self.name, %error, "the lease cannot be given up: it will expire");
        }
    }

    /// Logs why the lease cannot be used, once for each reason.
    fn note(&mut self, error: &kube::Error) {
        let refusal = Refusal::of(error);
        if self.refusal.replace(refusal) != Some(refusal) {
            refusal.log(&self.name, error, self.was_allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Lease, ObjectName};
    use crate::fake_api::FakeApi;
    use http::{Method, Response, StatusCode};
    use std::sync::{Arc, Mutex};

    /// An API server with one Lease, as far as candidates need it.
    #[derive(Default)]
    struct Leases {
        lease: Option<Lease>,
        version: u64,
        calls: Vec<Method>,
    }

    impl Leases {
        fn respond(&mut self, method: &Method, body: &[u8]) -> Response<String> {
            self.calls.push(method.clone());
            let response =
                |status: StatusCode, body: String| Response::builder().status(status).body(body).unwrap();
            let refused = |status: StatusCode, reason: &str| {
                let code = status.as_u16();
                response(status, format!(r#"{{"kind": "Status", "reason": "{reason}", "code": {code}}}"#))
            };
            if *method != Method::GET {
                let mut lease: Lease = serde_json::from_slice(body).unwrap();
                let present = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
                if lease.metadata.resource_version != present {
                    return refused(StatusCode::CONFLICT, "Conflict");
                }
                self.version += 1;
                lease.metadata.resource_version = Some(self.version.to_string());
                self.lease = Some(lease);
            }
            match &self.lease {
                Some(lease) => response(StatusCode::OK, serde_json::to_string(lease).unwrap()),
                None => refused(StatusCode::NOT_FOUND, "NotFound"),
            }
        }

        fn calls(&mut self) -> Vec<Method> {
            std::mem::take(&mut self.calls)
        }
    }

    fn candidate(leases: &Arc<Mutex<Leases>>, identity: &str) -> Candidate {
        let leases = Arc::clone(leases);
        let client =
            FakeApi::client(move |request| leases.lock().unwrap().respond(request.method(), request.body()));
        let name = ObjectName { namespace: "llm".to_owned(), name: "warmpath".to_owned() };
        Candidate::new(client, name, identity.to_owned())
    }

    #[tokio::test]
    async fn the_holder_renews_with_one_request_and_the_others_look_with_one() {
        let leases = Arc::new(Mutex::new(Leases::default()));
        let (mut first, mut second) = (candidate(&leases, "a"), candidate(&leases, "b"));
        first.stand().await;
        assert!(*first.to.borrow());
        assert_eq!(leases.lock().unwrap().calls(), [Method::GET, Method::POST]);
        for _ in 0..3 {
            first.stand().await;
            second.stand().await;
            assert_eq!(leases.lock().unwrap().calls(), [Method::PUT, Method::GET]);
        }
        assert!(*first.to.borrow() && !*second.to.borrow());
    }

    #[tokio::test]
    async fn a_holder_whose_lease_was_stolen_or_deleted_looks_at_it_again() {
        let leases = Arc::new(Mutex::new(Leases::default()));
        let mut holder = candidate(&leases, "a");
        holder.stand().await;
        leases.lock().unwrap().lease = None;
        leases.lock().unwrap().calls();
        holder.stand().await;
        assert!(*holder.to.borrow());
        assert_eq!(leases.lock().unwrap().calls(), [Method::PUT, Method::GET, Method::POST]);
        {
            let mut leases = leases.lock().unwrap();
            let lease = leases.lease.as_mut().unwrap();
            lease.metadata.resource_version = Some("stolen".to_owned());
            lease.spec.as_mut().unwrap().holder_identity = Some("thief".to_owned());
            leases.calls();
        }
        holder.stand().await;
        assert!(!*holder.to.borrow());
        assert_eq!(leases.lock().unwrap().calls(), [Method::PUT, Method::GET]);
    }
}

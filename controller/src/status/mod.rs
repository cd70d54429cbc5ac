//! Writes the status of InferencePools that the gateway of this controller serves.
//!
//! The replica that holds the lease writes, and only when the status has changed: at rest it sends the API server no requests.
//! Pools behind another gateway (Istio, Envoy Gateway) get their status from that one; without `kubernetes.gateway`, nothing is
//! written.

mod conditions;

use crate::config::ObjectName;
use crate::watch::{Followed, Kind, Revision};
use conditions::{Condition, conditions, parents};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// Changes within this time are written as one: a rolling update changes a pool with each pod.
const DEBOUNCE: Duration = Duration::from_secs(1);
/// Wait before what could not be written is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What was written of each pool.
struct Writer {
    client: Client,
    gateway: ObjectName,
    written: BTreeMap<ObjectName, (Revision, [Condition; 3])>,
    has_failed: bool,
}

/// Writes from now on, while `is_leader` is true, and until either sender is gone.
pub(crate) async fn write(
    client: Client,
    gateway: ObjectName,
    mut followed: watch::Receiver<Option<Followed>>,
    mut is_leader: watch::Receiver<bool>,
) {
    let mut writer = Writer { client, gateway, written: BTreeMap::new(), has_failed: false };
    loop {
        let leads = *is_leader.borrow_and_update();
        let known = followed.borrow_and_update().clone();
        let is_complete = match known {
            Some(known) if leads => writer.write(&known, &is_leader).await,
            _ => true,
        };
        if !leads {
            // Another replica writes, and may say something else.
            writer.written.clear();
        }
        let retry = async {
            if is_complete {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        };
        tokio::select! {
            changed = followed.changed() => if changed.is_err() { return },
            changed = is_leader.changed() => if changed.is_err() { return },
            () = retry => {}
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

// === impl Writer ===

impl Writer {
    /// Writes what differs from what was written, for as long as this replica leads. Returns whether all of it could be.
    async fn write(&mut self, followed: &Followed, is_leader: &watch::Receiver<bool>) -> bool {
        self.written.retain(|pool, _| followed.inference_pools.contains_key(pool));
        let mut is_complete = true;
        for (pool, revision) in &followed.inference_pools {
            // A slow API server may keep this replica here for longer than it holds the lease.
            if !*is_leader.borrow() {
                break;
            }
            let wanted = (*revision, conditions(pool, &followed.problems));
            if self.written.get(pool) == Some(&wanted) {
                continue;
            }
            let written = tokio::time::timeout(REQUEST_TIMEOUT, self.write_one(pool, &wanted)).await;
            match written {
                Ok(Ok(())) => {
                    self.written.insert(pool.clone(), wanted);
                    self.has_failed = false;
                }
                Ok(Err(error)) => {
                    is_complete = false;
                    self.log(pool, &error.to_string());
                }
                Err(_) => {
                    is_complete = false;
                    self.log(pool, "no response in time");
                }
            }
        }
        is_complete
    }

    async fn write_one(
        &self,
        pool: &ObjectName,
        (revision, wanted): &(Revision, [Condition; 3]),
    ) -> Result<(), kube::Error> {
        let resource = Kind::InferencePool.resource();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &pool.namespace, &resource);
        // Deleted a moment ago: its watch will say so.
        let Some(object) = api.get_opt(&pool.name).await? else { return Ok(()) };
        let old = object.data.pointer("/status/parents");
        let new = parents(old, &self.gateway, wanted, revision.generation, &now());
        if old == Some(&new) {
            return Ok(());
        }
        // With the version that was read, so that no entry of another controller is lost.
        let version = object.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": {"parents": new}});
        api.patch_status(&pool.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Once for each time that it begins to fail: it is tried again every few seconds.
    fn log(&mut self, pool: &ObjectName, error: &str) {
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(%pool, error, "the status of an InferencePool cannot be written");
        }
    }
}

/// The time as the API writes it: whole seconds.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::{Followed, Writer};
    use crate::config::ObjectName;
    use crate::fake_api::FakeApi;
    use crate::watch::Revision;
    use http::{Method, Response};
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use tokio::sync::watch;

    fn named(name: &str) -> ObjectName {
        ObjectName { namespace: "llm".to_owned(), name: name.to_owned() }
    }

    fn followed(pools: &[(&str, i64)]) -> Followed {
        let revision = |generation| Revision { generation, ..Revision::default() };
        let pools = pools.iter().map(|(name, generation)| (named(name), revision(*generation)));
        Followed { inference_pools: pools.collect(), ..Followed::default() }
    }

    /// Pools and their observed generations, as they were written.
    type Written = Arc<Mutex<Vec<(String, i64)>>>;

    /// A writer, and what it has written.
    fn writer(on_write: impl Fn() + Send + 'static) -> (Writer, Written) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let client = FakeApi::client(move |request| {
            if *request.method() == Method::PATCH {
                let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
                let generation = &body["status"]["parents"][0]["conditions"][0]["observedGeneration"];
                let name = request.uri().path().rsplit('/').nth(1).unwrap().to_owned();
                log.lock().unwrap().push((name, generation.as_i64().unwrap()));
                on_write();
            }
            let pool = r#"{"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "metadata": {}}"#;
            Response::new(pool.to_owned())
        });
        let gateway = named("gateway");
        (Writer { client, gateway, written: BTreeMap::new(), has_failed: false }, seen)
    }

    #[tokio::test]
    async fn a_changed_specification_is_observed_although_its_conditions_stay() {
        let (mut writer, seen) = writer(|| {});
        let (_leads, is_leader) = watch::channel(true);
        for generation in [1, 1, 2] {
            assert!(writer.write(&followed(&[("a", generation)]), &is_leader).await);
        }
        assert_eq!(*seen.lock().unwrap(), [("a".to_owned(), 1), ("a".to_owned(), 2)]);
    }

    #[tokio::test]
    async fn a_replica_that_loses_the_lease_stops_between_two_pools() {
        let (leads, is_leader) = watch::channel(true);
        let (mut writer, seen) = writer(move || {
            leads.send_replace(false);
        });
        writer.write(&followed(&[("a", 1), ("b", 1)]), &is_leader).await;
        assert_eq!(*seen.lock().unwrap(), [("a".to_owned(), 1)]);
    }
}

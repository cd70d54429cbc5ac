//! Services for pods: addresses that lead to ready pods, and names that resolve to addresses.
//!
//! In a cluster, kube-proxy and the DNS server provide these. Here a task accepts the connections of each ClusterIP and passes
//! them on to a ready endpoint, and each pod's hosts file has the names.

mod names;
mod proxy;
mod table;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub(crate) use self::names::Names;

/// Follows Services and their endpoints until it is dropped.
pub(crate) fn follow(client: &Client, names: Arc<Names>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let changed = Arc::new(Notify::new());
    let services = store::<Service>(client, &changed, &mut tasks);
    let slices = store::<EndpointSlice>(client, &changed, &mut tasks);
    tasks.spawn(async move {
        let mut proxies = proxy::Proxies::default();
        loop {
            let table = table::Table::new(&services.state(), &slices.state());
            names.write(&table);
            proxies.follow(&table);
            changed.notified().await;
        }
    });
    tasks
}

/// All objects of a kind, and a notification of each change.
fn store<K>(client: &Client, changed: &Arc<Notify>, tasks: &mut JoinSet<()>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    <K as Resource>::DynamicType: Eq + Hash + Clone,
{
    let (store, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    let changed = Arc::clone(changed);
    tasks.spawn(async move {
        let mut reflected = reflector::reflector(writer, events).boxed();
        while reflected.next().await.is_some() {
            changed.notify_one();
        }
    });
    store
}

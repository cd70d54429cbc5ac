//! Lists a source once, for `warmpath check`: the objects that its watch would begin with, read in the same way.

use super::facts::{Source, SourceState, Update};
use super::follow::{api, classify_error, read_object, read_pod};
use super::kinds::Kind;
use super::pod::ApiPod;
use crate::config::ObjectName;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Objects of a page of a list.
const PAGE_OBJECTS: u32 = 500;

/// Lists a source once.
pub async fn list(client: &Client, source: &Source) -> Update {
    let resource = source.kind.resource();
    let listed = match source.kind {
        Kind::Pod => all(api::<ApiPod>(client.clone(), source, &resource), source, read_pod).await,
        _ => all(api::<DynamicObject>(client.clone(), source, &resource), source, read_object).await,
    };
    match listed {
        Ok(items) => Update::Listed(items),
        Err(state) => Update::Failed(state),
    }
}

async fn all<K>(
    api: Api<K>,
    source: &Source,
    read: fn(K) -> Option<(ObjectName, super::Item)>,
) -> Result<BTreeMap<ObjectName, super::Item>, SourceState>
where
    K: Clone + DeserializeOwned + Debug,
{
    let labels: Vec<String> = source.selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut query = ListParams::default().labels(&labels.join(",")).limit(PAGE_OBJECTS);
    let mut items = BTreeMap::new();
    loop {
        let page = api.list(&query).await.map_err(|error| classify_error(&error))?;
        items.extend(page.items.into_iter().filter_map(read));
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => query = query.continue_token(&next),
            None => return Ok(items),
        }
    }
}

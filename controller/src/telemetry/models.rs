//! The models that engines list on `/v1/models`, for the proxies' own list over all pools.
//!
//! A base model's context length, or an adapter's parent, is known to its engine alone. Lists are read rarely: they change
//! with the process, or when somebody loads an adapter.

use crate::config::Pool;
use fnv::{FnvHashMap, FnvHashSet};
use prost::Message;
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use warmpath_core::limits::{EVENT_BYTES_MAX, MODELS_PER_POOL_MAX};
use warmpath_core::view::ANY_MODEL;
use warmpath_core::wire::Pools;

/// Time between two looks at an engine's list.
pub(super) const LIST_INTERVAL: Duration = Duration::from_mins(1);
/// The longest object that is passed on, in bytes.
const OBJECT_BYTES_MAX: usize = 4 * 1024;
/// Bytes of all objects of all pools: they travel in one event, with all pools.
const LISTED_BYTES_MAX: usize = 128 * 1024;
/// Objects of one engine's list that are read.
const OBJECTS_MAX: usize = 1_024;
/// The field that an adapter has, and a base model leaves null or out (vLLM).
const PARENT: &str = "parent";
/// Fields that differ each time an engine is asked (vLLM): the list would change with every look.
const CREATED: &str = "created";
const PERMISSION: &str = "permission";

/// The last list of each engine. Its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Models {
    lists: Arc<Mutex<FnvHashMap<SocketAddr, Vec<Object>>>>,
    changed: Arc<Notify>,
}

/// One model, as its engine lists it.
#[derive(Clone, Debug, PartialEq)]
struct Object {
    id: String,
    fields: Map<String, Value>,
}

// === impl Models ===

impl Models {
    /// Waits for the next change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Adds to each pool what its engines list: each id once, as the first endpoint that has it lists it.
    pub fn fill(&self, pools: &mut Pools) {
        let lists = self.lock();
        // Half of what the event has left: each object has a head of some bytes.
        let left = EVENT_BYTES_MAX.saturating_sub(pools.encoded_len()) / 2;
        let mut room = LISTED_BYTES_MAX.min(left);
        for pool in &mut pools.pools {
            let mut ids: Vec<&str> = Vec::new();
            let addresses = pool.endpoints.iter().filter_map(|endpoint| endpoint.address.parse().ok());
            for object in addresses.filter_map(|address: SocketAddr| lists.get(&address)).flatten() {
                if ids.contains(&object.id.as_str()) {
                    continue;
                }
                let text = Value::Object(object.fields.clone()).to_string();
                if text.len() > room.min(OBJECT_BYTES_MAX) {
                    continue;
                }
                room -= text.len();
                ids.push(&object.id);
                pool.listed.push(text);
            }
        }
    }

    /// Names the models of pools whose configuration does not: what their engines list, adapters apart. Where they list
    /// nothing, the only pool takes any name, and one of several takes none.
    ///
    /// A pool that takes any name, and whose prompts are compared with what its engines report, gets the names of their base
    /// models beside it: reports have no other name for a base model than that it is no adapter, and of a name that is
    /// unknown nobody could say which of the two it is.
    pub fn name(&self, pools: &mut [Pool]) {
        let is_only = pools.len() == 1;
        let lists = self.lock();
        let takes_any =
            |pool: &Pool| pool.prompt.is_some() && pool.models.iter().any(|name| name == ANY_MODEL);
        for pool in pools.iter_mut().filter(|pool| takes_any(pool)) {
            let objects = pool.endpoints.iter().filter_map(|member| lists.get(&member.address)).flatten();
            for base in objects.filter(|object| !object.is_adapter()).take(OBJECTS_MAX) {
                if pool.models.len() < MODELS_PER_POOL_MAX && !pool.models.contains(&base.id) {
                    pool.models.push(base.id.clone());
                }
            }
        }
        for pool in pools.iter_mut().filter(|pool| pool.models.is_empty()) {
            let objects = pool.endpoints.iter().filter_map(|member| lists.get(&member.address)).flatten();
            let mut taken: FnvHashSet<String> = pool.adapters.iter().cloned().collect();
            for object in objects.take(OBJECTS_MAX) {
                let into = if object.is_adapter() { &mut pool.adapters } else { &mut pool.models };
                if into.len() < MODELS_PER_POOL_MAX && taken.insert(object.id.clone()) {
                    into.push(object.id.clone());
                }
            }
            if pool.models.is_empty() && is_only {
                pool.models.push(ANY_MODEL.to_owned());
            }
        }
    }

    /// Takes in an engine's response to `/v1/models`. What is no list changes nothing.
    pub(super) fn take(&self, address: SocketAddr, body: &[u8]) {
        let Some(mut objects) = read(body) else { return };
        let mut lists = self.lock();
        let old = lists.entry(address).or_default();
        for object in &mut objects {
            let known = old.iter().find(|known| known.id == object.id);
            if let Some(created) = known.and_then(|known| known.fields.get(CREATED)) {
                object.fields.insert(CREATED.to_owned(), created.clone());
            }
        }
        if *old != objects {
            *old = objects;
            self.changed.notify_one();
        }
    }

    /// Forgets the lists of engines that are in no pool any more.
    pub(super) fn retain(&self, is_kept: impl Fn(&SocketAddr) -> bool) {
        self.lock().retain(|address, _| is_kept(address));
    }

    fn lock(&self) -> MutexGuard<'_, FnvHashMap<SocketAddr, Vec<Object>>> {
        // No update leaves it half done.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Object ===

impl Object {
    fn is_adapter(&self) -> bool {
        self.fields.get(PARENT).is_some_and(|parent| !parent.is_null())
    }
}

fn read(body: &[u8]) -> Option<Vec<Object>> {
    let Value::Object(mut page) = serde_json::from_slice(body).ok()? else { return None };
    let Value::Array(data) = page.remove("data")? else { return None };
    let objects = data.into_iter().take(OBJECTS_MAX).filter_map(|object| {
        let Value::Object(mut fields) = object else { return None };
        fields.remove(PERMISSION);
        let id = fields.get("id")?.as_str().filter(|id| !id.is_empty())?.to_owned();
        Some(Object { id, fields })
    });
    Some(objects.collect())
}

#[cfg(test)]
mod tests {
    use super::{LISTED_BYTES_MAX, Models};
    use crate::config::{self, Member};
    use std::net::SocketAddr;
    use warmpath_core::wire::{Pool, PoolEndpoint, Pools};

    fn listed(models: &Models) -> Vec<String> {
        let endpoint =
            |address: &str| PoolEndpoint { address: address.to_owned(), ..PoolEndpoint::default() };
        let endpoints = vec![endpoint("10.0.0.1:80"), endpoint("10.0.0.2:80")];
        let mut pools = Pools { pools: vec![Pool { endpoints, ..Pool::default() }] };
        models.fill(&mut pools);
        pools.pools.remove(0).listed
    }

    fn take(models: &Models, address: &str, body: &str) {
        models.take(address.parse().unwrap(), body.as_bytes());
    }

    #[test]
    fn models_without_a_name_are_those_that_engines_list() {
        let (models, any) =
            (Models::default(), |port: u16| Member::from(SocketAddr::from(([127, 0, 0, 1], port))));
        let pool = |name: &str, named: &[&str], port: u16| config::Pool {
            name: name.to_owned(),
            models: named.iter().map(|name| (*name).to_owned()).collect(),
            endpoints: vec![any(port)],
            ..config::Pool::default()
        };
        let named = |pools: &[config::Pool]| {
            let mut pools = pools.to_vec();
            models.name(&mut pools);
            pools.into_iter().map(|pool| (pool.models, pool.adapters)).collect::<Vec<_>>()
        };
        let list_of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(named(&[pool("a", &[], 1)]), [(list_of(&["*"]), vec![])]);
        let both = [pool("a", &[], 1), pool("b", &["other"], 2)];
        assert_eq!(named(&both), [(vec![], vec![]), (list_of(&["other"]), vec![])]);
        let list = r#"{"data":[{"id":"llama","parent":null},{"id":"sql","parent":"llama"},{"id":"other"}]}"#;
        models.take(any(1).address, list.as_bytes());
        let wanted = [(list_of(&["llama", "other"]), list_of(&["sql"])), (list_of(&["other"]), vec![])];
        assert_eq!(named(&both), wanted, "two pools may serve one model");
    }

    #[test]
    fn what_engines_report_of_a_pool_that_takes_any_model_is_found_under_the_names_of_its_models() {
        let models = Models::default();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        models.take(address, br#"{"data":[{"id":"llama","parent":null},{"id":"sql","parent":"llama"}]}"#);
        let pool = config::Pool {
            models: vec!["*".to_owned()],
            endpoints: vec![Member::from(address)],
            ..config::Pool::default()
        };
        let with_prompt = config::Pool { prompt: Some(warmpath_config::Prompt::default()), ..pool.clone() };
        let mut pools = [pool, with_prompt];
        models.name(&mut pools);
        let [without, with] = pools.map(|pool| pool.models);
        assert_eq!((without, with), (vec!["*".to_owned()], vec!["*".to_owned(), "llama".to_owned()]));
    }

    #[test]
    fn each_model_is_listed_once_and_a_time_of_creation_is_no_change() {
        let models = Models::default();
        take(&models, "10.0.0.1:80", r#"{"data":[{"id":"m","created":1,"permission":[{"id":"p-1"}]}]}"#);
        take(&models, "10.0.0.2:80", r#"{"data":[{"id":"m","created":5},{"id":"lora","parent":"m"}]}"#);
        let wanted = [r#"{"created":1,"id":"m"}"#, r#"{"id":"lora","parent":"m"}"#];
        assert_eq!(listed(&models), wanted);
        take(&models, "10.0.0.1:80", r#"{"data":[{"id":"m","created":9,"permission":[{"id":"p-2"}]}]}"#);
        assert_eq!(listed(&models), wanted);
        take(&models, "10.0.0.1:80", "<html>not found</html>");
        assert_eq!(listed(&models), wanted, "what is no list changes nothing");
        take(&models, "10.0.0.1:80", r#"{"data":[]}"#);
        assert_eq!(listed(&models).len(), 2, "the other engine still has both");
    }

    #[test]
    fn lists_are_bounded() {
        let models = Models::default();
        let object = |n: usize| format!(r#"{{"id":"m{n}","root":"{}"}}"#, "x".repeat(3_000));
        let data: Vec<String> = (0..900).map(object).collect();
        take(&models, "10.0.0.1:80", &format!(r#"{{"data":[{}]}}"#, data.join(",")));
        let bytes: usize = listed(&models).iter().map(String::len).sum();
        assert!(bytes > LISTED_BYTES_MAX / 2 && bytes <= LISTED_BYTES_MAX, "{bytes}");
        take(&models, "10.0.0.1:80", &format!(r#"{{"data":[{{"id":"m","root":"{}"}}]}}"#, "x".repeat(5_000)));
        assert_eq!(listed(&models).len(), 0, "one that is too long");
    }
}

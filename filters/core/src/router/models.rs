//! `GET /v1/models` in front of several pools: the models of all of them. One engine would list those of its own pool
//! only, and clients that fill a menu from the list would never show the others.

use crate::body::percent_decoded;
use crate::json::{Outline, Scanner};
use crate::view::{ANY_MODEL, Pool, View};
use serde_json::json;
use std::collections::BTreeSet;

/// What a path says of models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ModelsPath {
    /// `/v1/models`.
    List,
    /// `/v1/models/<id>`; an id may contain slashes.
    One(String),
}

// === impl ModelsPath ===

impl ModelsPath {
    /// What `path` says, below any prefix.
    pub(super) fn of(path: &str) -> Option<Self> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let (_, rest) = path.split_once("/v1/models")?;
        match rest.strip_prefix('/') {
            None => rest.is_empty().then_some(Self::List),
            Some("") => Some(Self::List),
            Some(id) => {
                Some(Self::One(String::from_utf8_lossy(&percent_decoded(id.as_bytes())).into_owned()))
            }
        }
    }
}

/// The list, as the engines write it: each model that a request may name, once.
pub(super) fn list(view: &View) -> Vec<u8> {
    // Anybody may ask: one look at each name, not one at all names for each.
    let named: BTreeSet<&str> = view.pools().iter().flat_map(Pool::names).collect();
    let mut seen = BTreeSet::new();
    let mut list = br#"{"object":"list","data":["#.to_vec();
    for pool in view.pools() {
        let own: BTreeSet<&str> = pool.names().collect();
        for (id, object) in models_of(pool) {
            let is_named = named.contains(id.as_str());
            let is_its_own = if is_named { own.contains(id.as_str()) } else { own.contains(ANY_MODEL) };
            if is_its_own && seen.insert(id) {
                if !list.ends_with(b"[") {
                    list.push(b',');
                }
                list.extend_from_slice(object.as_bytes());
            }
        }
    }
    list.extend_from_slice(b"]}");
    list
}

/// The ids and objects of a pool's models: as its engines list them if that is known, else as it is configured.
fn models_of(pool: &Pool) -> Vec<(String, String)> {
    let listed: Vec<_> =
        pool.listed().iter().filter_map(|object| Some((id_of(object)?, object.clone()))).collect();
    let object =
        |id: &String| json!({"id": id, "object": "model", "created": 0, "owned_by": "warmpath"}).to_string();
    let entry = |id: &String| (id.clone(), object(id));
    // Engines do not know the names that stand for others.
    let aliases = pool.rewrites().iter().map(|rule| &rule.model).filter(|model| !model.is_empty());
    if !listed.is_empty() {
        return listed.into_iter().chain(aliases.map(entry)).collect();
    }
    let names = pool.models().iter().chain(pool.adapters()).filter(|name| *name != "*");
    names.chain(aliases).map(entry).collect()
}

/// The id in a model's object; `None`: it is no such object.
fn id_of(object: &str) -> Option<String> {
    let mut scanner = Scanner::new(object.as_bytes());
    scanner.skip().and_then(|()| scanner.end()).ok()?;
    let mut outline = Outline::new(["id"]);
    outline.push(object.as_bytes());
    let [id] = outline.finish().ok()?;
    id.text().ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_list_or_a_model() {
        let one = |id: &str| Some(ModelsPath::One(id.to_owned()));
        for (path, expected) in [
            ("/v1/models", Some(ModelsPath::List)),
            ("/v1/models/", Some(ModelsPath::List)),
            ("/llm/v1/models?limit=5", Some(ModelsPath::List)),
            ("/v1/models/beta", one("beta")),
            ("/v1/models/org/Beta%20v2%3Alatest?x=/y", one("org/Beta v2:latest")),
            ("/v1/models/org%2F%E6%A8%A1", one("org/模")),
            ("/v1/modelsx", None),
            ("/v1/chat/completions", None),
        ] {
            assert_eq!(ModelsPath::of(path), expected, "{path}");
        }
    }

    #[test]
    fn an_object_without_an_id_is_not_listed() {
        assert_eq!(id_of(r#"{"id":"a","permission":[{"id":"b"}]}"#).as_deref(), Some("a"));
        for object in ["", "{}", "{\"id\":7}", "{\"id\":\"a\"", "{\"id\":\"a\",}", "[]"] {
            assert_eq!(id_of(object), None, "{object}");
        }
    }
}

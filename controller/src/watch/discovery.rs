//! Looks for kinds that the API server does not know: their CRDs may be installed after the controller.
//!
//! ```text
//!   follow (404) ─► missing kinds ─► GET /apis every 30 s ─► found kinds ─► follow
//! ```
//!
//! One request for all kinds and namespaces, to which the API server replies with 304 and no body while nothing has changed;
//! none while no kind is missing. A watch of the CRDs would need no requests, but a right to objects of the whole cluster, which a
//! controller of one namespace should not have. Whoever is authenticated may send this one.

use super::kinds::Kind;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use kube::Client;
use kube::client::Body;
use kube::core::discovery::v2::{ACCEPT_AGGREGATED_DISCOVERY_V2, APIGroupDiscoveryList};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Time between two requests, and so the longest time until a kind that is new is followed.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a response: a cluster with many CRDs has one or two megabytes.
const RESPONSE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The `kind` of a response that lists kinds. API servers before 1.26 respond with another, which lists groups only.
const LIST_KIND: &str = "APIGroupDiscoveryList";

/// What the API server said last.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The response's ETag.
    etag: Option<HeaderValue>,
    /// The kinds that it knows.
    kinds: BTreeSet<Kind>,
}

/// Reports the missing kinds that the API server knows, each time that it is asked, until `missing` or `found` is closed.
pub(super) async fn discover(
    client: Client,
    mut missing: watch::Receiver<BTreeSet<Kind>>,
    found: mpsc::Sender<BTreeSet<Kind>>,
) {
    let mut seen = Seen::default();
    loop {
        if missing.wait_for(|kinds| !kinds.is_empty()).await.is_err() {
            return;
        }
        tokio::time::sleep(INTERVAL).await;
        match tokio::time::timeout(REQUEST_TIMEOUT, ask(&client, &mut seen)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the API server does not say which kinds it knows"),
            Err(_) => tracing::debug!("no response to a request for the kinds that the API server knows"),
        }
        let kinds: BTreeSet<Kind> = missing.borrow().intersection(&seen.kinds).copied().collect();
        if !kinds.is_empty() && found.send(kinds).await.is_err() {
            return;
        }
    }
}

async fn ask(client: &Client, seen: &mut Seen) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut request = Request::get("/apis").header(header::ACCEPT, ACCEPT_AGGREGATED_DISCOVERY_V2);
    if let Some(etag) = &seen.etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let response = client.send(request.body(Body::empty())?).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await?.to_bytes();
    match parts.status {
        StatusCode::NOT_MODIFIED => {}
        StatusCode::OK => {
            *seen = Seen { etag: parts.headers.get(header::ETAG).cloned(), kinds: kinds_of(&body)? };
        }
        // A cluster may have taken this right from service accounts: then each watch finds out for itself.
        StatusCode::FORBIDDEN => *seen = Seen { etag: None, kinds: Kind::DEFINED.into() },
        status => return Err(status.to_string().into()),
    }
    Ok(())
}

/// The kinds that a response lists. If it lists groups only, any kind may exist: its watch shows whether it does.
fn kinds_of(body: &[u8]) -> Result<BTreeSet<Kind>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Named {
        kind: String,
    }
    if serde_json::from_slice::<Named>(body)?.kind != LIST_KIND {
        return Ok(Kind::DEFINED.into());
    }
    let list: APIGroupDiscoveryList = serde_json::from_slice(body)?;
    let mut kinds = BTreeSet::new();
    for group in &list.items {
        let name = group.metadata.as_ref().and_then(|metadata| metadata.name.as_deref());
        for version in &group.versions {
            let has = |kind: &&Kind| {
                let resource = kind.resource();
                name == Some(&resource.group)
                    && version.version.as_deref() == Some(&resource.version)
                    && version.resources.iter().any(|it| it.resource.as_deref() == Some(&resource.plural))
            };
            kinds.extend(Kind::DEFINED.iter().filter(has));
        }
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Seen, ask, kinds_of};
    use crate::fake_api::FakeApi;
    use http::{Response, StatusCode, header};
    use serde_json::json;

    #[test]
    fn a_kind_is_there_with_its_group_version_and_resource() {
        let group = |name: &str, version: &str, resources: &[&str]| {
            let resources: Vec<_> = resources.iter().map(|name| json!({"resource": name})).collect();
            json!({"metadata": {"name": name}, "versions": [{"version": version, "resources": resources}]})
        };
        let kinds = |items: &[serde_json::Value]| {
            let list = json!({"kind": "APIGroupDiscoveryList", "items": items});
            Vec::from_iter(kinds_of(list.to_string().as_bytes()).unwrap())
        };
        let pools = ["inferencepools"];
        assert_eq!(
            kinds(&[group("inference.networking.k8s.io", "v1", &pools)]),
            [Kind::InferencePool, Kind::OwnPool]
        );
        assert_eq!(kinds(&[group("inference.networking.k8s.io", "v2", &pools)]), []);
        assert_eq!(kinds(&[group("example.com", "v1", &pools)]), []);
        let old =
            group("inference.networking.x-k8s.io", "v1alpha2", &["inferencepools", "inferenceobjectives"]);
        let both = [Kind::InferencePoolAlpha, Kind::InferenceObjectiveAlpha];
        assert_eq!(kinds(&[group("apps", "v1", &["deployments"]), old]), both);
    }

    #[test]
    fn an_api_server_that_lists_only_groups_may_know_every_kind() {
        let list = json!({"kind": "APIGroupList", "groups": [{"name": "apps"}]}).to_string();
        assert_eq!(Vec::from_iter(kinds_of(list.as_bytes()).unwrap()), Kind::DEFINED);
        assert!(kinds_of(b"<html>").is_err());
    }

    #[tokio::test]
    async fn what_has_not_changed_is_not_sent_again() {
        let list = r#"{"kind": "APIGroupList", "groups": []}"#;
        let mut sent = 0;
        let client = FakeApi::client(move |request| {
            let response = Response::builder().header(header::ETAG, "\"a\"");
            if request.headers().get(header::IF_NONE_MATCH).is_some_and(|etag| etag == "\"a\"") {
                return response.status(StatusCode::NOT_MODIFIED).body(String::new()).unwrap();
            }
            sent += 1;
            assert_eq!(sent, 1);
            response.body(list.to_owned()).unwrap()
        });
        let mut seen = Seen::default();
        for _ in 0..3 {
            ask(&client, &mut seen).await.unwrap();
            assert_eq!(Vec::from_iter(seen.kinds.clone()), Kind::DEFINED);
        }
    }

    #[tokio::test]
    async fn without_the_right_to_the_list_every_kind_is_tried() {
        let client = FakeApi::client(|_| {
            Response::builder().status(StatusCode::FORBIDDEN).body("{}".to_owned()).unwrap()
        });
        let mut seen = Seen::default();
        ask(&client, &mut seen).await.unwrap();
        assert_eq!(Vec::from_iter(seen.kinds), Kind::DEFINED);
    }
}

//! The side channel: where engines talk about keys and values, on a port of its own, as NIXL's and the bootstrap servers are.
//!
//! Stalled as the engine is, and gone when it is killed, but not when it only refuses requests.

use super::{
    fetch::{Claim, Release},
    kept::Slip,
    mooncake,
};
use crate::server::{
    engine_server::App,
    hub::Core,
    reply::{Body, json as reply_json},
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;
use std::{convert::Infallible, sync::Arc, time::Duration};

/// Longest request; as many block ids as the longest prompt has.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Responds to another engine.
pub(in crate::server) async fn respond(
    app: Arc<App>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    app.faults.unstalled().await;
    let path = request.uri().path().to_owned();
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let response = match path.as_str() {
        "/claim" => match serde_json::from_slice(&body) {
            Ok(Claim { engine_id: Some(engine), .. }) if engine != app.engine_id() => replaced(),
            Ok(claim) => claimed(&app, &claim).await,
            Err(error) => refused(&error.to_string()),
        },
        "/release" => match serde_json::from_slice(&body) {
            Ok(Release { engine_id: Some(engine), .. }) if engine != app.engine_id() => replaced(),
            Ok(release) => released(&app, &release),
            Err(error) => refused(&error.to_string()),
        },
        // Mooncake's bootstrap server.
        "/query" => reply_json(StatusCode::OK, &mooncake::registry(&app)),
        _ => refused("no such path"),
    };
    Ok(response)
}

fn refused(reason: &str) -> Response<Body> {
    reply_json(StatusCode::NOT_FOUND, &json!({"error": reason}))
}

fn replaced() -> Response<Body> {
    reply_json(StatusCode::GONE, &json!({"error": "this is another engine"}))
}

/// Waits for a prompt and begins its lease again.
async fn claimed(app: &App, claim: &Claim) -> Response<Body> {
    let _joined = Joined::new(app, &claim.name);
    let found = async {
        loop {
            let met = app.hub.met.notified();
            if let Some(found) = app.hub.with(|core, now_s| find(core, now_s, claim)) {
                return found;
            }
            met.await;
        }
    };
    match tokio::time::timeout(Duration::from_millis(claim.wait_ms), found).await {
        Ok(response) => response,
        Err(_) => lost(claim, "no such prompt is kept"),
    }
}

fn find(core: &mut Core, now_s: f64, claim: &Claim) -> Option<Response<Body>> {
    let (id, slip, handover) = core.kept.find(&claim.name)?;
    if *handover != claim.handover {
        return Some(lost(claim, "these are not the parameters of the response"));
    }
    if !core.engine.renew_held(now_s, id) {
        return Some(lost(claim, "the lease is over"));
    }
    core.kept.claim(&claim.name);
    Some(reply_json(StatusCode::OK, &json!(slip)))
}

/// What a claim gets for which nothing is kept: a refusal, or with a protocol that does not ask, other keys and values.
fn lost(claim: &Claim, reason: &str) -> Response<Body> {
    if claim.is_blind {
        reply_json(StatusCode::OK, &json!(Slip::stale(&claim.name)))
    } else {
        refused(reason)
    }
}

/// A prompt was fetched or given up.
fn released(app: &App, release: &Release) -> Response<Body> {
    let was_held = app.hub.with(|core, now_s| {
        let Some(id) = core.kept.end(&release.name, release.is_fetched) else {
            core.legs.fetches_unexpected += u64::from(release.is_fetched);
            return false;
        };
        let count = if release.is_fetched {
            &mut core.legs.prompts_handed_over
        } else {
            &mut core.legs.prompts_given_up
        };
        *count += 1;
        core.engine.release_held(now_s, id)
    });
    if was_held { reply_json(StatusCode::OK, &json!({})) } else { refused("no such prompt is kept") }
}

/// An engine that waits for a name, until it leaves.
struct Joined<'a> {
    app: &'a App,
    name: &'a str,
}

// === impl Joined ===

impl<'a> Joined<'a> {
    fn new(app: &'a App, name: &'a str) -> Self {
        app.hub.with(|core, _| core.kept.join(name));
        app.hub.met.notify_waiters();
        Self { app, name }
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.app.hub.with(|core, _| core.kept.leave(self.name));
    }
}

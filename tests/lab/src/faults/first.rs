//! Envoy starts before any controller, with the shipped configuration, which names no endpoint: Envoy's own rule chooses,
//! the filter learns who served what, and the controller finds traffic when it comes.

use super::setting::{ENGINES, spec};
use super::traffic::Traffic;
use super::verdict::Verdict;
use crate::cluster::{Cluster, Spec};
use std::time::{Duration, Instant};

/// Without a controller.
const ALONE: Duration = Duration::from_secs(12);
/// From when on conversations have to be found again: each has begun by then.
const LEARNING: Duration = Duration::from_secs(4);
/// With one.
const TOGETHER: Duration = Duration::from_secs(5);
/// How many of the conversations that come back are to be found by knowledge; by chance it is one in [`ENGINES`], and more
/// with time.
const FOUND_MIN: f64 = 0.8;

pub(super) async fn play() -> anyhow::Result<Verdict> {
    let spec = Spec { controller_later: true, ..spec() };
    let mut cluster = Cluster::start(&spec).await?;
    let mut traffic = Traffic::start(cluster.gateway()?, 4);
    let begun = Instant::now();
    traffic.go_on(ALONE, 700).await?;
    let came_at = Instant::now();
    cluster.start_controller().await?;
    traffic.go_on(TOGETHER, 1_000).await?;
    let heard = traffic.finish().await?;
    cluster.shutdown().await;
    let found = heard.found_again(begun + LEARNING, came_at);
    let note = format!(
        "{} s without a controller and without configured endpoints, then {} s with one; {} of {ENGINES} engines used; \
         conversations found again: alone {found:.2}, then {:.2}",
        ALONE.as_secs(),
        TOGETHER.as_secs(),
        heard.by_engine(begun, Instant::now()).len(),
        heard.found_again(came_at + Duration::from_secs(1), Instant::now()),
    );
    let wrong =
        (found < FOUND_MIN).then(|| format!("conversations found again without a controller: {found:.2}"));
    Ok(Verdict { wrong, ..Verdict::new("first", heard, note) })
}

//! The configuration file while the controller runs.

use crate::support::{Engine, Proxy, Reply, metric, until};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use warmpath::config::{Watched, load};
use warmpath::run::{Running, launch};
use warmpath_core::view::View;

const HEAD: &str = "listen: {grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}\nscrape: {interval_ms: 60000}\n";

fn text(endpoints: &str) -> String {
    format!("{HEAD}pools:\n  - {{name: main, models: [\"*\"], endpoints: [{endpoints}]}}\n")
}

async fn watch(path: &Path) -> (Running, Proxy) {
    let (settings, text) = load(path).unwrap();
    let running = launch(settings, Some(Watched::new(path.to_owned(), text))).await.unwrap();
    let proxy = Proxy::connect(running.grpc_addr(), 1).await;
    (running, proxy)
}

fn addresses(view: &View) -> Vec<&str> {
    let mut addresses: Vec<_> = view.endpoints().map(|(_, endpoint)| endpoint.address.as_str()).collect();
    addresses.sort_unstable();
    addresses
}

async fn reloads(running: &Running, result: &str) -> f64 {
    metric(running.http_addr(), &format!("config_reloads_total{{result=\"{result}\"}}")).await
}

#[tokio::test]
async fn endpoints_follow_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("warmpath.yaml");
    fs::write(&path, text("127.0.0.1:1, 127.0.0.1:2")).unwrap();
    let (running, mut proxy) = watch(&path).await;
    assert_eq!(addresses(&proxy.view), ["127.0.0.1:1", "127.0.0.1:2"]);
    fs::write(&path, text("127.0.0.1:2, 127.0.0.1:3")).unwrap();
    proxy.until("the file took effect", |view| addresses(view) == ["127.0.0.1:2", "127.0.0.1:3"]).await;
    running.shutdown().await;
}

#[tokio::test]
async fn tiers_of_an_engine_that_stays_follow_the_file() {
    let engine = Engine::start(Reply::HealthOnly).await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("warmpath.yaml");
    let pool = |below: u32| {
        let address = engine.address;
        format!(
            "{HEAD}pools:\n  - name: main\n    models: [\"*\"]\n    endpoints: [\"{address}\"]\n    \
             kv_below_gpu_tokens: {below}\n"
        )
    };
    fs::write(&path, pool(1_000)).unwrap();
    let (running, mut proxy) = watch(&path).await;
    let below = |view: &View| view.endpoints().next().unwrap().1.status().kv_below_gpu_tokens;
    proxy.until("the first size came", |view| below(view) == 1_000).await;
    fs::write(&path, pool(2_000)).unwrap();
    proxy.until("the second size came", |view| below(view) == 2_000).await;
    running.shutdown().await;
}

#[tokio::test]
async fn a_broken_file_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("warmpath.yaml");
    fs::write(&path, text("127.0.0.1:1")).unwrap();
    let (running, mut proxy) = watch(&path).await;
    fs::write(&path, text("nonsense")).unwrap();
    until("it was refused", async || (reloads(&running, "refused").await > 0.0).then_some(())).await;
    fs::remove_file(&path).unwrap();
    until("its absence was refused", async || (reloads(&running, "refused").await > 1.0).then_some(())).await;
    let fresh = Proxy::connect(running.grpc_addr(), 2).await;
    assert_eq!(addresses(&fresh.view), ["127.0.0.1:1"]);
    fs::write(&path, text("127.0.0.1:4")).unwrap();
    proxy.until("a right file took effect", |view| addresses(view) == ["127.0.0.1:4"]).await;
    running.shutdown().await;
}

#[tokio::test]
async fn a_config_map_swaps_a_symlink() {
    let folder = TempDir::new().unwrap();
    let version = |name: &str, endpoints: &str| -> PathBuf {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("warmpath.yaml"), text(endpoints)).unwrap();
        folder
    };
    let (old, new) = (version("..v1", "127.0.0.1:1"), version("..v2", "127.0.0.1:2"));
    symlink(old, folder.path().join("..data")).unwrap();
    symlink("..data/warmpath.yaml", folder.path().join("warmpath.yaml")).unwrap();
    let (running, mut proxy) = watch(&folder.path().join("warmpath.yaml")).await;
    symlink(new, folder.path().join("..data_tmp")).unwrap();
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    proxy.until("the new version took effect", |view| addresses(view) == ["127.0.0.1:2"]).await;
    running.shutdown().await;
}

#[tokio::test]
async fn changes_that_need_a_restart_are_logged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("warmpath.yaml");
    fs::write(&path, text("127.0.0.1:1")).unwrap();
    let (running, mut proxy) = watch(&path).await;
    fs::write(&path, format!("cell_bytes: 512\n{}", text("127.0.0.1:2"))).unwrap();
    proxy.until("the pools took effect", |view| addresses(view) == ["127.0.0.1:2"]).await;
    until("the rest was logged", async || (reloads(&running, "needs_restart").await > 0.0).then_some(()))
        .await;
    running.shutdown().await;
}

/// Nothing but time makes the controller publish the endpoints that it has withheld.
#[tokio::test]
async fn a_pool_for_which_requests_wait_wakes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("warmpath.yaml");
    let text =
        |endpoints: &str| text(endpoints).replace("name: main,", "name: main, hold: {endpoint_s: 60},");
    fs::write(&path, text("")).unwrap();
    let (running, mut proxy) = watch(&path).await;
    assert_eq!(addresses(&proxy.view), Vec::<&str>::new());
    fs::write(&path, text("127.0.0.1:2")).unwrap();
    proxy.until("it is awake", |view| addresses(view) == ["127.0.0.1:2"]).await;
    running.shutdown().await;
}

//! The filter over HTTP.

use crate::support::{get, quiet_settings};
use http::{Method, StatusCode};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use warmpath::api::WasmError;
use warmpath::config::Settings;
use warmpath::run::{StartError, start};
use warmpath_http::Client;

/// The smallest module, and its hash by `sha256sum`.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const SHA256: &str = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476";

fn serving(path: &Path) -> Settings {
    Settings { wasm_file: Some(path.to_owned()), ..quiet_settings() }
}

#[tokio::test]
async fn the_filter_is_served_under_its_hash_only() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("router.wasm");
    fs::write(&path, MODULE).unwrap();
    let running = start(serving(&path)).await.unwrap();
    let http = running.http_addr();
    let (status, page) = get(http, "/wasm").await;
    let page: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((status, page["sha256"].as_str().unwrap()), (StatusCode::OK, SHA256));
    assert_eq!(page["bytes"], 8);

    let path = page["path"].as_str().unwrap();
    let client = Client::http1(http);
    let response = client.get(path).await.unwrap();
    assert_eq!((response.status, &*response.body), (StatusCode::OK, MODULE));
    assert_eq!(response.header("content-type"), Some("application/wasm"));
    assert_eq!(response.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let head = client.send(Method::HEAD, path, &[], bytes::Bytes::new()).await.unwrap();
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, Some("8")));

    running.shutdown().await;
}

/// The agents of Istio and Envoy Gateway give up at a 404, and one connection always leads to the same replica.
#[tokio::test]
async fn during_an_upgrade_a_proxy_asks_for_the_filter_again_and_elsewhere() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("router.wasm");
    fs::write(&path, MODULE).unwrap();
    let running = start(serving(&path)).await.unwrap();
    let another = format!("/wasm/{}/warmpath-router.wasm", "0".repeat(64));
    let response = Client::http1(running.http_addr()).get(&another).await.unwrap();
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.header("connection"), Some("close"));
    assert!(String::from_utf8_lossy(&response.body).contains(SHA256), "it names the one that it has");
    running.shutdown().await;
}

#[tokio::test]
async fn a_controller_without_a_filter_serves_none() {
    let running = start(quiet_settings()).await.unwrap();
    for path in ["/wasm", &format!("/wasm/{SHA256}/warmpath-router.wasm")] {
        let (status, text) = get(running.http_addr(), path).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(text.contains("wasm_file"), "{text}");
    }
    running.shutdown().await;
}

#[tokio::test]
async fn a_file_that_is_not_a_filter_is_found_at_the_start() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("router.wasm");
    let error = start(serving(&path)).await.unwrap_err();
    assert!(matches!(error, StartError::Wasm(WasmError::Unreadable { .. })), "{error:?}");
    fs::write(&path, "<html>").unwrap();
    let error = start(serving(&path)).await.unwrap_err();
    assert!(matches!(error, StartError::Wasm(WasmError::NotWasm { .. })), "{error:?}");
}

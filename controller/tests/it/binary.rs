//! The `warmpath` binary as a process: it stops when reported to, and says what is wrong with its file.

use crate::support::DEADLINE;
use std::fs;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const VALID: &str = "listen: {grpc: \"127.0.0.1:0\", http: \"127.0.0.1:0\"}\n\
                     pools: [{name: main, models: [\"*\"], endpoints: [127.0.0.1:1]}]\n";

fn warmpath(folder: &TempDir, config: &str, args: &[&str]) -> Child {
    let path = folder.path().join("warmpath.yaml");
    fs::write(&path, config).unwrap();
    Command::new(env!("CARGO_BIN_EXE_warmpath"))
        .args(["controller", "--config"])
        .arg(&path)
        .args(args)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn send(child: &Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().await.unwrap().success());
}

async fn stops_on(signal: &str) {
    let folder = TempDir::new().unwrap();
    let mut child = warmpath(&folder, VALID, &["--log-format", "json"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = Vec::new();
    let run = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let line: serde_json::Value = serde_json::from_str(&line).expect("a log line is JSON");
            if line["message"] == "controller started" {
                send(&child, signal).await;
            }
            log.push(line["message"].as_str().unwrap_or_default().to_owned());
        }
    };
    tokio::time::timeout(DEADLINE, run).await.expect("it did not stop");
    assert!(child.wait().await.unwrap().success(), "{log:?}");
    assert_eq!(log.last().map(String::as_str), Some("stopped"), "{log:?}");
}

#[tokio::test]
async fn sigterm_stops_it_cleanly() {
    stops_on("TERM").await;
}

#[tokio::test]
async fn sigint_stops_it_cleanly() {
    stops_on("INT").await;
}

#[tokio::test]
async fn a_wrong_file_is_reported_in_full() {
    let folder = TempDir::new().unwrap();
    let child = warmpath(&folder, "cell_bytes: 1\nport: 2\n", &["--check"]);
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let reported = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for wanted in ["line 1: cell_bytes", "line 2: port", "pools is missing"] {
        assert!(reported.contains(wanted), "{reported}");
    }
}

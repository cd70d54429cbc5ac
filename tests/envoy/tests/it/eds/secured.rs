//! TLS and a token between Envoy and the controller, for the filter's stream and for endpoints, as `envoy/README.md` says.

use super::{addresses, engines, gateway, hosts, pool, shipped, start, wait_connected, wait_hosts};
use crate::stack::{Controller, MODEL, PATH, completion};
use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use warmpath_envoy::process::{Envoy, Launch};
use warmpath_envoy::shipped::ShippedConfig;
use warmpath_envoy::until;
use warmpath_http::Client;

/// The name in the page's example.
const NAME: &str = "controller.example.com";

struct Secrets {
    folder: TempDir,
    authority: CertifiedKey,
}

impl Secrets {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        // Not that of the certificate, which would look signed by itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key_pair = KeyPair::generate().unwrap();
        let authority = CertifiedKey { cert: params.self_signed(&key_pair).unwrap(), key_pair };
        let secrets = Self { folder: tempfile::tempdir().unwrap(), authority };
        secrets.write("ca.crt", &secrets.authority.cert.pem());
        for folder in ["theirs", "ours"] {
            fs::create_dir(secrets.path(folder)).unwrap();
            secrets.write(&format!("{folder}/token"), "secret-1");
        }
        secrets.write_pair();
        secrets
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// A new certificate with a new key.
    fn write_pair(&self) {
        let (params, key) =
            (CertificateParams::new([NAME.to_owned()]).unwrap(), KeyPair::generate().unwrap());
        let CertifiedKey { cert, key_pair } = &self.authority;
        self.write("tls.crt", &params.signed_by(&key, cert, key_pair).unwrap().pem());
        self.write("tls.key", &key.serialize_pem());
    }

    fn fields(&self) -> Value {
        json!({
            "tls": { "cert": self.path("tls.crt"), "key": self.path("tls.key") },
            "token_file": self.path("ours/token"),
        })
    }
}

fn secured(controller: &Controller, secrets: &Secrets) -> ShippedConfig {
    shipped(&[controller.addr()]).tls(secrets.path("ca.crt")).token(secrets.path("theirs"))
}

async fn counted(controller: &Controller, name: &str) {
    let client = Client::http1(controller.http_addr());
    let name = format!("warmpath_controller_{name} ");
    until(&name, async || {
        let page = client.get("/metrics").await.unwrap().text();
        let value: u64 = page.lines().find_map(|line| line.strip_prefix(&name))?.parse().unwrap();
        (value > 0).then_some(())
    })
    .await
    .unwrap();
}

async fn serves(envoy: &Envoy) {
    let client = Client::http1(gateway(envoy).await);
    until("a response", async || {
        let response = client.post_json(PATH, &completion(MODEL, "hello")).await.unwrap();
        (response.status == StatusCode::OK).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_envoy_with_the_token_follows_over_tls_also_after_both_were_renewed() {
    let (engines, secrets) = (engines(3).await, Secrets::new());
    let mut controller = Controller::start_with(&pool(&addresses(&engines[..1])), secrets.fields()).await;
    let envoy = start(&secured(&controller, &secrets), &Launch::default()).await;
    wait_hosts(&envoy, &addresses(&engines[..1])).await;
    wait_connected(&envoy).await;
    serves(&envoy).await;

    // The controller first: Envoy still presents the old token.
    secrets.write("ours/token", "secret-2");
    secrets.write_pair();
    counted(&controller, "secret_reloads_total{secret=\"token\",result=\"applied\"}").await;
    counted(&controller, "secret_reloads_total{secret=\"certificate\",result=\"applied\"}").await;
    controller.set_pools(&pool(&addresses(&engines[..2])));
    wait_hosts(&envoy, &addresses(&engines[..2])).await;
    let opened = envoy.admin().stat("wasmcustom.warmpath.feed.opened").await.unwrap();
    assert_eq!(opened, 1, "no stream was broken");

    // A controller that has started since knows only the new one, and so does Envoy.
    secrets.write("theirs/token", "secret-2");
    controller.set_pools(&pool(&addresses(&engines)));
    controller.stop().await;
    controller.start_again().await;
    wait_hosts(&envoy, &addresses(&engines)).await;
    wait_connected(&envoy).await;
}

#[tokio::test]
async fn an_envoy_without_the_token_learns_nothing_and_teaches_nothing() {
    let (engines, secrets) = (engines(1).await, Secrets::new());
    let controller = Controller::start_with(&pool(&addresses(&engines)), secrets.fields()).await;
    secrets.write("theirs/token", "secret-2");
    let bare = shipped(&[controller.addr()]).tls(secrets.path("ca.crt"));
    for (config, reason) in [(secured(&controller, &secrets), "wrong"), (bare, "absent")] {
        let envoy = start(&config, &Launch::default()).await;
        until("refused streams", async || {
            let closed = envoy.admin().stat("wasmcustom.warmpath.feed.closed").await.unwrap();
            (closed > 1).then_some(())
        })
        .await
        .unwrap();
        counted(&controller, &format!("unauthenticated_total{{reason=\"{reason}\"}}")).await;
        assert_eq!(hosts(&envoy).await, Vec::<String>::new());
        assert_eq!(envoy.admin().stat("wasmcustom.warmpath.feed.snapshot").await.unwrap(), 0);
        let client = Client::http1(gateway(&envoy).await);
        let response = client.post_json(PATH, &completion(MODEL, "hello")).await.unwrap();
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let page = Client::http1(controller.http_addr()).get("/metrics").await.unwrap().text();
    for line in ["proxies 0", "eds_streams 0"] {
        assert!(page.contains(&format!("warmpath_controller_{line}\n")), "{line}");
    }
}

#[tokio::test]
async fn an_envoy_that_does_not_believe_the_certificate_sends_no_token() {
    let (engines, secrets, other) = (engines(1).await, Secrets::new(), Secrets::new());
    let controller = Controller::start_with(&pool(&addresses(&engines)), secrets.fields()).await;
    let envoy = start(&secured(&controller, &other), &Launch::default()).await;
    counted(&controller, "handshakes_failed_total{reason=\"refused\"}").await;
    assert_eq!(hosts(&envoy).await, Vec::<String>::new());

    // Without TLS, too, nothing comes of it.
    let plaintext = shipped(&[controller.addr()]).token(secrets.path("theirs"));
    let envoy = start(&plaintext, &Launch::default()).await;
    counted(&controller, "handshakes_failed_total{reason=\"plaintext\"}").await;
    assert_eq!(hosts(&envoy).await, Vec::<String>::new());
}

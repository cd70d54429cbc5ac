//! TLS and a token between the chart's Envoys and its controllers: renewed while requests run, and what a proxy gets without.

use crate::gateway::{PORT, values};
use crate::load::{Load, add_engine, engines, rolled_out};
use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rcgen::{BasicConstraints, CertificateParams, CertifiedKey, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use warmpath_cluster::{Namespace, Release, pod_address, until};
use warmpath_http::Client;

/// The Secret with the certificate, as cert-manager writes it.
const TLS: &str = "controller-tls";

/// The Secret with the token.
const TOKEN: &str = "proxies-token";

/// The files of a certificate, by their names in the Secret.
type Files = BTreeMap<&'static str, String>;

/// An issuer of certificates.
struct Authority(CertifiedKey);

impl Authority {
    fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new([])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key_pair = KeyPair::generate()?;
        Ok(Self(CertifiedKey { cert: params.self_signed(&key_pair)?, key_pair }))
    }

    /// A new certificate for the controller's Service, with a new key.
    fn issue(&self, namespace: &str) -> anyhow::Result<Files> {
        let params = CertificateParams::new([format!("warmpath-controller.{namespace}.svc")])?;
        let key = KeyPair::generate()?;
        let CertifiedKey { cert, key_pair } = &self.0;
        let issued = params.signed_by(&key, cert, key_pair)?.pem();
        Ok(Files::from([("ca.crt", cert.pem()), ("tls.crt", issued), ("tls.key", key.serialize_pem())]))
    }
}

/// Applies the Secret of the certificate and that of the token.
async fn make_secrets(namespace: &Namespace, files: &Files) -> anyhow::Result<()> {
    let secret = |name: &str, kind: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "stringData": data});
    namespace.apply(secret(TLS, "kubernetes.io/tls", json!(files))).await?;
    namespace.apply(secret(TOKEN, "Opaque", json!({"token": "first"}))).await?;
    namespace.apply(secret("other-token", "Opaque", json!({"token": "guessed"}))).await.map(drop)
}

/// Changes these keys of a Secret.
async fn change(namespace: &Namespace, secret: &str, keys: Value) -> anyhow::Result<()> {
    let secrets: Api<Secret> = namespace.api();
    let patch = Patch::Merge(json!({"stringData": keys}));
    secrets.patch(secret, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Waits until a counter of each controller has at least this value.
async fn counted(release: &Release, counter: &str, least: u64) -> anyhow::Result<()> {
    let name = format!("warmpath_controller_{counter} ");
    until(&format!("{counter} of {least} in each controller"), async || {
        for controller in release.ready("controller", 2).await.ok()? {
            let page = release.metrics(&controller).await.ok()?;
            let value: u64 = page.lines().find_map(|line| line.strip_prefix(&name))?.parse().ok()?;
            if value < least {
                return None;
            }
        }
        Some(())
    })
    .await
}

/// Adds an engine, and waits until each Envoy sends requests to it.
async fn is_followed(load: &mut Load, namespace: &Namespace, count: u32, after: &str) -> anyhow::Result<()> {
    let new = add_engine(namespace, count).await?;
    for gateway in load.release.ready("gateway", 2).await? {
        let client = Client::http1(pod_address(&gateway, PORT)?);
        let mut number = 0;
        until(&format!("an Envoy that sends requests to {new}, {after}"), async || {
            number += 1;
            let prompt = format!("{after} {number}").repeat(100);
            let body =
                json!({"model": "llama", "max_tokens": 1, "messages": [{"role": "user", "content": prompt}]});
            let response = client.post_json("/v1/chat/completions", &body).await.ok()?;
            (response.header("x-engine") == Some(&new)).then_some(())
        })
        .await?;
    }
    load.goes_on(after).await
}

/// The values of a release whose gRPC port is secured.
fn secured() -> Value {
    let mut values = values();
    values["tls"] = json!({"secret": TLS});
    values["auth"] = json!({"tokenSecret": TOKEN});
    values
}

pub(crate) async fn no_request_is_lost_while_certificate_and_token_are_renewed(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let authority = Authority::new("authority 1")?;
    make_secrets(&namespace, &authority.issue(&namespace.name)?).await?;
    let mut load = Load::start(&namespace, engines(2), 2, &secured()).await?;
    let release = load.release.clone();

    let mut next = authority.issue(&namespace.name)?;
    let key = next.remove("tls.key");
    change(&namespace, TLS, json!(next)).await?;
    counted(&release, r#"secret_reloads_total{secret="certificate",result="refused"}"#, 1).await?;
    is_followed(&mut load, &namespace, 3, "a new certificate with the key of the old one").await?;
    change(&namespace, TLS, json!({"tls.key": key})).await?;
    counted(&release, r#"secret_reloads_total{secret="certificate",result="applied"}"#, 1).await?;
    is_followed(&mut load, &namespace, 4, "the new certificate's key").await?;
    // What an issuer does that signs each certificate by itself.
    let other = Authority::new("authority 2")?.issue(&namespace.name)?;
    change(&namespace, TLS, json!(other)).await?;
    counted(&release, r#"secret_reloads_total{secret="certificate",result="applied"}"#, 2).await?;
    is_followed(&mut load, &namespace, 5, "a certificate of another authority").await?;

    change(&namespace, TOKEN, json!({"token": "second"})).await?;
    counted(&release, r#"secret_reloads_total{secret="token",result="applied"}"#, 1).await?;
    is_followed(&mut load, &namespace, 6, "a new token").await?;

    // Those that start now know only the new ones.
    let restarted = namespace.kubectl(&["rollout", "restart", "deployment", "warmpath-controller"]).await?;
    ensure!(restarted.is_success, "{}", restarted.stderr);
    rolled_out(&namespace, "warmpath-controller").await?;
    is_followed(&mut load, &namespace, 7, "new controllers").await?;
    load.finish().await;
    Ok(())
}

pub(crate) async fn a_proxy_without_the_token_gets_nothing(namespace: Namespace) -> anyhow::Result<()> {
    make_secrets(&namespace, &Authority::new("authority")?.issue(&namespace.name)?).await?;
    let mut load = Load::start(&namespace, engines(2), 2, &secured()).await?;
    let mut with_another = secured();
    with_another["auth"] = json!({"tokenSecret": "other-token"});
    let mut with_none = secured();
    with_none["auth"] = json!({"enabled": false});
    for (name, reason, values) in [("guessing", "wrong", with_another), ("bare", "absent", with_none)] {
        for object in load.release.render(&values, &["gateway/config", "gateway/deployment"]).await? {
            namespace.apply(stranger(name, object)).await?;
        }
        refused(&load.release, reason).await?;
        let pod = namespace.pods(&format!("app={name}")).await?.into_iter().next().context("no pod")?;
        let command = ["/etc/warmpath/warmpath", "check", "--quiet", "--envoy", "http://127.0.0.1:9901"];
        let checked = until("a check of the proxy", async || {
            let done = namespace.exec(&pod, &command).await.ok()?;
            done.stdout.contains("feed.connected").then_some(done)
        })
        .await?;
        println!("a proxy whose token is {reason}:\n{}", checked.stdout);
        assert!(!checked.is_success, "an error is said in the exit status as well");
        assert_eq!(namespace.ready(&format!("app={name}"), 0).await?, [], "no Service leads to it");
        load.goes_on(&format!("beside a proxy whose token is {reason}")).await?;
    }
    load.finish().await;
    Ok(())
}

/// One of the objects of the chart's gateway, as those of somebody else's with the label `app: <name>`.
fn stranger(name: &str, mut object: Value) -> Value {
    object["metadata"] = json!({"name": name});
    if object["kind"] == "Deployment" {
        let spec = &mut object["spec"];
        spec["replicas"] = json!(1);
        spec["selector"] = json!({"matchLabels": {"app": name}});
        spec["template"]["metadata"] = json!({"labels": {"app": name}});
        for volume in spec["template"]["spec"]["volumes"].as_array_mut().into_iter().flatten() {
            if volume["name"] == "config" {
                volume["configMap"]["name"] = json!(name);
            }
        }
    }
    object
}

/// Waits until a controller has refused RPCs for this reason.
async fn refused(release: &Release, reason: &str) -> anyhow::Result<()> {
    let counter = format!("warmpath_controller_unauthenticated_total{{reason=\"{reason}\"}}");
    until(&format!("RPCs whose token is {reason}"), async || {
        for controller in release.ready("controller", 2).await.ok()? {
            if release.metrics(&controller).await.ok()?.contains(&counter) {
                return Some(());
            }
        }
        None
    })
    .await
}

//! The chart as `helm` installs, upgrades and removes it.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use warmpath_cluster::Namespace;

/// The Secret that the chart makes.
const TOKEN: &str = "warmpath-token";

pub(crate) async fn an_upgrade_keeps_the_token_and_an_uninstall_leaves_nothing(
    namespace: Namespace,
) -> anyhow::Result<()> {
    let release = namespace.install(&json!({"gateway": {"kind": "envoy"}})).await?;
    let secrets: Api<Secret> = namespace.api();
    let before = secrets.get(TOKEN).await?;
    assert!(
        before.data.as_ref().is_some_and(|data| data["token"].0.len() >= 32),
        "a token that nobody guesses"
    );
    release.upgrade(&json!({"gateway": {"kind": "envoy", "logLevel": "info"}})).await?;
    let after = secrets.get(TOKEN).await?;
    assert_eq!(after.data, before.data, "proxies outside the release have it, too");
    release.uninstall().await?;
    let labelled = ListParams::default().labels("app.kubernetes.io/instance=warmpath");
    assert!(secrets.list(&labelled).await?.items.is_empty());
    let maps: Api<ConfigMap> = namespace.api();
    assert!(maps.list(&labelled).await?.items.is_empty());
    Ok(())
}

//! The chart as `helm` installs, upgrades and removes it.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use warmpath_cluster::{Namespace, until};

/// The Secret that the chart makes.
const TOKEN: &str = "warmpath-token";
const CONTROLLER: &str = "app.kubernetes.io/component=controller";

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
    let controllers = release.ready("controller", 1).await?;
    release.uninstall().await?;
    until("the controller to end", async || namespace.pods(CONTROLLER).await.ok()?.is_empty().then_some(()))
        .await?;
    for controller in &controllers {
        // Its role goes before it does.
        let log = release.log(controller);
        assert!(log.contains("stopped") && !log.contains("ERROR"), "{log}");
    }
    let labelled = ListParams::default().labels("app.kubernetes.io/instance=warmpath");
    assert!(secrets.list(&labelled).await?.items.is_empty());
    let maps: Api<ConfigMap> = namespace.api();
    assert!(maps.list(&labelled).await?.items.is_empty());
    Ok(())
}

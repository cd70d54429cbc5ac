//! What containers read from the API server: ConfigMaps, Secrets and tokens of their service account.

use anyhow::Context;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use std::collections::BTreeMap;

/// Keys and their bytes.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// Lookups in one namespace.
#[derive(Clone)]
pub(super) struct Lookup {
    pub(super) client: Client,
    pub(super) namespace: String,
}

// === impl Lookup ===

impl Lookup {
    pub(super) async fn config_map(&self, name: &str, optional: Option<bool>) -> anyhow::Result<Data> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let Some(map) = api.get_opt(name).await? else {
            return missing("configmap", name, optional);
        };
        let texts = map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes()));
        let bytes = map.binary_data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0));
        Ok(texts.chain(bytes).collect())
    }

    pub(super) async fn secret(&self, name: &str, optional: Option<bool>) -> anyhow::Result<Data> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let Some(secret) = api.get_opt(name).await? else {
            return missing("secret", name, optional);
        };
        Ok(secret.data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0)).collect())
    }

    /// A token of the pod's service account.
    pub(super) async fn token(
        &self,
        account: &str,
        audience: Option<&String>,
        seconds: Option<i64>,
    ) -> anyhow::Result<Vec<u8>> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.cloned().into_iter().collect(),
                expiration_seconds: seconds,
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let made = api.create_token_request(account, &PostParams::default(), &request).await?;
        Ok(made.status.context("a token request without a token")?.token.into_bytes())
    }
}

fn missing(kind: &str, name: &str, optional: Option<bool>) -> anyhow::Result<Data> {
    if optional.unwrap_or_default() { Ok(Data::new()) } else { anyhow::bail!("{kind} {name:?} not found") }
}

//! Which pool a cluster of the proxy stands for, by the names that gateways give to clusters.
//!
//! A weighted route leads to one cluster for each pool, and the proxy draws one for each request before it calls the filter. It
//! would ignore an endpoint of any other cluster. Only the cluster's name shows which pool was drawn, because filters do not see
//! what is in a cluster.

/// Separates the name of an InferencePool from its hash in the name of the Service that Istio creates for it.
const ISTIO_POOL_MARK: &str = "-ip-";
/// Digits of that hash.
const ISTIO_HASH_DIGITS: usize = 8;
/// The longest name of a Service; Istio cuts the pool's name so that its own is no longer.
const SERVICE_NAME_BYTES_MAX: usize = 63;

/// The cluster that has the endpoints of all pools, in the installs that this project ships.
pub const EVERY_POOL_CLUSTER: &str = "engines";

/// Whether the cluster has the endpoints of the pool: it has the pool's name, or it is Istio's cluster for the InferencePool or
/// the Service of a pool that is called `namespace/name`.
pub(crate) fn stands_for(cluster: &str, pool: &str) -> bool {
    cluster == pool
        || pool.split_once('/').is_some_and(|(namespace, name)| {
            istio_service(cluster).is_some_and(|service| {
                service.1 == namespace && (service.0 == name || is_made_for(service.0, name))
            })
        })
}

/// Name and namespace of the Service behind `outbound|8000||name.namespace.svc.cluster.local`.
fn istio_service(cluster: &str) -> Option<(&str, &str)> {
    let mut parts = cluster.strip_prefix("outbound|")?.split('|');
    let (_port, _subset, host) = (parts.next()?, parts.next()?, parts.next()?);
    let (name, rest) = host.split_once('.')?;
    let (namespace, domain) = rest.split_once('.')?;
    (domain == "svc" || domain.starts_with("svc.")).then_some((name, namespace))
}

/// Whether Istio made the Service for the InferencePool. The hash says no more than the name, unless that was cut.
fn is_made_for(service: &str, pool: &str) -> bool {
    service.rsplit_once(ISTIO_POOL_MARK).is_some_and(|(name, hash)| {
        let is_hash = hash.len() == ISTIO_HASH_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_cut = service.len() == SERVICE_NAME_BYTES_MAX && pool.starts_with(name);
        is_hash && (name == pool || is_cut)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_stands_for_the_pool_that_its_name_shows() {
        let long = "a".repeat(60);
        let cut = format!("outbound|54321||{}-ip-0a1b2c3d.llm.svc.cluster.local", &long[..51]);
        let long = format!("llm/{long}");
        for (cluster, pool) in [
            ("llm/llama", "llm/llama"),
            ("engines", "engines"),
            ("outbound|54321||llama-ip-27cac550.llm.svc.cluster.local", "llm/llama"),
            ("outbound|54322|v1|llama-ip-27cac550.llm.svc.example.org", "llm/llama"),
            ("outbound|8000||llama.llm.svc.cluster.local", "llm/llama"),
            ("outbound|8000||a-ip-b-ip-27cac550.llm.svc.cluster.local", "llm/a-ip-b"),
            (&cut, &long),
        ] {
            assert!(stands_for(cluster, pool), "{cluster}: {pool}");
        }
    }

    #[test]
    fn a_cluster_of_another_form_stands_for_no_pool() {
        for cluster in [
            "",
            "llama",
            "llm/llama-2",
            "httproute/llm/llama/rule/0",
            "inbound|8000||llama.llm.svc.cluster.local",
            "outbound|8000||llama.other.svc.cluster.local",
            "outbound|8000||llama-2.llm.svc.cluster.local",
            "outbound|8000||llama.llm",
            "outbound|8000|",
            "outbound|54321||llama-ip-27cac55.llm.svc.cluster.local",
            "outbound|54321||llama-ip-27cac55x.llm.svc.cluster.local",
            "outbound|54321||lla-ip-27cac550.llm.svc.cluster.local",
            "outbound|443||llm/llama",
        ] {
            assert!(!stands_for(cluster, "llm/llama"), "{cluster}");
        }
    }
}

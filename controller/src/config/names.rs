//! Host names of engines -> their current addresses.
//!
//! Resolved every few seconds, because the name of a headless Service follows its pods. While a name cannot be resolved, its last
//! addresses stay: engines do not disappear with their name server.

use super::{Pool, Settings};
use fnv::{FnvHashMap, FnvHashSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use warmpath_config::{Host, Member, NamedMembers};
use warmpath_core::limits::ENDPOINTS_MAX;

/// Time between two resolutions of a name.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long all names together may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What each name was last resolved to.
#[derive(Debug, Default)]
pub struct Names {
    addresses: FnvHashMap<Host, Vec<SocketAddr>>,
    failing: FnvHashSet<Host>,
}

// === impl Names ===

impl Names {
    /// Resolves all names of `settings`, and forgets others. Returns whether anything has changed.
    pub async fn resolve(&mut self, settings: &Settings) -> bool {
        let hosts: Vec<Host> = hosts(settings).cloned().collect();
        self.addresses.retain(|host, _| hosts.contains(host));
        self.failing.retain(|host| hosts.contains(host));
        let lookups: Vec<_> = hosts
            .into_iter()
            .map(|host| {
                let query = (host.name.clone(), host.port);
                let lookup = async move { tokio::net::lookup_host(query).await.map(Iterator::collect) };
                (host, tokio::spawn(tokio::time::timeout(RESOLVE_TIMEOUT, lookup)))
            })
            .collect();
        let mut has_changed = false;
        for (host, lookup) in lookups {
            let found = match lookup.await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) | Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            has_changed |= self.take(&host, found);
        }
        has_changed
    }

    /// Whether each name of `settings` was resolved at least once.
    pub fn are_known(&self, settings: &Settings) -> bool {
        hosts(settings).all(|host| self.addresses.contains_key(host))
    }

    /// The pools with the addresses of their names. An address that is in a pool already is not added to another one.
    pub fn expand(&self, pools: &[Pool]) -> Vec<Pool> {
        let mut taken: FnvHashSet<SocketAddr> =
            pools.iter().flat_map(|pool| &pool.endpoints).map(|member| member.address).collect();
        let expand = |pool: &Pool| {
            let mut pool = pool.clone();
            for NamedMembers { host, role } in &pool.hosts {
                for address in self.addresses.get(host).into_iter().flatten() {
                    if taken.len() < ENDPOINTS_MAX && taken.insert(*address) {
                        pool.endpoints.push(Member { role: *role, ..Member::from(*address) });
                    }
                }
            }
            pool
        };
        pools.iter().map(expand).collect()
    }

    /// Applies the result of a resolution. Returns whether it differs from the last success.
    fn take(&mut self, host: &Host, found: io::Result<Vec<SocketAddr>>) -> bool {
        let found = found.and_then(|mut found| {
            // An engine with both kinds of addresses is one engine.
            if found.iter().any(SocketAddr::is_ipv4) {
                found.retain(SocketAddr::is_ipv4);
            }
            found.sort_unstable();
            found.dedup();
            if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
        });
        match found {
            Ok(found) => {
                if self.failing.remove(host) {
                    tracing::info!(%host, "host name is resolved again");
                }
                self.addresses.insert(host.clone(), found.clone()) != Some(found)
            }
            Err(error) => {
                if self.failing.insert(host.clone()) {
                    let kept = self.addresses.get(host).map_or(0, Vec::len);
                    tracing::warn!(%host, %error, kept, "host name is not resolved, its last addresses stay");
                }
                false
            }
        }
    }
}

fn hosts(settings: &Settings) -> impl Iterator<Item = &Host> {
    settings.pools.iter().flat_map(|pool| &pool.hosts).map(|named| &named.host)
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::config::{Listen, Pool, Settings};
    use std::io;
    use std::net::SocketAddr;
    use warmpath_config::Host;
    use warmpath_core::wire::Role;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn endpoints(names: &Names, settings: &Settings) -> Vec<Vec<SocketAddr>> {
        let addresses = |pool: Pool| pool.endpoints.iter().map(|member| member.address).collect();
        names.expand(&settings.pools).into_iter().map(addresses).collect()
    }

    #[test]
    fn a_name_stands_for_its_last_good_addresses() {
        let settings = Settings::parse(
            "pools: [{name: a, models: [a], endpoints: [\"10.0.0.1:80\", \"A.svc:80\"]}, \
             {name: b, models: [b], endpoints: [\"b.svc:80\"]}]",
        )
        .unwrap();
        let [a, b]: [Host; 2] = ["a.svc:80", "b.svc:80"].map(|text| text.parse().unwrap());
        let mut names = Names::default();
        assert_eq!(endpoints(&names, &settings), [addresses(&["10.0.0.1:80"]), vec![]]);
        assert!(!names.are_known(&settings));
        assert!(names.take(&a, Ok(addresses(&["10.0.0.3:80", "10.0.0.2:80", "[::2]:80", "10.0.0.3:80"]))));
        assert!(names.take(&b, Ok(addresses(&["10.0.0.3:80", "10.0.0.4:80"]))));
        let wanted = [addresses(&["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]), addresses(&["10.0.0.4:80"])];
        assert_eq!(endpoints(&names, &settings), wanted, "an address is in one pool only");
        assert!(names.are_known(&settings));
        assert!(!names.take(&a, Ok(addresses(&["10.0.0.2:80", "10.0.0.3:80"]))), "in another order");
        assert!(!names.take(&a, Err(io::ErrorKind::TimedOut.into())));
        assert!(!names.take(&a, Ok(Vec::new())), "no address is no response");
        assert_eq!(endpoints(&names, &settings), wanted);
        assert!(names.take(&a, Ok(addresses(&["10.0.0.2:80"]))), "a pod has gone");
    }

    #[test]
    fn the_addresses_of_a_name_take_the_legs_of_its_list() {
        let settings = Settings::parse(
            "pools: [{name: a, models: [a], prefill: [\"p.svc:80\"], decode: [\"d.svc:80\"], transfer: {protocol: nixl}}]",
        )
        .unwrap();
        let mut names = Names::default();
        names.take(&"p.svc:80".parse().unwrap(), Ok(addresses(&["10.0.0.1:80", "10.0.0.2:80"])));
        names.take(&"d.svc:80".parse().unwrap(), Ok(addresses(&["10.0.0.3:80"])));
        let [pool] = names.expand(&settings.pools).try_into().unwrap();
        let roles: Vec<Role> = pool.endpoints.iter().map(|member| member.role).collect();
        assert_eq!(roles, [Role::Prefill, Role::Prefill, Role::Decode]);
        assert_eq!(pool.transfer, settings.pools[0].transfer);
    }

    #[tokio::test]
    async fn names_that_are_not_configured_any_more_are_forgotten() {
        let mut names = Names::default();
        names.take(&"a.svc:80".parse().unwrap(), Ok(addresses(&["10.0.0.2:80"])));
        let any = "127.0.0.1:0".parse().unwrap();
        assert!(!names.resolve(&Settings::new(Listen { grpc: any, http: any })).await);
        assert!(names.addresses.is_empty());
    }
}

//! Which pods' engines may sleep, and which of them should, from what the watches show and what the scaler asks for. Pure.
//!
//! Whoever sleeps and should no more is woken, also where the ModelService has changed meanwhile so that nobody scales it, or where it
//! is refused: what runs stays as it is then, and an engine that sleeps does not run.

use super::plan::Target;
use crate::config::ObjectName;
use crate::deploy::seen::{engines, services};
use crate::scale::{Scaled, Scaling};
use crate::watch::{EnginePod, Facts};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use warmpath_deploy::api::{ModelServiceSpec, RoleName};
use warmpath_deploy::plan::{HTTP_PORT, Sleep, policy, ports, sleep};

/// The pods whose engines may sleep.
pub(in crate::deploy) type Targets = BTreeMap<ObjectName, Target>;

/// What a ModelService asks of its engines.
struct Asks<'a> {
    sleep: Option<Sleep>,
    /// The roles, with the ports of the engines in a pod.
    ports: BTreeMap<RoleName, Vec<u16>>,
    /// Whether the scaler asks for replicas, sooner or later.
    is_scaled: bool,
    scaling: Option<&'a Scaling>,
}

/// The pods whose engines may sleep, and which of them should.
pub(in crate::deploy) fn targets(facts: &Facts, scaled: &Scaled) -> Targets {
    let ask = |(name, service): (&ObjectName, _)| (name.clone(), Asks::of(&service, scaled.get(name)));
    let services: BTreeMap<ObjectName, Asks<'_>> =
        services(facts).map(|(name, service)| (name, service.spec)).map(ask).collect();
    let target = |(name, pod): (&ObjectName, &EnginePod)| {
        let of = ObjectName { namespace: name.namespace.clone(), name: pod.service.clone() };
        let target = services.get(&of)?.target(of, pod)?;
        Some((name.clone(), target))
    };
    engines(facts).filter_map(target).collect()
}

// === impl Asks ===

impl<'a> Asks<'a> {
    fn of(spec: &ModelServiceSpec, scaling: Option<&'a Scaling>) -> Self {
        let is_scaled = !spec.autoscaling.external && matches!(policy(spec), Ok(Some(_)));
        Self { sleep: sleep(spec), ports: ports(spec), is_scaled, scaling }
    }

    fn target(&self, service: ObjectName, pod: &EnginePod) -> Option<Target> {
        let is_there = pod.is_endpoint && !pod.is_leaving && (pod.is_ready || pod.asleep.is_some());
        if !is_there {
            return None;
        }
        let role = self.ports.iter().find(|(role, _)| role.as_str() == pod.role);
        let level = match (&self.sleep, pod.asleep) {
            (Some(sleep), _) => sleep.level,
            (None, asleep) => asleep?.level,
        };
        let (ip, ports) = (pod.ip?, role.map_or([HTTP_PORT].as_slice(), |(_, ports)| ports));
        Some(Target {
            service,
            level,
            sleeps: self.sleeps(role.map(|(role, _)| *role))?,
            labelled: pod.asleep,
            restarts: pod.restarts,
            is_ready: pod.is_ready,
            addresses: ports.iter().map(|port| SocketAddr::new(ip, *port).to_string()).collect(),
        })
    }

    /// Whether engines of a role, if it is still one, should sleep; `None`: they stay as they are.
    fn sleeps(&self, role: Option<RoleName>) -> Option<bool> {
        let replicas = self.scaling.and_then(|scaling| Some(scaling.roles.get(&role?)?.replicas));
        match (&self.sleep, replicas) {
            (Some(_), Some(replicas)) => Some(replicas == 0),
            // The scaler has yet to see how much is wanted.
            (Some(_), None) if self.is_scaled && role.is_some() => None,
            // They leave.
            (None, Some(0)) => None,
            _ => Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asks, EnginePod, ObjectName, RoleName, Scaling, Target};
    use crate::scale::RoleScaling;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;
    use warmpath_deploy::plan::Asleep;

    fn target(autoscaling: &Value, replicas: Option<i32>, asleep: Option<Asleep>) -> Option<Target> {
        let spec = json!({
            "model": {"name": "m"}, "autoscaling": autoscaling,
            "roles": {"serve": {"replicas": {"min": 0, "max": 4}, "hardware": {"gpu": {"type": "nvidia-h100"}}}},
        });
        let roles = replicas.map(|replicas| {
            BTreeMap::from([(RoleName::Serve, RoleScaling { replicas, ..RoleScaling::default() })])
        });
        let scaling = roles.map(|roles| Scaling { roles, ..Scaling::default() });
        let pod = EnginePod {
            role: "serve".to_owned(),
            asleep,
            is_endpoint: true,
            is_ready: true,
            ip: Some([10, 0, 0, 1].into()),
            ..EnginePod::default()
        };
        let service = ObjectName { namespace: "llm".to_owned(), name: "m".to_owned() };
        Asks::of(&serde_json::from_value(spec).unwrap(), scaling.as_ref()).target(service, &pod)
    }

    fn sleeps(autoscaling: &Value, replicas: Option<i32>) -> Option<bool> {
        target(autoscaling, replicas, Some(Asleep::at(2))).map(|target| target.sleeps)
    }

    #[test]
    fn engines_sleep_while_no_replica_is_wanted_and_stay_as_they_are_before_that_is_known() {
        let sleeping = json!({"enabled": true, "scaleToZero": true, "sleepLevel": 1});
        assert_eq!(sleeps(&sleeping, Some(0)), Some(true));
        assert_eq!(sleeps(&sleeping, Some(2)), Some(false));
        assert_eq!(sleeps(&sleeping, None), None);
    }

    #[test]
    fn engines_that_sleep_are_woken_where_their_model_is_not_scaled_any_more() {
        for autoscaling in [
            json!({"enabled": false, "scaleToZero": true, "sleepLevel": 1}),
            json!({"external": true, "scaleToZero": true, "sleepLevel": 1}),
            json!({"enabled": true, "scaleToZero": false, "sleepLevel": 1}),
            json!({"enabled": true, "scaleToZero": true, "idleSeconds": 0, "sleepLevel": 1}),
            json!({"enabled": true}),
            json!({}),
        ] {
            let found = target(&autoscaling, None, Some(Asleep::at(2))).unwrap();
            assert_eq!((found.sleeps, found.labelled), (false, Some(Asleep::at(2))), "{autoscaling}");
            assert_eq!(found.addresses, ["10.0.0.1:8000"]);
        }
    }

    #[test]
    fn engines_that_may_not_sleep_are_nobodys_concern_while_they_serve_or_leave() {
        let leaving = json!({"enabled": true, "scaleToZero": true});
        assert_eq!(sleeps(&leaving, Some(0)), None, "they leave");
        assert_eq!(sleeps(&leaving, Some(1)), Some(false));
        assert_eq!(target(&leaving, Some(1), None), None);
    }
}

//! Which objects a patch matches.

use serde_json::Value;

/// Where a proxy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A gateway.
    Gateway,
    /// A sidecar, for what its pod sends.
    SidecarOutbound,
}

// === impl Context ===

impl Context {
    const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "GATEWAY",
            Self::SidecarOutbound => "SIDECAR_OUTBOUND",
        }
    }

    /// Whether a patch is for this one.
    pub(super) fn is_of(self, patch: &Value) -> bool {
        let of_patch = patch.pointer("/match/context").and_then(Value::as_str).unwrap_or("ANY");
        of_patch == "ANY" || of_patch == self.name()
    }
}

/// Whether the field of a match is absent, or equal to this value.
fn is_free_or(found: Option<&Value>, value: Option<&Value>) -> bool {
    found.is_none_or(|wanted| Some(wanted) == value)
}

pub(super) fn listener(patch: &Value, listener: &Value) -> bool {
    let wanted = |field: &str| patch.pointer(&format!("/match/listener/{field}"));
    is_free_or(wanted("name"), listener.get("name"))
        && is_free_or(wanted("portNumber"), listener.pointer("/address/socket_address/port_value"))
}

pub(super) fn network_filter(patch: &Value, filter: &Value) -> bool {
    is_free_or(patch.pointer("/match/listener/filterChain/filter/name"), filter.get("name"))
}

pub(super) fn http_filter(patch: &Value, filter: &Value) -> bool {
    is_free_or(patch.pointer("/match/listener/filterChain/filter/subFilter/name"), filter.get("name"))
}

/// A cluster's name is `outbound|PORT|SUBSET|SERVICE`.
pub(super) fn cluster(patch: &Value, cluster: &Value) -> bool {
    let name = cluster.get("name").and_then(Value::as_str).unwrap_or_default();
    let mut parts = name.splitn(4, '|').skip(1);
    let port = parts.next().and_then(|port| port.parse::<u16>().ok()).map(Value::from);
    let service = parts.nth(1).map(Value::from);
    let wanted = |field: &str| patch.pointer(&format!("/match/cluster/{field}"));
    is_free_or(wanted("name"), cluster.get("name"))
        && is_free_or(wanted("service"), service.as_ref())
        && is_free_or(wanted("portNumber"), port.as_ref())
}

pub(super) fn route_configuration(patch: &Value, routes: &Value) -> bool {
    is_free_or(patch.pointer("/match/routeConfiguration/name"), routes.get("name"))
}

pub(super) fn virtual_host(patch: &Value, host: &Value) -> bool {
    is_free_or(patch.pointer("/match/routeConfiguration/vhost/name"), host.get("name"))
}

pub(super) fn route(patch: &Value, route: &Value) -> bool {
    let wanted = |field: &str| patch.pointer(&format!("/match/routeConfiguration/vhost/route/{field}"));
    let action =
        ["route", "redirect", "direct_response"].into_iter().find(|action| route.get(action).is_some());
    let action = action.map(|action| Value::from(action.to_uppercase()));
    is_free_or(wanted("name"), route.get("name")) && is_free_or(wanted("action"), action.as_ref())
}

//! One Envoy process: its VMs, their configuration, and time.

use serde_json::{Value, json};
use std::time::Duration;
use warmpath_host::{Host, LogLevel, Vm};

/// The controller's cluster in every configuration that has a controller.
pub(crate) const CLUSTER: &str = "warmpath_controller";

/// Time between two looks at the lease, and a little more than the first retry of the stream.
const STEP: Duration = Duration::from_millis(250);

/// A configured VM with the filter as it ships.
pub(crate) fn vm(host: &Host, configuration: &Value) -> Vm {
    let vm = host.vm(&super::filter()).unwrap();
    assert!(vm.configure(configuration.to_string().as_bytes()).unwrap(), "{:#?}", host.log());
    vm
}

/// Addresses of `count` engines.
pub(crate) fn endpoints(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("10.0.{}.{}:8000", at / 250, at % 250 + 1)).collect()
}

/// One pool `llama` with the adapter `sql`, without a controller, and decisions that explain themselves.
pub(crate) fn static_config(count: usize) -> Value {
    json!({
        "pools": [{"name": "llama", "models": ["llama"], "adapters": ["sql"], "endpoints": endpoints(count)}],
        "explain": true,
    })
}

/// Two pools of an engine each, which share the name `llama`: each has a model of its own for it.
pub(crate) fn sharing_config(names: [&str; 2]) -> Value {
    let pool = |(name, endpoint): (&str, String)| {
        let model = format!("model-of-{name}");
        let rewrites = json!([{"model": "llama", "targets": [{"model": model}]}]);
        json!({"name": name, "models": [model], "rewrites": rewrites, "endpoints": [endpoint]})
    };
    json!({ "pools": names.into_iter().zip(endpoints(2)).map(pool).collect::<Vec<_>>() })
}

/// Lets a moment pass in which every VM has its tick.
pub(crate) fn step(host: &Host, vms: &[&Vm]) {
    host.advance(STEP);
    for vm in vms {
        vm.tick().unwrap();
    }
}

/// A counter's value, after the tick on which the VMs publish it; zero before the first count.
pub(crate) fn counted(host: &Host, vms: &[&Vm], name: &str) -> u64 {
    for vm in vms {
        // A VM that has trapped publishes nothing more.
        let _ = vm.tick();
    }
    host.metric(name).unwrap_or(0)
}

/// What every test ends with: nothing that Envoy leaves undefined was done, no VM was lost, no stream leaked.
pub(crate) fn assert_clean(host: &Host, vms: &[&Vm]) {
    for vm in vms {
        assert!(vm.violations().is_empty(), "{:?}", vm.violations());
        assert_eq!(vm.trap(), None);
    }
    assert_eq!(host.log_from(LogLevel::Critical), [""; 0]);
}

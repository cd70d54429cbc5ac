//! Builds the guest of these tests once, and reads its log.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use warmpath_host::{Host, LogLevel, Module, Stream, Vm};

static FIXTURE: LazyLock<Module> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("host-fixture");
    let built = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixture"))
        .args(["build", "--locked", "--target", "wasm32-wasip1", "--target-dir"])
        .arg(&target)
        // Flags that are meant for the machine would be passed on to the guest.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .unwrap();
    assert!(built.success(), "the fixture does not build");
    Module::load(target.join("wasm32-wasip1/debug/warmpath_host_fixture.wasm")).unwrap()
});

pub(crate) fn module() -> Module {
    FIXTURE.clone()
}

/// A configured VM whose log starts empty.
pub(crate) fn vm(host: &Host, configuration: &str) -> Vm {
    let vm = host.vm(&module()).unwrap();
    assert!(vm.configure(configuration.as_bytes()).unwrap());
    host.clear_log();
    vm
}

/// A stream whose headers ask the guest to do something.
pub(crate) fn stream(vm: &Vm, what: &str, end_of_stream: bool) -> Stream {
    let mut stream = vm.request();
    stream.headers(&[(":path", "/v1"), ("x-do", what)], end_of_stream).unwrap();
    stream
}

/// The lines that the guest has logged since the last call.
pub(crate) fn logged(host: &Host) -> Vec<String> {
    let lines = host.log_from(LogLevel::Info);
    host.clear_log();
    lines
}

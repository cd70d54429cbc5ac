//! Modules: what they import and export, and what is refused.

use crate::fixture;
use warmpath_host::{Action, Host, LoadError, Module, StartError};

#[test]
fn imports_and_exports_are_listed_by_name() {
    let module = fixture::module();
    let imports = module.imports();
    assert!(imports.iter().any(|import| import.module == "env" && import.name == "proxy_log"));
    assert!(imports.iter().any(|import| import.module == "wasi_snapshot_preview1"));
    assert!(module.exports().contains(&"proxy_abi_version_0_2_1".to_owned()));
}

#[test]
fn an_import_that_envoy_lacks_is_refused_by_name() {
    let wat =
        br#"(module (import "wasi_snapshot_preview1" "path_open" (func)) (memory (export "memory") 1))"#;
    let module = Module::compile(wat).unwrap();
    let Err(StartError::Instantiate(why)) = Host::default().vm(&module) else { panic!("it started") };
    assert!(why.contains("path_open"), "{why}");
}

#[test]
fn a_module_without_callbacks_lets_everything_through() {
    let module = Module::compile(br#"(module (memory (export "memory") 1))"#).unwrap();
    let vm = Host::default().vm(&module).unwrap();
    assert!(vm.configure(b"").unwrap());
    let mut stream = vm.request();
    assert_eq!(stream.headers(&[(":path", "/")], false).unwrap(), Action::Continue);
    stream.body(b"one", true).unwrap();
    assert_eq!(stream.upstream().body, b"one");
    stream.finish().unwrap();
}

#[test]
fn a_pointer_out_of_the_guests_memory_is_a_status_not_a_crash() {
    let wat = br#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
            (i32.eq (call $log (i32.const 2) (i32.const -8) (i32.const 16)) (i32.const 6))))"#;
    let vm = Host::default().vm(&Module::compile(wat).unwrap()).unwrap();
    assert!(vm.configure(b"").unwrap(), "InvalidMemoryAccess is 6");
}

#[test]
fn a_file_that_is_not_there_or_no_module_is_an_error() {
    assert!(matches!(Module::load("no/such.wasm"), Err(LoadError::Read { .. })));
    assert!(matches!(Module::compile(b"(module"), Err(LoadError::Compile(_))));
}

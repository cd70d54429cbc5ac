//! A Wasm filter that does nothing, so that Envoy's handling of filters can be tried without ours.

use std::path::PathBuf;
use tempfile::TempDir;

/// The longest plugin configuration that the stub accepts: a longer one shows what Envoy makes of a refusal.
pub(crate) const PLUGIN_BYTES_MAX: usize = 1000;

/// The least of a proxy-wasm module: the exports without which Envoy does not load it.
const WAT: &str = r#"
(module
  (memory (export "memory") 4)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (i32.le_u (local.get 1) (i32.const 1000))))
"#;

/// The stub as a file.
pub(crate) struct StubWasm {
    folder: TempDir,
}

// === impl StubWasm ===

impl StubWasm {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stub = Self { folder };
        std::fs::write(stub.path(), wat::parse_str(WAT).unwrap()).unwrap();
        stub
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("stub.wasm")
    }
}

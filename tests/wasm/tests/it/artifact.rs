//! The file itself: what it asks of its host, and its size.

use crate::support::{filter, filter_bytes, static_config, vm};
use warmpath_host::Host;

/// The WASI functions that every Envoy since 1.35 offers, with V8 and with wasmtime.
const WASI_OFFERED: [&str; 6] =
    ["clock_time_get", "environ_get", "environ_sizes_get", "fd_write", "proc_exit", "random_get"];

/// The file is fetched and compiled by every proxy that starts: 1.55 MB, of which the reading of odd forms and of streams that end empty,
/// and the times to wake, were the last 30 KB.
const FILE_BYTES_MAX: usize = 1_550_000;

/// Linear memory of a VM that has only been configured: there is one for each worker thread.
const MEMORY_BYTES_IDLE_MAX: usize = 4 << 20;

#[test]
fn wasi_imports_are_those_that_every_envoy_offers() {
    let imports = filter().imports();
    for import in imports.iter().filter(|import| import.module != "env") {
        assert_eq!(import.module, "wasi_snapshot_preview1");
        assert!(WASI_OFFERED.contains(&import.name.as_str()), "{} is not offered", import.name);
    }
    let others = imports.iter().filter(|import| import.module == "env");
    for import in others {
        assert!(import.name.starts_with("proxy_"), "{} is no function of the ABI", import.name);
    }
}

#[test]
fn file_is_small() {
    let bytes = filter_bytes().len();
    assert!(bytes <= FILE_BYTES_MAX, "{bytes} bytes");
}

/// `v128.const`, as the code of a module encodes it.
const SIMD_CODE: [u8; 2] = [0xFD, 0x0C];
/// How often it does where hashing and searching are built with SIMD: without it, never.
const SIMD_CODES_MIN: usize = 50;

#[test]
fn prompts_are_hashed_with_simd() {
    let codes = filter_bytes().windows(2).filter(|code| *code == SIMD_CODE).count();
    assert!(codes >= SIMD_CODES_MIN, "{codes}: was RUSTFLAGS set, which hides .cargo/config.toml?");
}

#[test]
fn abi_is_the_one_that_the_host_speaks() {
    let exports = filter().exports();
    assert!(exports.contains(&"proxy_abi_version_0_2_1".to_owned()), "{exports:?}");
}

#[test]
fn memory_of_an_idle_vm_is_small() {
    let host = Host::default();
    let vm = vm(&host, &static_config(4));
    assert!(vm.memory_bytes() <= MEMORY_BYTES_IDLE_MAX, "{} bytes", vm.memory_bytes());
    crate::support::assert_clean(&host, &[&vm]);
}

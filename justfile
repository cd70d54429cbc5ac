# The one interface of the project; CI calls the same recipes. `./just` brings the runner and lists them.

set shell := ["sh", "-euc"]

target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
wasm := target / "wasm32-wasip1/wasm/warmpath_router.wasm"
wasm_faulty := target / "fault-injection/wasm32-wasip1/wasm/warmpath_router.wasm"
export WARMPATH_WASM := env("WARMPATH_WASM", wasm)
export WARMPATH_WASM_FAULTY := env("WARMPATH_WASM_FAULTY", wasm_faulty)

# Lists the recipes.
default:
    @{{ just_executable() }} --list --unsorted

# --- use -------------------------------------------------------------------------------------------

# Plays a workload through plain Envoy, then through Warmpath, and shows what it gained.
demo *args: wasm envoy
    cargo run --quiet --release -p warmpath-demo -- demo {{ args }}

# Starts engines, controller and Envoy, prints curl lines, and stays until Ctrl-C.
up *args: wasm envoy
    cargo run --quiet --release -p warmpath-demo -- up {{ args }}

# Plays a recorded trace side by side: ./just replay --trace FILE (Mooncake .jsonl or Azure .csv).
replay *args: wasm envoy
    cargo run --quiet --release -p warmpath-demo -- replay {{ args }}

# Measures the filter's processor time beside the same Envoy with its buffer filter.
cost *args: wasm envoy
    cargo run --quiet --release -p warmpath-demo -- cost {{ args }}

# Builds the filter and the controller into dist/, with their sha256.
build: wasm
    cargo build --release -p warmpath
    mkdir -p dist
    cp {{ wasm }} dist/warmpath-router.wasm
    cp {{ target }}/release/warmpath dist/warmpath
    cd dist && sha256sum warmpath-router.wasm warmpath > SHA256SUMS && cat SHA256SUMS

# --- parts -----------------------------------------------------------------------------------------

# Builds the filter.
wasm:
    cargo build --quiet -p warmpath-router --target wasm32-wasip1 --profile wasm

# Builds the filter that can be made to trap, for tests.
wasm-faulty:
    cargo build --quiet -p warmpath-router --target wasm32-wasip1 --profile wasm --features fault-injection --target-dir {{ target }}/fault-injection

# Installs the real Envoy that tests and demo run.
envoy:
    @tests/envoy/install-envoy > /dev/null

# --- check -----------------------------------------------------------------------------------------

# All tests, cheapest first. tests/README.md tells the tiers.
test: test-core test-engine test-controller test-host test-wasm test-envoy test-demo test-tidy

# The core: unit, property and golden tests.
test-core:
    cargo test --quiet -p warmpath-core

# The simulated engine.
test-engine:
    cargo test --quiet -p warmpath-engine

# The controller against fake engines and real streams.
test-controller:
    cargo test --quiet -p warmpath

# The proxy-wasm host.
test-host:
    cargo test --quiet -p warmpath-host

# The built filter in that host.
test-wasm: wasm wasm-faulty
    cargo test --quiet -p warmpath-wasm-tests

# The built filter in a real Envoy.
test-envoy: wasm wasm-faulty envoy
    cargo test --quiet -p warmpath-envoy

# The demo's own parts, and a small demo run.
test-demo: wasm envoy
    cargo test --quiet -p warmpath-demo

# What rots: module docs, file lengths, paths in docs.
test-tidy:
    cargo test --quiet -p warmpath-tidy

# Formatting, lints on both targets, documentation links.
lint:
    cargo fmt --all --check
    cargo clippy --quiet --workspace --exclude warmpath-router --all-targets -- -D warnings
    cargo clippy --quiet -p warmpath-core -p warmpath-router --target wasm32-wasip1 -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps -p warmpath-core -p warmpath -p warmpath-engine -p warmpath-host -p warmpath-envoy

# Formats the code.
fmt:
    cargo fmt --all

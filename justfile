# The only interface of the project; CI calls the same recipes. `./just` installs the runner and lists them.

set shell := ["sh", "-euc"]

target := env("CARGO_TARGET_DIR", justfile_directory() / "target")
wasm_built := target / "wasm32-wasip1/wasm/warmpath_router.wasm"
wasm := target / "wasm/warmpath-router.wasm"
wasm_faulty := target / "wasm/warmpath-router-faulty.wasm"
musl := arch() + "-unknown-linux-musl"
machete_version := "0.9.2"
deny_version := "0.20.2"
export WARMPATH_WASM := env("WARMPATH_WASM", wasm)
export WARMPATH_WASM_FAULTY := env("WARMPATH_WASM_FAULTY", wasm_faulty)

# Lists the recipes.
default:
    @{{ just_executable() }} --list --unsorted

# --- use -------------------------------------------------------------------------------------------

# Runs a workload through plain Envoy, then through Warmpath: two minutes; ./just demo k8s: in a Kubernetes cluster; ./just demo pd: prefill and decode apart; ./just demo agents: waiting in the proxy; ./just demo scale: engines that follow a day's demand.
demo *args: (announce "warmpath-lab") wasm envoy
    @case " {{ args }} " in *" k8s "* | *" scale "*) tests/cluster/install-control-plane > /dev/null && cargo build --release -p warmpath -p warmpath-engine ;; esac
    cargo run --release -p warmpath-lab -- demo {{ args }}

# Makes parts fail while clients talk, and shows what they notice: eight minutes; --full takes ten more.
faults *args: (announce "warmpath-lab") wasm wasm-faulty envoy
    cargo run --release -p warmpath-lab -- faults {{ args }}

# Starts engines, controller and Envoy until Ctrl-C: ./just up --port-base 7000, or --engines 10.0.0.1:8000,10.0.0.2:8000
[no-exit-message]
up *args: (announce "warmpath-lab") wasm envoy
    cargo build --release -p warmpath-lab
    @# Not `cargo run`, and no exit message: Ctrl-C is the normal end.
    {{ target }}/release/warmpath-lab up {{ args }}

# Explains where a request would go, and why: ./just explain --proxy http://127.0.0.1:8080 < request.json
explain *args:
    @cargo run --quiet --release -p warmpath -- explain {{ args }}

# Replays a recorded trace through plain Envoy and Warmpath: ./just replay --trace FILE (Mooncake .jsonl or Azure .csv).
replay *args: (announce "warmpath-lab") wasm envoy
    cargo run --release -p warmpath-lab -- replay {{ args }}

# Simulates recorded traces with the routing core and with published rules: ./just sim --help
[no-cd]
sim *args: (announce "warmpath-sim")
    @# In the caller's folder, to which paths of traces are relative.
    cargo run --manifest-path "{{ justfile_directory() }}/Cargo.toml" --release -p warmpath-sim -- {{ args }}

# Measures the cost of routing, next to other routers: ./just bench --quick (two minutes once built), or all (ten).
bench *args: (announce "warmpath-lab") wasm envoy
    tests/lab/install-peers
    cargo run --release -p warmpath-lab -- bench {{ args }}

# Measures requests in two legs, next to other routers, and what is lost when an engine dies: ./just bench-pd --quick, or all.
bench-pd *args: (announce "warmpath-lab") wasm envoy
    tests/lab/install-peers
    cargo run --release -p warmpath-lab -- bench-pd {{ args }}

# Measures what 1,000 pods in 50 pools cost the controllers, in a Kubernetes cluster: four minutes once built. --model-services 200: ModelServices.
bench-cluster *args: (announce "warmpath-lab") wasm envoy control-plane
    cargo build --release -p warmpath -p warmpath-engine
    cargo run --release -p warmpath-lab -- bench-cluster {{ args }}

# Runs the client libraries of OpenAI and Anthropic, Python and Node, through Envoy and at an engine, and compares.
clients: (announce "warmpath-lab") wasm envoy
    cargo build --release -p warmpath-lab
    "$(tests/clients/install-clients)/venv/bin/python" tests/clients/compare.py {{ target }}/release/warmpath-lab {{ target }}/clients

# Runs real vLLM engines on the CPU, prefill and decode apart, through Envoy: installs 3 GB once, then it takes three minutes.
live-pd: wasm envoy
    cargo build --quiet -p warmpath
    @engines=$(tests/live/install-engines) && "$engines/venv/bin/python" -B tests/live/prefill_decode.py \
        "$engines" {{ target }}/debug/warmpath "$(tests/envoy/install-envoy)" {{ wasm }}

# Runs real vLLM engines with small caches, and compares what Warmpath believes with what they say: a quarter of an hour once installed.
live *args: wasm envoy
    cargo build --quiet -p warmpath
    @engines=$(tests/live/install-engines) && "$engines/venv/bin/python" -B tests/live/cache_knowledge.py \
        "$engines" {{ target }}/debug/warmpath "$(tests/envoy/install-envoy)" {{ wasm }} {{ args }}

# Runs a real vLLM engine by the plan of a ModelService, behind Envoy: two minutes once installed. Needs unshare and ip, as `test-cluster` does.
live-plan: wasm envoy
    cargo build --quiet -p warmpath
    @engines=$(tests/live/install-engines) && envoy=$(tests/envoy/install-envoy) && unshare --user --map-root-user --net sh -c \
        'ip link set lo up && exec "$@"' sh "$engines/venv/bin/python" -B tests/live/planned.py "$engines" {{ target }}/debug/warmpath \
        "$envoy" {{ wasm }}

# Writes what one real engine publishes and finds into a fixture of the controller's tests: two minutes once installed.
live-capture:
    @engines=$(tests/live/install-engines) && "$engines/venv/bin/python" -B tests/live/capture.py "$engines" \
        > controller/tests/fixtures/events/conversation.txt

# Lets vLLM's own parser read the flags of the golden plans of ModelServices: a minute once installed.
live-flags:
    @engines=$(tests/live/install-engines) && HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 "$engines/venv/bin/python" -B tests/live/flags.py \
        controller/deploy/tests/golden/output

# Announces the first build, which is silent for minutes.
[private]
announce program:
    @[ -x {{ target }}/release/{{ program }} ] || echo "the first build takes some minutes" >&2

# Builds the filter and the controller into dist/, with their sha256.
build: wasm
    cargo build --release -p warmpath
    mkdir -p dist
    cp {{ wasm }} dist/warmpath-router.wasm
    cp {{ target }}/release/warmpath dist/warmpath
    cd dist && sha256sum warmpath-router.wasm warmpath > SHA256SUMS && cat SHA256SUMS

# Writes the images of controller and filter to dist/image/, as OCI layouts, and prints the SHA-256 of their manifests.
image: build-static
    cargo run --quiet -p warmpath-image -- --program dist/warmpath-static --wasm dist/warmpath-router.wasm --out dist/image

# Builds the controller without shared libraries into dist/, as an image needs it.
build-static: wasm
    @rustup target list --installed | grep -qx {{ musl }} || rustup target add {{ musl }}
    @# Prefer a compiler for musl. Any other works, too: the C code of `ring` uses no library.
    CC_{{ replace(musl, "-", "_") }}="$(command -v musl-gcc || echo cc)" cargo build --release -p warmpath --target {{ musl }}
    mkdir -p dist
    cp {{ wasm }} dist/warmpath-router.wasm
    cp {{ target }}/{{ musl }}/release/warmpath dist/warmpath-static

# --- parts -----------------------------------------------------------------------------------------

# The compiler's target for the filter; rustup installs it with the toolchain unless the toolchain was there already.
wasm-target:
    @rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1

# Builds the filter.
wasm: wasm-target
    cargo build --quiet -p warmpath-router --target wasm32-wasip1 --profile wasm
    mkdir -p {{ target }}/wasm && cp {{ wasm_built }} {{ wasm }}

# Builds the filter that can be made to trap, for tests.
wasm-faulty: wasm-target
    cargo build --quiet -p warmpath-router --target wasm32-wasip1 --profile wasm --features fault-injection
    mkdir -p {{ target }}/wasm && cp {{ wasm_built }} {{ wasm_faulty }}

# Installs the real Envoy that tests and demo run.
envoy:
    @tests/envoy/install-envoy > /dev/null

# Installs the Kubernetes that tests and demo run. A cold build takes minutes; all clones share it.
control-plane:
    @tests/cluster/install-control-plane > /dev/null

# The programs that run in pods.
[private]
pod-programs:
    cargo build --quiet -p warmpath -p warmpath-engine

# Generates the Rust code of the wire schema, and the manifests that the chart renders.
generate: control-plane
    cargo run --quiet -p warmpath-generate
    cargo run --quiet -p warmpath-gateways --bin warmpath-manifests

# --- check -----------------------------------------------------------------------------------------

# All tests. tests/README.md explains the tiers.
test: wasm wasm-faulty envoy control-plane pod-programs
    # One build for all: each selection of packages would build wasmtime with other features again.
    cargo test --workspace --exclude warmpath-router

# The tests of one crate: ./just test-one warmpath-core
test-one crate *args: wasm wasm-faulty envoy control-plane pod-programs
    cargo test -p {{ crate }} {{ args }}

# The tests of controller and chart in a real Kubernetes: ./just test-cluster pods::
test-cluster *args: wasm envoy control-plane pod-programs
    cargo test -p warmpath-cluster {{ args }}

# Formatting, lints on both targets, documentation links, dependencies.
lint: (tool "cargo-machete" machete_version) (tool "cargo-deny" deny_version)
    cargo fmt --all --check
    cargo clippy --quiet --workspace --exclude warmpath-router --all-targets -- -D warnings
    cargo clippy --quiet -p warmpath-json -p warmpath-template -p warmpath-core -p warmpath-config -p warmpath-router --target wasm32-wasip1 -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps -p warmpath-json -p warmpath-template -p warmpath-core -p warmpath-config -p warmpath -p warmpath-scale -p warmpath-jinja -p warmpath-engine -p warmpath-host -p warmpath-http -p warmpath-envoy -p warmpath-cluster -p warmpath-lab -p warmpath-report -p warmpath-sim
    {{ target }}/tools/cargo-machete-{{ machete_version }}/bin/cargo-machete --skip-target-dir
    {{ target }}/tools/cargo-deny-{{ deny_version }}/bin/cargo-deny --log-level error check bans licenses sources

# Builds a pinned tool from crates.io, once. Unoptimised: that takes a minute instead of several, and it is fast enough.
[private]
tool name version:
    @[ -x {{ target }}/tools/{{ name }}-{{ version }}/bin/{{ name }} ] || env -u CARGO_TARGET_DIR CARGO_PROFILE_DEV_DEBUG=0 \
        cargo install --quiet --debug --locked --no-default-features --version {{ version }} --root {{ target }}/tools/{{ name }}-{{ version }} {{ name }}

# Formats the code.
fmt:
    cargo fmt --all

"""The processes of a live run: engines, controller and Envoy, each on a free port of 127.0.0.1, ended with the run."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import yaml

MODEL = "tiny"
READY_S = 900
ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK_TOKENS = 32  # the least on a CPU
ENGINE_ARGUMENTS = (
    f"--served-model-name {MODEL} --host 127.0.0.1 --enforce-eager --dtype float32 --max-model-len 4096"
    f" --block-size {BLOCK_TOKENS} --max-num-seqs 16 --distributed-executor-backend uni --seed 1"
).split()
PREFIX = "wasmcustom.warmpath."


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        return response.read().decode()


class Process:
    """A child with a log of its own, in a group of its own, because vLLM has children, too."""

    def __init__(self, name, command, folder, environment=None):
        self.name, self.log = name, folder / f"{name}.log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                # No session of its own: Linux shares out the processors by sessions, and would starve one beside a busy one.
                process_group=0,
            )

    def wait_until(self, is_ready):
        end = time.monotonic() + READY_S
        while time.monotonic() < end and self.child.poll() is None:
            try:
                if is_ready():
                    return
            except OSError:
                pass
            time.sleep(0.2)
        lines = self.log.read_text(encoding="utf-8").splitlines()
        # The reason is often far above the end, which says that the start has failed.
        reasons = [line for line in lines if "Error: " in line][:3]
        tail = "\n".join([*reasons, "...", *lines[-30:]])
        raise SystemExit(f"{self.name} does not start; from its log:\n{tail}")

    def end(self, by):
        try:
            os.killpg(self.child.pid, by)
        except ProcessLookupError:
            pass
        self.child.wait()


class Engine(Process):
    """A vLLM server."""

    def __init__(self, name, place, folder, arguments, environment=None, port=None):
        self.port = port or free_port()
        environment = {
            # Its server and its engine; no third process for one worker.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            "VLLM_HOST_IP": "127.0.0.1",
            "VLLM_CACHE_ROOT": str(place / "cache"),
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            **(environment or {}),
        }
        program = place / "venv/bin/vllm"
        command = [program, "serve", place / "model", "--port", self.port, *ENGINE_ARGUMENTS, *arguments]
        super().__init__(name, command, folder, environment)

    def is_healthy(self):
        try:
            get(self.port, "/health")
        except OSError:
            return False
        return True

    def prompt_tokens(self):
        """How many tokens of prompts it took from where."""
        tokens = {}
        for line in get(self.port, "/metrics").splitlines():
            if line.startswith("vllm:prompt_tokens_by_source_total{"):
                labels, value = line.rsplit(" ", 1)
                tokens[labels.split('source="')[1].split('"')[0]] = float(value)
        return tokens

    def kill(self):
        self.end(signal.SIGKILL)


class Setup:
    """All of them, ready for requests. What is measured says which engines there are, in `start_engines`, and in `pool` and
    `plugin` what the shipped files say else."""

    def __init__(self, place, controller, envoy, wasm, folder):
        self.place, self.folder, self.processes = place, folder, []
        self.controller, self.envoy, self.wasm = controller, envoy, wasm
        self.gateway, self.admin, self.grpc, self.http = (free_port() for _ in range(4))

    def __enter__(self):
        # As an interrupt does: so that no engine outlives this.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end(signal.SIGKILL)

    def start(self):
        print("starting the engines, which takes a minute", file=sys.stderr)
        self.engines = self.start_engines()
        for engine in self.engines:
            engine.wait_until(engine.is_healthy)
        self.start_routing()

    def start_routing(self):
        """Controller and proxy, which know nothing yet."""
        config = self.write("controller.yaml", self.controller_config())
        command = [self.controller, "controller", "--config", config]
        self.own(Process("controller", command, self.folder)).wait_until(lambda: get(self.http, "/readyz"))
        config = self.write("envoy.yaml", self.envoy_config())
        command = [self.envoy, "-c", config, "--concurrency", "1", "--log-level", "warning", "--disable-hot-restart"]
        envoy = self.own(Process("envoy", command, self.folder))
        envoy.wait_until(lambda: self.stats().get("feed.snapshot"))

    def end_routing(self):
        for process in [process for process in self.processes if process not in self.engines]:
            process.end(signal.SIGKILL)
            self.processes.remove(process)

    def own(self, process):
        self.processes.append(process)
        return process

    def write(self, name, config):
        path = self.folder / name
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def controller_config(self):
        config = yaml.safe_load((ROOT / "envoy/controller.yaml").read_text(encoding="utf-8"))
        config["listen"] = {"grpc": f"127.0.0.1:{self.grpc}", "http": f"127.0.0.1:{self.http}"}
        pool = config["pools"][0]
        del pool["endpoints"]
        pool.update(self.pool())
        return config

    def envoy_config(self):
        config = yaml.safe_load((ROOT / "envoy/envoy.yaml").read_text(encoding="utf-8"))
        config["admin"]["address"] = address(self.admin)
        resources = config["static_resources"]
        listener = resources["listeners"][0]
        listener["address"] = address(self.gateway)
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        code = manager["http_filters"][0]["typed_config"]["config"]["vm_config"]["code"]
        code["local"]["filename"] = str(self.wasm.resolve())
        configuration = manager["http_filters"][0]["typed_config"]["config"]["configuration"]
        plugin = {**json.loads(configuration["value"]), **self.plugin()}
        configuration["value"] = json.dumps(plugin)
        ports = {"engines": [engine.port for engine in self.routed()], "warmpath_controller": [self.grpc]}
        for cluster in resources["clusters"]:
            endpoints = [{"endpoint": {"address": address(port)}} for port in ports[cluster["name"]]]
            cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
        return config

    def stats(self):
        """The filter's counts."""
        counts = {}
        for line in get(self.admin, f"/stats?filter={PREFIX.replace('.', '[.]')}").splitlines():
            name, _, value = line.partition(": ")
            if value.isdigit():
                counts[name.removeprefix(PREFIX)] = int(value)
        return counts

    def keep_logs(self):
        kept = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / self.NAME
        shutil.copytree(self.folder, kept, dirs_exist_ok=True)
        print(f"\nlogs and configuration: {kept}")


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

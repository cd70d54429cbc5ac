"""Runs a real engine by the plan of a ModelService, behind Envoy with Warmpath.

Usage: planned.py ENGINES-FOLDER CONTROLLER-PROGRAM ENVOY-PROGRAM FILTER, in a network of its own: the plan's ports are the pod's.
README.md says what it shows. `warmpath plan` prints what the controller would apply; of the container, this does what a kubelet does:
it runs the command with the arguments and the environment, puts the volume where the plan mounts it, and probes.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

import yaml

import cache_knowledge
import parts
from judge import Tokens
from table import Table

SERVICE = pathlib.Path(__file__).with_name("planned.yaml")
CONVERSATIONS = 8
STREAM_TOKENS = 400
POD_IP = "127.0.0.1"


class Pod(parts.Process):
    """The engine's container of a planned Deployment."""

    def __init__(self, container, place, folder):
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "model"]
        words = [word.replace(mount["mountPath"], str(place / "model")) for word in container["args"]]
        program, *first = container["command"]
        environment = {one["name"]: one.get("value") or field(one["valueFrom"]) for one in container["env"]}
        # Of this machine, not of the pod: what else an image has, and where nothing may be written.
        environment |= {"VLLM_CACHE_ROOT": str(place / "cache"), "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        self.probe = container["readinessProbe"]["httpGet"]
        self.port = self.probe["port"]
        super().__init__("engine-0", [place / "venv/bin" / program, *first, *words], folder, environment)

    def is_healthy(self):
        try:
            parts.get(self.port, self.probe["path"])
        except OSError:
            return False
        return True


class Setup(cache_knowledge.Setup):
    NAME = "live-plan"

    def start_engines(self):
        command = [self.controller, "plan", "-f", SERVICE, "-o", "yaml"]
        manifests = list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True).stdout))
        (deployment,) = [one for one in manifests if one and one["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return [self.own(Pod(container, self.place, self.folder))]

    def pool(self):
        return {"models": [parts.MODEL], "endpoints": [f"{POD_IP}:{self.engines[0].port}"], **self.exact_pool()}


def field(source):
    """What a pod's own fields are here."""
    return {"status.podIP": POD_IP}[source["fieldRef"]["fieldPath"]]


class Stream(threading.Thread):
    """A client of a long response."""

    def __init__(self, port):
        super().__init__()
        self.port, self.has_begun, self.end = port, threading.Event(), "none"

    def run(self):
        body = {"model": parts.MODEL, "prompt": "Go on.", "max_tokens": STREAM_TOKENS, "ignore_eos": True, "stream": True}
        request = parts.urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/completions", json.dumps(body).encode())
        request.add_header("content-type", "application/json")
        try:
            with parts.urllib.request.urlopen(request, timeout=cache_knowledge.TIMEOUT_S) as response:
                for line in response:
                    self.take(line.decode().strip().removeprefix("data: "))
        except OSError as error:
            self.end = repr(error)
        self.has_begun.set()

    def take(self, event):
        self.has_begun.set()
        if event.startswith("{"):
            for choice in json.loads(event)["choices"]:
                self.end = choice["finish_reason"] or self.end


def show(setup, tokens, table):
    setup.wait_reported()
    run = cache_knowledge.Run(setup, tokens, "KV events").play(cache_knowledge.chats()[:CONVERSATIONS])
    table.row("conversations: status 200", f"{run.served} of {run.sent}", run.served == run.sent)
    cache_knowledge.predicted(table, "  predicted within a block, by the KV events that the plan turns on", run)
    stream = Stream(setup.gateway)
    stream.start()
    stream.has_begun.wait(cache_knowledge.TIMEOUT_S)
    engine = setup.engines[0]
    os.kill(engine.child.pid, signal.SIGTERM)
    stream.join()
    table.row("a response that is under way when the pod has to go: ends by", stream.end, stream.end == "length")
    engine.child.wait(parts.READY_S)
    table.row("  the engine's process: exit code", engine.child.returncode, engine.child.returncode == 0)


def main():
    programs = [pathlib.Path(argument) for argument in sys.argv[1:]]
    table, tokens = Table(), Tokens(programs[0] / "model/tokenizer.json")
    with tempfile.TemporaryDirectory() as folder, Setup(programs, pathlib.Path(folder), 1) as setup:
        try:
            show(setup, tokens, table)
        finally:
            setup.keep_logs()
    sys.exit(not table.all_right)


if __name__ == "__main__":
    main()

"""Has one real engine compute prompts, and prints what it published and found: a fixture of the controller's tests.

Usage: capture.py ENGINES-FOLDER > controller/tests/fixtures/events/conversation.txt. The engine has the tokenizer of the
simulated one, whose text the tests know, and 16 blocks of 32 tokens: the prompts push each other out.
"""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import urllib.request

import zmq

import parts

BLOCKS = 16
SILENCE_MS = 3_000
ADAPTER, SALT = "lora-a", "tenant-7"
TOKENIZER = parts.ROOT / "tests/engine/data/tiny-model"
TEXT = " ".join((parts.ROOT / "LICENSE").read_text(encoding="utf-8").split())
HEAD = """\
# One engine's life, in order. `request`: the cached tokens of a prompt, of its tokens, and the prompt with its roots as JSON.
# `message`: what was published then: its number, its payload. vLLM 0.32.0 on a CPU, as tests/live/capture.py ran it."""


def requests():
    """Prompts that begin alike and go on, others that push them out, the first ones again; the same for an adapter and with a salt;
    and after a reset. `None` is the reset."""
    first, second = TEXT[:300], TEXT[2_000:2_300]
    grown = [first, first + TEXT[600:900], first + TEXT[900:1_100], first + TEXT[600:1_200]]
    plain = [*grown, second, second + TEXT[3_000:3_400], TEXT[4_000:4_500], grown[1], grown[3], second]
    roots = [{"prompt": second, "adapter": ADAPTER}, {"prompt": second, "salt": SALT}, {"prompt": second}]
    again = [*roots, {"prompt": second + first, "adapter": ADAPTER}, {"prompt": second + first, "salt": SALT}]
    plain = [{"prompt": prompt} for prompt in plain]
    return [*plain, *again, *roots, None, *plain[:2], *again[-2:]]


def post(port, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def messages(socket):
    """All until none comes any more."""
    while socket.poll(SILENCE_MS):
        _, number, payload = socket.recv_multipart()
        yield f"message {struct.unpack('>Q', number)[0]} {payload.hex()}"


def capture(engine, socket):
    # What a socket that has never sent anything sends first may be lost; the reset makes that good.
    post(engine.port, "/v1/completions", {"model": parts.MODEL, "prompt": TEXT[6_000:6_300], "max_tokens": 1})
    list(messages(socket))
    post(engine.port, "/reset_prefix_cache", {})
    print(HEAD)
    for asked in requests():
        if asked is None:
            post(engine.port, "/reset_prefix_cache", {})
            continue
        # One token: nothing is published of what is generated.
        body = {"model": asked.get("adapter", parts.MODEL), "prompt": asked["prompt"], "max_tokens": 1}
        usage = post(engine.port, "/v1/completions", body | ({"cache_salt": asked["salt"]} if "salt" in asked else {}))["usage"]
        cached = (usage["prompt_tokens_details"] or {}).get("cached_tokens", 0)
        print(f"request {cached} {usage['prompt_tokens']} {json.dumps(asked)}", flush=True)
        for line in messages(socket):
            print(line)


def main():
    place = pathlib.Path(sys.argv[1])
    port = parts.free_port()
    # An engine whose endpoint names no `*` connects to it, long before it serves: nothing is lost.
    events = {"enable_kv_cache_events": True, "publisher": "zmq", "topic": "kv-events", "endpoint": f"tcp://127.0.0.1:{port}"}
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.subscribe(b"")
    socket.bind(f"tcp://127.0.0.1:{port}")
    with tempfile.TemporaryDirectory() as folder:
        adapters = pathlib.Path(folder) / "adapters"
        subprocess.run([sys.executable, pathlib.Path(__file__).with_name("adapters.py"), adapters, ADAPTER], check=True)
        arguments = ["--tokenizer", TOKENIZER, "--num-gpu-blocks-override", BLOCKS, "--max-model-len", "480"]
        arguments += ["--enable-prompt-tokens-details", "--kv-events-config", json.dumps(events)]
        arguments += ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"{ADAPTER}={adapters / ADAPTER}"]
        engine = parts.Engine("engine", place, pathlib.Path(folder), arguments, {"VLLM_SERVER_DEV_MODE": "1"})
        try:
            engine.wait_until(engine.is_healthy)
            capture(engine, socket)
        finally:
            engine.kill()


if __name__ == "__main__":
    main()

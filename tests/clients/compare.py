"""Starts engines, controller and Envoy, plays every feature through Envoy and at an engine, and prints what differs.

Usage: compare.py LAB-PROGRAM CLIENTS-FOLDER. README.md says what belongs to it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import features

# Where `up --port-base` puts the first engine, and how many ports it takes.
ENGINE_OFFSET = 4
PORTS = 128
READY_S = 60


def free_base():
    """A port behind which so many are free."""
    for base in range(21_000, 60_000, PORTS):
        try:
            for port in range(base, base + 8):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    sys.exit("no free ports")


def wait_until_ready(gateway, process):
    end = time.monotonic() + READY_S
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{gateway}/v1/models", timeout=2).read()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("the set-up does not start")


def play(base, clients):
    here = os.path.dirname(os.path.abspath(__file__))
    environment = {**os.environ, "NODE_PATH": f"{clients}/node/node_modules"}
    # Modules are looked for beside the file, so it runs from where they are.
    script = f"{clients}/node/features.mjs"
    with open(f"{here}/features.mjs", encoding="utf-8") as source, open(script, "w", encoding="utf-8") as copy:
        copy.write(source.read())
    node = subprocess.run(
        [f"{clients}/venv/bin/node", script, base], env=environment, capture_output=True, text=True, check=False
    )
    if node.returncode != 0:
        sys.exit(f"node: {node.stderr}")
    return {**features.play(base), **json.loads(node.stdout)}


def main():
    lab, clients = sys.argv[1:3]
    base = free_base()
    gateway, engine = f"http://127.0.0.1:{base}", f"http://127.0.0.1:{base + ENGINE_OFFSET}"
    # Ten times as fast as real: the long prompt would take a minute.
    command = [lab, "up", "--port-base", str(base), "--engines", "2", "--time-scale", "10"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until_ready(gateway, process)
        direct, through = play(engine, clients), play(gateway, clients)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    width = max(map(len, direct))
    different = [name for name in direct if direct[name] != through[name]]
    for name in direct:
        is_same = name not in different
        print(f"{name:{width}}  {'=' if is_same else 'differs'}")
        if not is_same:
            print(f"    directly       {json.dumps(direct[name])[:400]}")
            print(f"    through Envoy  {json.dumps(through[name])[:400]}")
    print(f"\n{len(direct) - len(different)} of {len(direct)} features are the same through Envoy with Warmpath.")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()

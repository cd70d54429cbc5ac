"""Runs real engines with small caches behind Envoy with Warmpath, and compares what it believes with what they say.

Usage: cache_knowledge.py ENGINES-FOLDER CONTROLLER-PROGRAM ENVOY-PROGRAM FILTER [--engines N]. README.md says what it shows.

Before each request, the filter explains its decision: how many cells of the prompt it believes each engine holds. The response
then says how many tokens the engine had (`cached_tokens`). vLLM is the judge.
"""

import argparse
import http.client
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import parts
from judge import Endless, Score, Tokens
from table import Table

CELL_BYTES = 256
# 4,096 tokens an engine, a third of what the conversations need.
BLOCKS = 128
ADAPTERS = ["lora-a", "lora-b"]
TIMEOUT_S = 120
REPORTED_S = 60
SEED = 1
CONVERSATIONS, TURNS, UNDER_WAY = 24, 6, 10
# How requests are routed: the third way without the proxy.
WAYS = ["KV events", "learned prefixes", "round robin"]
SYSTEM_WORDS, USER_WORDS, OUTPUT_TOKENS = 160, 50, 40
SYSTEMS = 3
TURNS_PAST = 2
RIGHT_SHARE = 0.99
# Between ways that find the same: two engines that are as good are chosen between at random.
CHANCE_SHARE = 0.01
TEXT = " ".join(page.read_text(encoding="utf-8") for page in sorted((parts.ROOT / "docs").glob("*.md"))).split()


class Setup(parts.Setup):
    NAME = "live"

    def __init__(self, programs, folder, engines):
        super().__init__(*programs, folder)
        self.engines_wanted, self.is_exact, self.cell_bytes = engines, True, CELL_BYTES
        self.endless, self.turns = Endless(parts.BLOCK_TOKENS), 0

    def start_engines(self):
        command = [sys.executable, pathlib.Path(__file__).with_name("adapters.py"), self.folder / "adapters", *ADAPTERS]
        subprocess.run(command, check=True)
        return [self.engine(number) for number in range(self.engines_wanted)]

    def engine(self, number, port=None):
        events = {"enable_kv_cache_events": True, "publisher": "zmq", "topic": "kv-events"}
        events |= {"endpoint": "tcp://*:0", "replay_endpoint": "tcp://*:0"}
        arguments = ["--num-gpu-blocks-override", BLOCKS, "--max-model-len", "2048", "--enable-prompt-tokens-details"]
        arguments += ["--kv-events-config", json.dumps(events)]
        arguments += ["--enable-lora", "--max-lora-rank", "8", "--max-loras", "2", "--max-cpu-loras", "4", "--lora-modules"]
        arguments += [f"{name}={self.folder / 'adapters' / name}" for name in ADAPTERS]
        environment = {"VLLM_SERVER_DEV_MODE": "1"}
        return self.own(parts.Engine(f"engine-{number}", self.place, self.folder, arguments, environment, port))

    def routed(self):
        return self.engines

    def pool(self):
        # By name: what blocks of a pool with models of any name are, events do not say.
        pool = {"models": [parts.MODEL], "adapters": ADAPTERS}
        pool["endpoints"] = [f"127.0.0.1:{engine.port}" for engine in self.engines]
        return pool | (self.exact_pool() if self.is_exact else {})

    def exact_pool(self):
        return {"prompt": {"tokenizer": str(self.place / "model")}}

    def controller_config(self):
        return super().controller_config() | {"cell_bytes": self.cell_bytes}

    def plugin(self):
        return {"explain": True, "cell_bytes": self.cell_bytes}

    def restart_routing(self, is_exact, cell_bytes=CELL_BYTES):
        """A controller and a proxy that know nothing, and engines that hold nothing."""
        self.end_routing()
        for engine in self.engines:
            self.empty(engine)
        self.is_exact, self.cell_bytes, self.endless = is_exact, cell_bytes, Endless(parts.BLOCK_TOKENS)
        self.start_routing()
        if is_exact:
            self.wait_reported()

    def next_port(self):
        """Of the engines in turn."""
        self.turns += 1
        return self.engines[self.turns % len(self.engines)].port

    def empty(self, engine):
        """Its cache. The engine says so with its next step."""
        reset = call(engine.port, "/reset_prefix_cache", {})[1]
        if reset != {"success": True}:
            raise SystemExit(f"{engine.name} does not reset its cache: {reset}")
        call(engine.port, "/v1/completions", {"model": parts.MODEL, "prompt": "a", "max_tokens": 1})

    def wait_reported(self):
        """Until the filter knows of a prompt at each engine that it has not routed there."""
        for engine in self.engines:
            content = f"Are you there? {engine.port} {time.monotonic()} {words(engine.port, USER_WORDS)}"
            body = {"model": parts.MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
            call(engine.port, "/v1/chat/completions", body)
            end = time.monotonic() + REPORTED_S
            while not believed(self.gateway, body).get(f"127.0.0.1:{engine.port}"):
                if time.monotonic() > end:
                    raise SystemExit(f"the filter does not know what {engine.name} reports after {REPORTED_S} s")
                time.sleep(0.05)


def call(port, path, body, headers=None):
    """The response's headers and JSON; of a request that fails, its status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **(headers or {})})
        response = connection.getresponse()
        data = response.read().decode()
    finally:
        connection.close()
    return dict(response.getheaders()), json.loads(data) if response.status == 200 else (response.status, data)


def believed(gateway, body):
    """The cells of the prompt that each engine holds, as the filter says before it chooses."""
    _, explained = call(gateway, "/v1/chat/completions", body, {"x-warmpath-explain": "1"})
    if not isinstance(explained, dict):
        return {}
    return {candidate["endpoint"]: candidate["cells"] for candidate in explained["candidates"]}


class Conversation:
    """A chat that goes on; those of a group begin alike."""

    def __init__(self, number, model=parts.MODEL, salt=None):
        self.number, self.model, self.salt, self.turn = number, model, salt, 0
        self.messages = [{"role": "system", "content": f"System {number % SYSTEMS}: {words(number % SYSTEMS, SYSTEM_WORDS)}"}]

    def root(self):
        return (self.model, self.salt)

    def body(self, allowed):
        self.messages.append({"role": "user", "content": f"{self.number}: {words(self.number * 97 + self.turn * 13, USER_WORDS)}"})
        self.turn += 1
        body = {"model": self.model, "messages": self.messages, "temperature": 0, "max_tokens": OUTPUT_TOKENS}
        body |= {"ignore_eos": True, "return_token_ids": True, "allowed_token_ids": allowed}
        return body | ({"cache_salt": self.salt} if self.salt else {})

    def said(self, text):
        self.messages.append({"role": "assistant", "content": text})


def words(number, count):
    at = number * 211 % (len(TEXT) - count)
    return " ".join(TEXT[at : at + count])


def mixed(conversations):
    """All turns, in an order in which some conversations are under way at any time."""
    order, waiting, active = random.Random(SEED), list(conversations), []
    while waiting or active:
        while waiting and len(active) < UNDER_WAY:
            active.append(waiting.pop(0))
        chosen = order.choice(active)
        yield chosen
        if chosen.turn == TURNS:
            active.remove(chosen)


class Run:
    """Some traffic in one way, and what became of it."""

    def __init__(self, setup, tokens, way):
        self.setup, self.tokens, self.way = setup, tokens, way
        self.score = Score(tokens, setup.cell_bytes, parts.BLOCK_TOKENS)
        self.cached, self.possible, self.served, self.sent = 0, 0, 0, 0
        # Only what engines report shows what they evict.
        self.is_judged = way == "KV events"

    def play(self, conversations, is_past=lambda _: False):
        """All turns. Those of which `is_past` says so go past the gateway, as if they came through another one."""
        for conversation in mixed(conversations):
            self.turn(conversation, is_past(conversation))
        return self

    def turn(self, conversation, is_past=False):
        """One request."""
        body = conversation.body(self.tokens.words)
        self.sent += 1
        port, is_predicted = self.setup.gateway, self.way != "round robin" and not is_past
        if is_past:
            port = self.setup.engines[conversation.number % len(self.setup.engines)].port
        elif self.way == "round robin":
            port = self.setup.next_port()
        expected = believed(port, body) if is_predicted else {}
        headers, response = call(port, "/v1/chat/completions", body)
        if not isinstance(response, dict):
            print(f"  {response}", file=sys.stderr)
            return
        self.served += 1
        prompt, output = response["prompt_token_ids"], response["choices"][0]["token_ids"]
        cached = response["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.cached += cached
        self.possible += self.setup.endless.find(conversation.root(), prompt)
        self.setup.endless.add(conversation.root(), prompt, output)
        conversation.said(response["choices"][0]["message"]["content"])
        if is_predicted:
            endpoint = headers["x-warmpath-decision"].rsplit("endpoints=")[1].split(",")[0]
            about = f"conversation {conversation.number}, turn {conversation.turn}, {endpoint}"
            self.score.add(prompt, expected.get(endpoint, 0), cached, about)

    def share(self):
        return self.cached / self.possible if self.possible else 1.0


def chats():
    return [Conversation(number) for number in range(CONVERSATIONS)]


def is_past_gateway(conversation):
    """Every third conversation begins past this gateway."""
    return conversation.number % 3 == 2 and conversation.turn < TURNS_PAST


def compare(setup, table, what, play, cell_bytes=CELL_BYTES):
    """The same traffic in each way, on engines that hold nothing. `play` gives the runs of one way, by what they are."""
    shares = {}
    for way in WAYS:
        setup.restart_routing(is_exact=way == "KV events", cell_bytes=cell_bytes)
        for phase, run in play(way).items():
            name = f"{what}{phase}, {way}"
            if way != "round robin":
                predicted(table, f"{name}: predicted within a block", run)
            table.row(f"{name}: status 200", f"{run.served} of {run.sent}", run.served == run.sent)
            shares.setdefault(phase, {})[way] = run.share()
            table.row("  cached tokens, of an endless cache's", f"{run.share():.1%}")
    return shares


def predicted(table, what, run):
    score = run.score
    table.row(what, f"{score.right} of {score.all}", not run.is_judged or score.share() >= RIGHT_SHARE)
    if run.is_judged:
        for line in score.wrong[:3]:
            print(f"    {line}")
        table.row("  tokens between the worst prediction and the truth", score.worst)


def knowledge(setup, tokens, table):
    """Conversations, some of which the proxy does not see begin."""
    play = lambda way: {"": Run(setup, tokens, way).play(chats(), is_past_gateway)}
    shares = compare(setup, table, "chats", play)[""]
    exact, learned, in_turn = (shares[way] for way in WAYS)
    is_right = exact >= learned - CHANCE_SHARE and learned > in_turn
    table.row("  KV events find no less than learned prefixes, and round robin least", "", is_right)


def roots(setup, tokens, table):
    """Adapters and salts with the same text."""
    kinds = [(parts.MODEL, None), ("lora-a", None), ("lora-b", None), (parts.MODEL, "tenant-7"), ("lora-a", "tenant-7")]

    def play(way):
        conversations = [Conversation(number, *kinds[number % len(kinds)]) for number in range(CONVERSATIONS)]
        return {"": Run(setup, tokens, way).play(conversations)}

    compare(setup, table, "adapters and salts", play)


def small_cells(setup, tokens, table):
    """Cells that are shorter than a block."""
    play = lambda way: {"": Run(setup, tokens, way).play(chats())}
    compare(setup, table, "cells of 64 bytes", play, cell_bytes=64)


def reset(setup, tokens, table):
    """One engine forgets everything, and says so with its next step; then another one's process ends and comes back."""

    def play(way):
        under_way = chats()[:UNDER_WAY]
        runs = {phase: Run(setup, tokens, way) for phase in ["", ", after a reset", ", one engine killed", ", it is back"]}
        warm, after, without, back = runs.values()
        # The decision names the engine that is gone, and Envoy goes on to another.
        without.is_judged = False

        def turns(run, count):
            for conversation in under_way * count:
                run.turn(conversation)

        turns(warm, 2)
        setup.empty(setup.engines[0])
        time.sleep(1)  # Nothing to wait for shows that a message has not come.
        turns(after, 2)
        engine = setup.engines.pop()
        engine.end(signal.SIGKILL)
        setup.processes.remove(engine)
        turns(without, 1)
        setup.engines.append(setup.engine(len(setup.engines), engine.port))
        setup.engines[-1].wait_until(setup.engines[-1].is_healthy)
        if setup.is_exact:
            setup.wait_reported()
        turns(back, 3)
        return runs

    compare(setup, table, "resets", play)


PARTS = {part.__name__: part for part in [knowledge, roots, small_cells, reset]}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("programs", nargs=4, type=pathlib.Path)
    arguments.add_argument("--engines", type=int, default=3)
    arguments.add_argument("--part", choices=PARTS, action="append", help="only this one; repeatable")
    arguments = arguments.parse_args()
    table = Table()
    tokens = Tokens(arguments.programs[0] / "model/tokenizer.json")
    with tempfile.TemporaryDirectory() as folder, Setup(arguments.programs, pathlib.Path(folder), arguments.engines) as setup:
        try:
            for part in arguments.part or PARTS:
                PARTS[part](setup, tokens, table)
        except SystemExit:
            setup.keep_logs()
            raise
        if not table.all_right:
            setup.keep_logs()
    sys.exit(not table.all_right)


if __name__ == "__main__":
    main()

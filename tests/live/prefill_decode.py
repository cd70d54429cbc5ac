"""Runs real engines, prefill and decode apart, behind Envoy with Warmpath, and shows what became of the clients' requests.

Usage: prefill_decode.py ENGINES-FOLDER CONTROLLER-PROGRAM ENVOY-PROGRAM FILTER. README.md says what it shows.

Three engines with the same model: one only computes prompts, one generates with what it gets from the first, and one does all by
itself, past Envoy: what it says is right. Everything else is what users run: the shipped files with other addresses in them.
"""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import pathlib
import sys
import tempfile
import threading

import parts
from table import Table

REQUESTS = 200
REQUESTS_WITHOUT_PREFILL = 100
CLIENTS = 4
# So many more have long responses meanwhile: an idle decode engine computes its prompts itself, because that delays nobody.
READERS = 8
READER_TOKENS = 700
TOKENS = 24
WORDS_PER_PROMPT = 1_400
TIMEOUT_S = 120
CONNECTOR = {
    "kv_connector": "NixlConnector",
    "kv_role": "kv_both",
    "kv_buffer_device": "cpu",
    "kv_load_failure_policy": "recompute",
}
# So few that they are soon used for other prompts: a decode engine that read them late would compute with these.
BLOCKS = 768
TEXT = " ".join(page.read_text(encoding="utf-8") for page in sorted((parts.ROOT / "docs").glob("*.md"))).split()

# Each of them ends the process of a decode engine that gets it, or hangs there.
HARMFUL = [
    {"do_remote_prefill": True},
    {"do_remote_prefill": True, "remote_block_ids": []},
    {"do_remote_prefill": True, "remote_block_ids": [[1, 2]]},
]


def prompt(number):
    """A prompt that no other number has, from its first word on."""
    at = number * 7 % (len(TEXT) - WORDS_PER_PROMPT)
    return f"{number}: {' '.join(TEXT[at : at + WORDS_PER_PROMPT])}"


def request(number):
    """Chat or completion, streamed or not, in turn."""
    body = {"model": parts.MODEL, "temperature": 0, "max_tokens": TOKENS, "stream": number % 4 >= 2}
    if number % 2:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt(number)}]
        return "/v1/chat/completions", {**body, "messages": messages}
    return "/v1/completions", {**body, "prompt": prompt(number)}


def send(port, path, body):
    """The status and the text of the response, which may be a stream; the status is 0 if there is no whole response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        data = response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()
    return (response.status, text_of(data, body.get("stream"))) if response.status == 200 else (response.status, data)


def text_of(data, is_stream):
    if not is_stream:
        choice = json.loads(data)["choices"][0]
        return choice["message"]["content"] if "message" in choice else choice["text"]
    events = [line[len("data: ") :] for line in data.splitlines() if line.startswith("data: ")]
    if events[-1:] != ["[DONE]"]:
        return f"a stream without an end: {data[-200:]}"
    pieces = []
    for event in map(json.loads, events[:-1]):
        for choice in event.get("choices", []):
            pieces.append(choice["delta"].get("content") or "" if "delta" in choice else choice["text"])
        if "error" in event:
            pieces.append(f"<{event['error']}>")
    return "".join(pieces)


def play(port, numbers, clients):
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return list(pool.map(lambda number: send(port, *request(number)), numbers))


@contextlib.contextmanager
def readers(port):
    """Clients of long responses, as long as this lasts; gives the statuses that they got."""
    stop, statuses = threading.Event(), []

    def read(reader):
        for turn in itertools.count():
            if stop.is_set():
                return
            body = {"model": parts.MODEL, "prompt": f"Reader {reader}, turn {turn}", "stream": True}
            body |= {"max_tokens": READER_TOKENS, "ignore_eos": True}
            statuses.append(send(port, "/v1/completions", body)[0])

    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        pending = [pool.submit(read, reader) for reader in range(READERS)]
        try:
            yield statuses
        finally:
            stop.set()
            for future in pending:
                future.result()


def verdict(through, alone):
    """How many got 200, and how many of these the right text."""
    right = sum(got == expected for got, expected in zip(through, alone, strict=True))
    return sum(status == 200 for status, _ in through), right


def all_served(statuses):
    served = statuses.count(200)
    return f"{served} of {len(statuses)}", 0 < served == len(statuses)


class Setup(parts.Setup):
    NAME = "live-pd"

    def start_engines(self):
        self.prefill, self.decode, self.alone = (self.engine(name) for name in ["prefill", "decode", "alone"])
        return [self.prefill, self.decode, self.alone]

    def engine(self, name):
        arguments = ["--num-gpu-blocks-override", BLOCKS]
        if name != "alone":
            arguments += ["--kv-transfer-config", json.dumps(CONNECTOR)]
        environment = {
            "VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.1",
            "VLLM_NIXL_SIDE_CHANNEL_PORT": str(parts.free_port()),
            "UCX_TLS": "tcp,self",
            "UCX_NET_DEVICES": "lo",
        }
        return self.own(parts.Engine(name, self.place, self.folder, arguments, environment))

    def routed(self):
        return [self.prefill, self.decode]

    def pool(self):
        prefill, decode = ([f"127.0.0.1:{engine.port}"] for engine in self.routed())
        return {"prefill": prefill, "decode": decode, "transfer": {"protocol": "nixl"}}

    def plugin(self):
        return {}


def differences(through, alone):
    wrong = [number for number, (got, expected) in enumerate(zip(through, alone, strict=True)) if got != expected]
    for number in wrong[:3]:
        print(f"  request {number}: {through[number]}\n    instead of {alone[number]}")


def both_engines(setup, table):
    alone = play(setup.alone.port, range(REQUESTS), 1)
    before = setup.decode.prompt_tokens()
    with readers(setup.gateway) as long_ones:
        through = play(setup.gateway, range(REQUESTS), CLIENTS)
    after = setup.decode.prompt_tokens()
    served, right = verdict(through, alone)
    differences(through, alone)
    seen = {source: after[source] - before[source] for source in after}
    stats = setup.stats()
    table.row("chat and completions, streamed and not: status 200", f"{served} of {REQUESTS}", served == REQUESTS)
    table.row("  the same text as one engine alone", f"{right} of {REQUESTS}", right == REQUESTS)
    table.row("  and long responses meanwhile: status 200", *all_served(long_ones))
    split = stats.get("split", 0)
    table.row("  sent in two legs (warmpath.split)", split, split > 0)
    for source, tokens in seen.items():
        is_right = source != "external_kv_transfer" or tokens > 0
        table.row(f"  decode engine, prompt tokens by source: {source}", f"{tokens:.0f}", is_right)


def harmful(setup, table):
    for number, params in enumerate(HARMFUL, start=REQUESTS):
        path, body = request(number)
        status, _ = send(setup.gateway, path, {**body, "kv_transfer_params": params})
        nested = send(setup.gateway, path, {**body, "vllm_xargs": {"kv_transfer_params": ["do_remote_prefill"]}})[0]
        is_right = status == 200 and nested == 200 and setup.decode.is_healthy()
        table.row(f"a client's harmful {json.dumps(params)[1:-1]}: status", status, is_right)
    removed = setup.stats().get("transfer_fields_removed", 0)
    table.row("  bodies whose fields were removed", removed, removed == 2 * len(HARMFUL))


def without_prefill(setup, table):
    numbers = range(REQUESTS + 10, REQUESTS + 10 + REQUESTS_WITHOUT_PREFILL)
    alone = play(setup.alone.port, numbers, 1)
    under_way = range(10 * REQUESTS, 10 * REQUESTS + 10 * CLIENTS)
    with readers(setup.gateway) as long_ones, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        pending = [pool.submit(send, setup.gateway, *request(number)) for number in under_way]
        pending[len(pending) // 2].result()
        setup.prefill.kill()
        caught = [future.result()[0] for future in pending]
        through = play(setup.gateway, numbers, CLIENTS)
    table.row("kill -9 of the prefill engine; those under way: status 200", *all_served(caught + long_ones))
    served, right = verdict(through, alone)
    differences(through, alone)
    table.row("  the next ones: status 200", f"{served} of {len(through)}", served == len(through))
    table.row("  the same text as one engine alone", f"{right} of {len(through)}", right == len(through))


def main():
    engines, controller, envoy, wasm = map(pathlib.Path, sys.argv[1:5])
    table = Table()
    programs = (engines, controller, envoy, wasm)
    with tempfile.TemporaryDirectory() as folder, Setup(*programs, pathlib.Path(folder)) as setup:
        for part in [both_engines, harmful, without_prefill]:
            part(setup, table)
        print("\nthe filter's counts:")
        for name, value in setup.stats().items():
            if name.startswith(("split", "whole.", "prefill_leg.", "decode_leg.")):
                print(f"  warmpath.{name} {value}")
        if not table.all_right:
            setup.keep_logs()
    sys.exit(not table.all_right)


if __name__ == "__main__":
    main()

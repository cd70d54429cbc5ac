"""Lets vLLM's own parser read the arguments of the golden plans.

Usage: flags.py FOLDER: the folder with the plans. Exits with 1 if an argument is not one of vLLM's.
"""

import pathlib
import sys

import yaml
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

# What the LeaderWorkerSet controller puts in place of its variables.
VARIABLES = {"$(LWS_WORKER_INDEX)": "1", "$(LWS_LEADER_ADDRESS)": "10.0.0.1"}


def templates(manifest):
    spec = manifest["spec"]
    if manifest["kind"] == "Deployment":
        return [spec["template"]]
    if manifest["kind"] == "LeaderWorkerSet":
        group = spec["leaderWorkerTemplate"]
        return [group["leaderTemplate"], group["workerTemplate"]]
    return []


def arguments(template):
    """The arguments of the engine, or None if it is another one."""
    engine = next(one for one in template["spec"]["containers"] if one["name"] == "engine")
    if engine["command"] != ["vllm", "serve"]:
        return None
    values = engine["args"]
    for name, value in VARIABLES.items():
        values = [argument.replace(name, value) for argument in values]
    return values


def main(folder):
    read, wrong = 0, []
    for path in sorted(pathlib.Path(folder).glob("*.yaml")):
        manifests = [one for one in yaml.safe_load_all(path.read_text()) if one]
        for template in [one for manifest in manifests for one in templates(manifest)]:
            values = arguments(template)
            if values is None:
                continue
            read += 1
            try:
                make_arg_parser(FlexibleArgumentParser()).parse_args(values)
            except SystemExit:
                wrong.append(path.name)
    print(f"vLLM reads the arguments of {read - len(wrong)} of {read} pod templates", *wrong)
    return 1 if wrong or not read else 0


sys.exit(main(sys.argv[1]))

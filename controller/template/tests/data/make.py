"""Writes expected/: what vLLM and transformers make of each case with each template.

The engine's own request model, its message parser and transformers' renderer run, so what is compared is all of what happens
to a request's text. Needs the environment of requirements.txt; the place of the templates is this folder:

    python make.py
"""

import datetime
import json
import pathlib
import re

import jinja2
import transformers.utils.chat_template_utils as rendering
from vllm.entrypoints.anthropic.protocol import AnthropicMessagesRequest
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.entrypoints.openai.responses.utils import construct_input_messages, construct_tool_dicts
from vllm.renderers import hf
from vllm.renderers.chat_utils import parse_chat_messages

HERE = pathlib.Path(__file__).parent
TOKENS = {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<|pad|>"}
NOW = datetime.datetime(2026, 11, 26, 9, 5, 7)


class Clock(datetime.datetime):
    """The moment that the tests give to the templates."""

    @classmethod
    def now(cls, tz=None):
        return NOW


class Model:
    """What the message parser asks of a model that takes text only."""

    multimodal_config = None
    enable_prompt_embeds = False
    allowed_local_media_path = ""
    allowed_media_domains = None


class Tokenizer:
    """What the renderer asks of a tokenizer."""

    def apply_chat_template(self, conversation, tools=None, chat_template=None, tokenize=False, documents=None,
                            add_generation_prompt=False, continue_final_message=False, **kwargs):
        kwargs.pop("return_dict", None)
        texts, _ = rendering.render_jinja_template(
            [conversation], tools=tools, documents=documents, chat_template=chat_template,
            add_generation_prompt=add_generation_prompt, continue_final_message=continue_final_message,
            **{**TOKENS, **kwargs})
        return texts[0]

    def get_chat_template(self, chat_template, tools=None):
        return chat_template


def rendered(template, request, messages, tools):
    params = request.build_chat_params(template, "auto").with_defaults({"tools": tools} if tools else None)
    conversation, media, _ = parse_chat_messages(
        messages, Model(), hf._detect_content_format(template, default="string"))
    assert not media
    kwargs = params.get_apply_chat_template_kwargs()
    kwargs.pop("return_dict", None)
    return hf.safe_apply_chat_template(Model(), Tokenizer(), conversation, tokenize=False, **kwargs)


def chat_text(template, request):
    tools = None if request.tools is None else [tool.model_dump() for tool in request.tools]
    return rendered(template, request, request.messages, tools)


def chat(template, body):
    return chat_text(template, ChatCompletionRequest.model_validate({"model": "m", **body}))


def disabled_effort(template):
    """What stands for thinking that is disabled, as the engine finds it out."""
    def probe(effort):
        try:
            return chat(template, {"messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": effort})
        except Exception:
            return None
    none = probe("none")
    return "low" if none in [None, *map(probe, ["low", "medium", "high", "xhigh", "max"])] else "none"


def merges_system(template):
    """Whether system messages go to the head. `None`: the engine does not start."""
    try:
        return AnthropicServingMessages._detect_merge_inline_system(template)
    except TypeError:
        return None


def messages(template, body):
    request = AnthropicMessagesRequest.model_validate({"model": "m", "max_tokens": 4, **body})
    return chat_text(template, AnthropicServingMessages.to_chat_completion_request(
        request, merge_inline_system=merges_system(template) is not False,
        disabled_thinking_effort=disabled_effort(template)))


def responses(template, body):
    request = ResponsesRequest.model_validate({"model": "m", **body})
    if request.previous_response_id is not None:
        raise ValueError("its store is the engine's")
    tools = construct_tool_dicts(request.tools, request.tool_choice)
    given = construct_input_messages(request_instructions=request.instructions, request_input=request.input)
    return rendered(template, request, given, tools)


def made(make, template, cases):
    found = {}
    for name, body in cases.items():
        try:
            # A request's model changes what it is given.
            found[name] = {"text": make(template, json.loads(json.dumps(body)))}
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            # Addresses in memory are others in each run.
            found[name] = {"error": re.sub(r"0x[0-9a-f]+", "0x", first)[:100]}
    return found


def main():
    rendering.datetime = Clock
    read = lambda name: json.loads((HERE / name).read_text())
    (HERE / "expected").mkdir(exist_ok=True)
    for path in sorted((HERE / "templates").glob("*.jinja")):
        template = path.read_text()
        page = {
            "content_format": hf._detect_content_format(template, default="string"),
            "merges_system": merges_system(template),
            "cases": made(chat, template, read("cases.json")),
            "messages": made(messages, template, read("messages.json")),
            "responses": made(responses, template, read("responses.json")),
        }
        (HERE / "expected" / f"{path.stem}.json").write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n")


main()

"""Writes expected/: what vLLM and transformers make of each case with each template.

The engine's own request model, its message parser and transformers' renderer run, so what is compared is all of what happens
to a request's text. Needs the environment of requirements.txt; the place of the templates is this folder:

    python make.py
"""

import datetime
import json
import pathlib

import jinja2
import transformers.utils.chat_template_utils as rendering
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
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


def text(template, body):
    request = ChatCompletionRequest.model_validate(json.loads(json.dumps({"model": "m", **body})))
    tools = None if request.tools is None else [tool.model_dump() for tool in request.tools]
    params = request.build_chat_params(template, "auto").with_defaults({"tools": tools} if tools else None)
    conversation, media, _ = parse_chat_messages(
        request.messages, Model(), hf._detect_content_format(template, default="string"))
    assert not media
    kwargs = params.get_apply_chat_template_kwargs()
    kwargs.pop("return_dict", None)
    return hf.safe_apply_chat_template(Model(), Tokenizer(), conversation, tokenize=False, **kwargs)


def main():
    rendering.datetime = Clock
    cases = json.loads((HERE / "cases.json").read_text())
    (HERE / "expected").mkdir(exist_ok=True)
    for path in sorted((HERE / "templates").glob("*.jinja")):
        template = path.read_text()
        found = {}
        for name, body in cases.items():
            try:
                found[name] = {"text": text(template, body)}
            except Exception as error:
                found[name] = {"error": str(error).splitlines()[0][:100]}
        page = {"content_format": hf._detect_content_format(template, default="string"), "cases": found}
        (HERE / "expected" / f"{path.stem}.json").write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n")


main()

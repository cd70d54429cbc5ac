"""The features of OpenAI's and Anthropic's Python libraries, as their users see them.

Each function takes the address of a server and returns plain data: what must be the same through the gateway and from an
engine directly. Ids, times and cached tokens are left out, since they differ from request to request.
"""

import base64
import concurrent.futures
import json
import os

import anthropic
import openai

MODEL = "sim"
KEY = "none"
WORDS = "The quick brown fox jumps over the lazy dog. " * 40
TOOL = {
    "name": "weather",
    "description": "The weather somewhere",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def client(base):
    return openai.OpenAI(base_url=f"{base}/v1", api_key=KEY, max_retries=0, timeout=60)


def claude(base):
    return anthropic.Anthropic(base_url=base, api_key=KEY, max_retries=0, timeout=60)


def chat_request(**more):
    messages = [{"role": "system", "content": WORDS}, {"role": "user", "content": "Hello"}]
    return {"model": MODEL, "messages": messages, "max_tokens": 8, **more}


def error_of(call):
    """What an application sees of a refusal: the exception's type, the status and the error's type."""
    try:
        call()
    except openai.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.type]
    except anthropic.APIStatusError as error:
        body = error.body if isinstance(error.body, dict) else {}
        return [type(error).__name__, error.status_code, body.get("type"), body.get("error", {}).get("type")]
    except (openai.APIError, anthropic.APIError) as error:
        return [type(error).__name__]
    return "no error"


def usage(of):
    return [of.prompt_tokens, of.completion_tokens]


def chat(base):
    response = client(base).chat.completions.create(**chat_request())
    choice = response.choices[0]
    return [choice.finish_reason, choice.message.role, choice.message.content, usage(response.usage)]


def chat_stream(base):
    stream = client(base).chat.completions.create(**chat_request(stream=True))
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def chat_stream_usage(base):
    stream = client(base).chat.completions.create(**chat_request(stream=True, stream_options={"include_usage": True}))
    return [usage(chunk.usage) for chunk in stream if chunk.usage][-1]


def tools(base):
    request = chat_request(tools=[{"type": "function", "function": TOOL}], tool_choice="required")
    message = client(base).chat.completions.create(**request).choices[0]
    calls = message.message.tool_calls or []
    return [message.finish_reason, [(call.function.name, bool(call.function.arguments)) for call in calls]]


def tool_result(base):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    messages = [
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
    ]
    return client(base).chat.completions.create(**chat_request(messages=messages)).choices[0].message.content


def image(base):
    data = base64.b64encode(os.urandom(1_500_000)).decode()
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    response = client(base).chat.completions.create(**chat_request(messages=[{"role": "user", "content": parts}]))
    return usage(response.usage)


def long_prompt(base):
    messages = [{"role": "user", "content": "word " * 200_000}]
    return usage(client(base).chat.completions.create(**chat_request(messages=messages)).usage)


def completions(base):
    ids = list(range(1, 300))
    prompts = [WORDS, [WORDS, "another"], ids, [ids, ids[:50]]]
    made = [client(base).completions.create(model=MODEL, prompt=prompt, max_tokens=4) for prompt in prompts]
    return [[len(response.choices), usage(response.usage)] for response in made]


def completions_stream(base):
    stream = client(base).completions.create(model=MODEL, prompt=WORDS, max_tokens=8, stream=True)
    return "".join(chunk.choices[0].text for chunk in stream if chunk.choices)


def responses(base):
    response = client(base).responses.create(model=MODEL, input=WORDS, max_output_tokens=8)
    return [response.status, response.output_text, response.usage.input_tokens, response.usage.output_tokens]


def responses_stream(base):
    stream = client(base).responses.create(model=MODEL, input=WORDS, max_output_tokens=8, stream=True)
    kinds = [event.type for event in stream]
    return [kinds[0], kinds[-1], sum(kind.endswith(".delta") for kind in kinds) > 0]


def responses_stored(base):
    """Continued and read again, several times: with more than one engine, each time is a chance to ask the wrong one."""
    seen = []
    for number in range(6):
        first = client(base).responses.create(model=MODEL, input=f"{number} {WORDS}", max_output_tokens=4)
        call = lambda: client(base).responses.create(
            model=MODEL, input="go on", previous_response_id=first.id, max_output_tokens=4
        )
        seen.append([error_of(call), error_of(lambda: client(base).responses.retrieve(first.id))])
    return seen


def models(base):
    listed = [model.id for model in client(base).models.list()]
    return [listed, client(base).models.retrieve(listed[0]).id]


def embeddings(base):
    return error_of(lambda: client(base).embeddings.create(model=MODEL, input="hello"))


def refused(base):
    too_many = chat_request(n=2)
    return [
        error_of(lambda: client(base).chat.completions.create(**too_many)),
        error_of(lambda: client(base).chat.completions.create(**chat_request(model="unheard-of"))),
    ]


def timeout(base):
    request = chat_request(max_tokens=2000)
    return error_of(lambda: client(base).with_options(timeout=0.2).chat.completions.create(**request))


def abort(base):
    stream = client(base).chat.completions.create(**chat_request(stream=True, max_tokens=2000))
    first = next(iter(stream))
    stream.close()
    return bool(first.choices)


def twenty_streams(base):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        return sorted(set(pool.map(chat_stream, [base] * 20)))


def request_id(base):
    response = client(base).chat.completions.with_raw_response.create(
        **chat_request(), extra_headers={"x-request-id": "my-trace-123"}
    )
    return response.parse().id.removeprefix("chatcmpl-").startswith("my-trace-123")


def messages_request(**more):
    return {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": WORDS}], **more}


def messages(base):
    message = claude(base).messages.create(**messages_request())
    return [message.stop_reason, message.content[0].text, message.usage.output_tokens]


def messages_stream(base):
    with claude(base).messages.stream(**messages_request()) as stream:
        text = "".join(stream.text_stream)
        return [text, stream.get_final_message().usage.output_tokens]


def messages_tools(base):
    tool = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}
    message = claude(base).messages.create(**messages_request(tools=[tool]))
    return [message.stop_reason, [block.type for block in message.content]]


def messages_system(base):
    system = [{"type": "text", "text": "x-anthropic-billing-header: a=1;"}, {"type": "text", "text": WORDS}]
    return claude(base).messages.create(**messages_request(system=system)).stop_reason


def count_tokens(base):
    request = messages_request()
    del request["max_tokens"]
    return claude(base).messages.count_tokens(**request).input_tokens


def messages_refused(base):
    return error_of(lambda: claude(base).messages.create(**messages_request(model="unheard-of")))


OPENAI = [
    chat, chat_stream, chat_stream_usage, tools, tool_result, image, long_prompt, completions, completions_stream,
    responses, responses_stream, responses_stored, models, embeddings, refused, timeout, abort, twenty_streams, request_id,
]
ANTHROPIC = [messages, messages_stream, messages_tools, messages_system, count_tokens, messages_refused]


def play(base):
    """What every feature shows at `base`, by library and feature; an exception that nobody expects is a result, too."""
    results = {}
    for library, features in (("openai (Python)", OPENAI), ("anthropic (Python)", ANTHROPIC)):
        for feature in features:
            try:
                shown = feature(base)
            except Exception as error:  # noqa: BLE001
                shown = [type(error).__name__, str(error)[:200]]
            results[f"{library}: {feature.__name__}"] = json.loads(json.dumps(shown))
    return results

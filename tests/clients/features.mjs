// The features of OpenAI's and Anthropic's libraries for Node, as their users see them. Prints one JSON object: what each
// shows at the address given as the only argument, less ids and times.

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const base = process.argv[2];
const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const anthropic = new Anthropic({ baseURL: base, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const model = "sim";
const words = "The quick brown fox jumps over the lazy dog. ".repeat(40);
const messages = [{ role: "system", content: words }, { role: "user", content: "Hello" }];

const errorOf = async (call) => {
  try {
    await call();
  } catch (error) {
    return [error.constructor.name, error.status ?? null, error.type ?? null];
  }
  return "no error";
};

const features = {
  "openai (Node): chat": async () => {
    const response = await openai.chat.completions.create({ model, messages, max_tokens: 8 });
    return [response.choices[0].message.content, response.usage.prompt_tokens, response.usage.completion_tokens];
  },
  "openai (Node): chat_stream": async () => {
    const request = { model, messages, max_tokens: 8, stream: true, stream_options: { include_usage: true } };
    let [text, usage] = ["", null];
    for await (const chunk of await openai.chat.completions.create(request)) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    return [text, usage.prompt_tokens, usage.completion_tokens];
  },
  "openai (Node): responses": async () => {
    const response = await openai.responses.create({ model, input: words, max_output_tokens: 8 });
    return [response.status, response.output_text];
  },
  "openai (Node): completions": async () => {
    const response = await openai.completions.create({ model, prompt: words, max_tokens: 8 });
    return response.choices[0].text;
  },
  "openai (Node): abort": async () => {
    const stream = await openai.chat.completions.create({ model, messages, max_tokens: 2000, stream: true });
    for await (const chunk of stream) {
      stream.controller.abort();
      return Boolean(chunk.choices);
    }
    return "no piece";
  },
  "openai (Node): twenty_streams": async () => {
    const one = async () => {
      let text = "";
      for await (const chunk of await openai.chat.completions.create({ model, messages, max_tokens: 8, stream: true })) {
        text += chunk.choices[0]?.delta?.content ?? "";
      }
      return text;
    };
    return [...new Set(await Promise.all(Array.from({ length: 20 }, one)))];
  },
  "openai (Node): refused": () =>
    errorOf(() => openai.chat.completions.create({ model: "unheard-of", messages, max_tokens: 8 })),
  "anthropic (Node): messages": async () => {
    const message = await anthropic.messages.create({ model, max_tokens: 8, messages: [messages[1]], system: words });
    return [message.stop_reason, message.content[0].text];
  },
  "anthropic (Node): messages_stream": async () => {
    const stream = anthropic.messages.stream({ model, max_tokens: 8, messages: [messages[1]], system: words });
    const message = await stream.finalMessage();
    return [message.stop_reason, message.content[0].text, message.usage.output_tokens];
  },
  "anthropic (Node): count_tokens": async () =>
    (await anthropic.messages.countTokens({ model, messages: [messages[1]] })).input_tokens,
  "anthropic (Node): refused": () =>
    errorOf(() => anthropic.messages.create({ model: "unheard-of", max_tokens: 8, messages: [messages[1]] })),
};

const results = {};
for (const [name, feature] of Object.entries(features)) {
  try {
    results[name] = await feature();
  } catch (error) {
    results[name] = [error.constructor.name, String(error.message).slice(0, 200)];
  }
}
console.log(JSON.stringify(results));

//! Why a request is not split, by what its body says: its response depends on more than the KV of its prompt.

use super::handover::fields;
use crate::json::Raw;
use crate::prompt::Api;

/// Why a request stays whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// It is of a format without generation, or one in which no engine splits.
    Format,
    /// Its body cannot be read.
    Unreadable,
    /// It generates no more than a token.
    OneToken,
    /// It wants several responses to one prompt: the KV that is handed over is read once.
    Choices,
    /// It has several prompts, or one that is not text.
    Prompts,
    /// It wants the probabilities of the prompt's tokens, which only computing them shows.
    PromptLogprobs,
    /// It continues a response that one engine keeps, or is to be kept in the background.
    Stored,
}

/// Why a body of this format stays whole; `None`: it can be split.
pub fn reason(api: Api, body: &[u8]) -> Option<Whole> {
    match api {
        Api::Chat | Api::Completions | Api::Responses | Api::Messages => of_body(api, body),
        Api::Generate => {
            let Ok([sampling, text]) = fields(body, &["sampling_params", "text"]) else {
                return Some(Whole::Unreadable);
            };
            if text.is_some_and(Raw::is_list) {
                return Some(Whole::Prompts);
            }
            match sampling {
                Some(sampling) if sampling.is_list() => Some(Whole::Prompts),
                Some(sampling) => of_body(api, sampling.bytes()),
                None => None,
            }
        }
        Api::CountTokens | Api::Inputs | Api::Pairs | Api::ModelOnly => Some(Whole::Format),
    }
}

fn of_body(api: Api, body: &[u8]) -> Option<Whole> {
    let Ok([n, best_of, beam, prompt_logprobs, echo, logprobs, prompt, embeds, background, previous]) =
        fields(
            body,
            &[
                "n",
                "best_of",
                "use_beam_search",
                "prompt_logprobs",
                "echo",
                "logprobs",
                "prompt",
                "prompt_embeds",
                "background",
                "previous_response_id",
            ],
        )
    else {
        return Some(Whole::Unreadable);
    };
    let Ok([max_tokens, max_completion_tokens, max_output_tokens]) =
        fields(body, &["max_tokens", "max_completion_tokens", "max_output_tokens"])
    else {
        return Some(Whole::Unreadable);
    };
    // Engines take `2.0`, `"2"` and `"yes"` as well. A second choice would read KV that is another prompt's by then, so what is not
    // plainly one, or off, is taken for more.
    let is_on = |raw: Option<Raw<'_>>| raw.is_some_and(|raw| raw.bytes() != b"false");
    let is_many = |raw: Option<Raw<'_>>| raw.is_some_and(|raw| raw.bytes() != b"1");
    let number = |raw: Option<Raw<'_>>| raw.and_then(Raw::parsed::<u64>);
    let output_max = number(max_completion_tokens.or(max_output_tokens).or(max_tokens));
    let is_several = |prompt: Raw<'_>| prompt.is_list() && !is_tokens(prompt);
    match () {
        () if output_max.is_some_and(|max| max <= 1) => Some(Whole::OneToken),
        () if [n, best_of].into_iter().any(is_many) || is_on(beam) => Some(Whole::Choices),
        () if prompt_logprobs.is_some() || is_on(echo) && logprobs.is_some() => Some(Whole::PromptLogprobs),
        () if embeds.is_some() || api == Api::Completions && prompt.is_some_and(is_several) => {
            Some(Whole::Prompts)
        }
        () if is_on(background) || previous.is_some() => Some(Whole::Stored),
        () => None,
    }
}

/// Whether a list holds numbers: the tokens of one prompt.
fn is_tokens(prompt: Raw<'_>) -> bool {
    let mut scanner = prompt.scanner();
    scanner.open_list().is_ok()
        && matches!(scanner.has_item(), Ok(true))
        && scanner.peek().is_ok_and(|byte| byte.is_ascii_digit())
}

//! The engines' own formats: SGLang's `/generate` and vLLM's `/inference/v1/generate`.
//!
//! Fields: SGLang's `GenerateReqInput` (text, or token ids, one prompt or a list; images and the like beside them), and
//! vLLM's `GenerateRequest` (token ids). What both have in common with completions is read alike, so the same prompt has
//! the same cells.

use super::completions::{self, CompletionPrompt};
use super::content::includes_usage;
use super::{Prompt, Request, TextSink, text};
use crate::json::{JsonError, KnownFields, Raw, Scanner};

/// The fields of the body that make up its prompt.
#[derive(Debug)]
pub(super) struct GeneratePrompt<'a> {
    pub(super) prompt: CompletionPrompt<'a>,
    /// Images, videos and audio, in this order, each one or a list.
    media: [Option<Raw<'a>>; MEDIA.len()],
}

/// The names of the media in marks.
const MEDIA: [&str; 3] = ["image", "video", "audio"];

/// Parses a body of either format.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    // Each event of SGLang's stream has the counts so far.
    let mut request = Request { has_usage_in_stream: true, ..Request::new(Prompt::None) };
    let mut prompt = CompletionPrompt::None;
    let mut media = [None; MEDIA.len()];
    let [image, video, audio] = &mut media;
    let mut fields = KnownFields::open(
        scanner,
        &[
            "model",
            "text",
            "input_ids",
            "token_ids",
            "prompt",
            "image_data",
            "video_data",
            "audio_data",
            "sampling_params",
            "lora_path",
            "cache_salt",
            "stream",
            "stream_options",
        ],
    )?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "text" | "input_ids" | "token_ids" | "prompt" => {
                if let Some(value) = scanner.present()? {
                    prompt = completions::lenient_prompt_of(value);
                }
            }
            "image_data" => *image = scanner.present()?,
            "video_data" => *video = scanner.present()?,
            "audio_data" => *audio = scanner.present()?,
            "sampling_params" => request.output_tokens_max = output_tokens_max(scanner)?,
            // An adapter's KV is its own.
            "lora_path" => {
                let (path, _) = scanner.read_or_raw(Scanner::string)?;
                request.cache_salt = request.cache_salt.or(path.flatten());
            }
            "stream_options" => request.has_usage_in_stream = includes_usage(scanner)?,
            _ => request.read(name, scanner)?,
        }
    }
    request.prompt = Prompt::Generate(GeneratePrompt { prompt, media });
    Ok(request)
}

/// SGLang and vLLM name the bound differently.
fn output_tokens_max(scanner: &mut Scanner<'_>) -> Result<Option<u64>, JsonError> {
    let (max, _) = scanner.read_or_raw(|scanner| {
        let mut max = None;
        let mut fields = KnownFields::open(scanner, &["max_new_tokens", "max_tokens"])?;
        while fields.next(scanner)?.is_some() {
            max = scanner.raw()?.parsed().or(max);
        }
        Ok(max)
    })?;
    Ok(max.flatten())
}

/// Sends the canonical text. Where the media stand in the prompt is the engine's affair: before all text, a prompt with
/// other media never matches.
pub(super) fn text(generate: &GeneratePrompt<'_>, sink: &mut impl TextSink) {
    for (kind, media) in MEDIA.into_iter().zip(generate.media) {
        if let Some(media) = media
            && !text::each_or_one(media, sink, |raw, sink| text::opaque(kind, raw, sink))
        {
            return;
        }
    }
    completions::text(&generate.prompt, sink);
}

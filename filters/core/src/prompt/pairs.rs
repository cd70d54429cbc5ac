//! `/score` and `/rerank`: a query, compared with each of several documents.
//!
//! An engine computes one prompt for each pair, the query first, so one cached query serves all documents. The request is
//! matched by its first pair. Names: vLLM's and SGLang's, which follow Jina's and Cohere's.

use super::inputs::input_text;
use super::text::{Beyond, Length};
use super::{Prompt, Request, TextSink, text};
use crate::json::{JsonError, KnownFields, Raw, Scanner};

/// The two sides, each one text or a list.
#[derive(Debug, Default)]
pub(super) struct PairsPrompt<'a> {
    queries: Option<Raw<'a>>,
    documents: Option<Raw<'a>>,
}

/// Parses a body of either format.
pub(super) fn parse<'a>(scanner: &mut Scanner<'a>) -> Result<Request<'a>, JsonError> {
    let mut request = Request::new(Prompt::None);
    let mut prompt = PairsPrompt::default();
    let mut fields = KnownFields::open(
        scanner,
        &[
            "model",
            "query",
            "queries",
            "text_1",
            "data_1",
            "documents",
            "items",
            "text_2",
            "data_2",
            "cache_salt",
        ],
    )?;
    while let Some(name) = fields.next(scanner)? {
        match name {
            "query" | "queries" | "text_1" | "data_1" => {
                prompt.queries = scanner.present()?.or(prompt.queries);
            }
            "documents" | "items" | "text_2" | "data_2" => {
                prompt.documents = scanner.present()?.or(prompt.documents);
            }
            _ => request.read(name, scanner)?,
        }
    }
    request.prompt = Prompt::Pairs(prompt);
    Ok(request)
}

/// Sends the canonical text.
pub(super) fn text(prompt: &PairsPrompt<'_>, sink: &mut impl TextSink) {
    let Some(queries) = prompt.queries else { return };
    let (mut query_count, mut query_bytes) = (0_usize, 0_usize);
    text::each_or_one(queries, sink, |query, sink| {
        query_count += 1;
        if query_count > 1 {
            return input_text(query, &mut Beyond(sink));
        }
        let mut length = Length::default();
        input_text(query, &mut length);
        query_bytes = length.0;
        input_text(query, sink)
    });
    let Some(documents) = prompt.documents else { return };
    text::marked("document", b"", sink);
    let mut document_count = 0_usize;
    text::each_or_one(documents, sink, |document, sink| {
        document_count += 1;
        if document_count == 1 {
            return input_text(document, sink);
        }
        if query_count == 1 {
            sink.note_text(query_bytes);
        }
        input_text(document, &mut Beyond(sink))
    });
}

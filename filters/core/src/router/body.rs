//! What a request's body says of its model and its prompt, as far as it can be read.
//!
//! A body whose prompt cannot be read is routed by load. One whose *model* cannot be read may go to an engine that does
//! not serve it as soon as there are several pools: then the client gets a response that names the cure.

use super::io::Output;
use super::metrics::Counter;
use super::reasons::Unread;
use crate::body::{BodyError, Content, Fields, Kind, Named};
use crate::json::{Change, Edits};
use crate::prompt::{Api, PromptError, Request};
use crate::steering::REMOVALS;

/// A body as it has come.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// All of it, read in pieces.
    Pieces(Fields),
    /// None, but a model in the path.
    Path(String),
    /// Not waited for.
    Unread(Unread),
    /// Read before.
    Read(Result<Named, Unread>),
}

/// What was read of it.
#[derive(Debug)]
pub(super) struct Read<'a> {
    /// The request; `None`: not even its model.
    pub(super) request: Option<Request<'a>>,
    /// Bytes of the text that was read for its prompt.
    pub(super) bytes: usize,
    /// Why the prompt was not read.
    pub(super) unread: Option<Unread>,
}

/// What the engine gets in place of a body.
#[derive(Debug)]
pub(super) struct Edited {
    pub(super) text: Vec<u8>,
    /// Whether it has another model.
    pub(super) is_rewritten: bool,
    /// Whether it has lost fields that only the router may set.
    pub(super) is_freed: bool,
}

/// Puts another body in place of the request's. Envoy does not adapt its length.
pub(super) fn set_request_body(has_length: bool, old_bytes: usize, body: Vec<u8>, out: &mut Vec<Output>) {
    if has_length {
        out.push(Output::SetRequestHeader("content-length", body.len().to_string()));
    }
    out.push(Output::SetRequestBody { old_bytes, body });
}

// === impl Body ===

impl<'a> Body<'a> {
    /// Its bytes, where it is whole.
    pub(super) fn len(&self) -> usize {
        if let Self::Whole(bytes) = self { bytes.len() } else { 0 }
    }

    /// What it holds.
    pub(super) fn content(self, kind: &Kind) -> Result<Content<'a>, Unread> {
        match self {
            Self::Whole(bytes) => kind.read(bytes).map_err(Unread::from),
            Self::Pieces(fields) => fields.finish().map(Content::Named).map_err(Unread::from),
            Self::Path(model) => Ok(Content::Named(Named { model, is_stream: false, is_steering: false })),
            Self::Unread(unread) => Err(unread),
            Self::Read(read) => read.map(Content::Named),
        }
    }
}

// === impl Edited ===

impl Edited {
    /// Of what a body holds: without the fields that only the router may set where `is_steering`, and with another model where
    /// there is a `target`. `None`: the engine gets the body as it is.
    pub(super) fn of(
        content: &Result<Content<'_>, Unread>,
        is_steering: bool,
        target: Option<&str>,
    ) -> Option<Self> {
        let Ok(Content::Json(text)) = content else { return None };
        if !is_steering && target.is_none() {
            return None;
        }
        let mut changes = Vec::new();
        if is_steering {
            changes.extend(REMOVALS);
        }
        let target = target.and_then(|target| serde_json::to_string(target).ok());
        changes.extend(target.as_deref().map(|target| ("model", Change::Set(target))));
        let edits = Edits::of(text, &changes).ok().filter(|edits| !edits.is_empty())?;
        let (is_rewritten, is_freed) = (target.is_some(), edits.has_removal());
        Some(Self { text: edits.apply(text), is_rewritten, is_freed })
    }

    /// Counts what was changed.
    pub(super) fn count(&self, out: &mut Vec<Output>) {
        let counters = [(self.is_rewritten, Counter::Rewritten), (self.is_freed, Counter::SteeringRemoved)];
        out.extend(
            counters.into_iter().filter(|(holds, _)| *holds).map(|(_, counter)| Output::Count(counter, 1)),
        );
    }
}

// === impl Read ===

impl<'a> Read<'a> {
    /// Parses what a body holds.
    pub(super) fn of(content: &'a Result<Content<'_>, Unread>, api: Api) -> Self {
        match content {
            Ok(Content::Json(text)) => match Request::parse(api, text) {
                Ok(request) => Self { request: Some(request), bytes: text.len(), unread: None },
                // Of text that is not JSON, what looks like a model may be anything.
                Err(error) => {
                    let named = Some(text).filter(|_| error == PromptError::WrongShape);
                    let named = named.and_then(|text| Named::of_json(text).ok());
                    let request = named.map(|named| Request::of_model(named.model, named.is_stream));
                    Self { request, bytes: 0, unread: Some(Unread::Prompt(error)) }
                }
            },
            Ok(Content::Named(named)) => Self {
                request: Some(Request::of_model(named.model.as_str(), named.is_stream)),
                bytes: 0,
                unread: None,
            },
            Err(unread) => Self { request: None, bytes: 0, unread: Some(*unread) },
        }
    }

    /// Why the model could not be read; `None`: it could, or there is no body that could name one, or none that the client
    /// could send so that it can be read.
    pub(super) fn lost_model(&self) -> Option<Unread> {
        let unread = self.unread.filter(|_| self.request.is_none())?;
        let is_lost =
            !matches!(unread, Unread::NoBody | Unread::Prompt(PromptError::Empty) | Unread::Withheld);
        is_lost.then_some(unread)
    }
}

// === impl Unread ===

impl From<BodyError> for Unread {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Json(error) => Self::Prompt(error),
            BodyError::Form => Self::Form,
            BodyError::Encoded => Self::Encoded,
            BodyError::Type => Self::NotJson,
        }
    }
}

//! A request's body by its media type: JSON, or a form with a `model` in it.
//!
//! ```text
//!   content-type ─► Kind ─┐
//!   body ─────────────────┼─ whole ─────► Content ─┬─ JSON in UTF-8 ─► prompt
//!                         └─ in pieces ─► Fields ──┴─ Named: the model alone
//! ```
//!
//! A client may call its body what it likes (curl says "form" unless asked for another, some clients say nothing), and
//! engines read JSON all the same. So what the type leaves open, the first bytes decide.

mod form;
mod multipart;

pub use form::percent_decoded;

use crate::json::{JsonError, Outline, Scalar, as_utf8};
use crate::prompt::PromptError;
use crate::steering;
use form::form;
use multipart::Multipart;
use std::borrow::Cow;

/// The fields that are read of a body that is not parsed for its prompt.
const FIELDS: [&str; 2] = ["model", "stream"];

/// Bytes of a piece of a body that is read in pieces: few calls, and little memory.
pub const PIECE_BYTES: usize = 256 * 1024;

/// The kind of a body, by its media type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// JSON, also where no type is named.
    #[default]
    Json,
    /// `multipart/form-data`, with its boundary.
    Multipart(String),
    /// `application/x-www-form-urlencoded`, or JSON under that name.
    Form,
    /// Text of any kind, or JSON under that name.
    Text,
    /// Compressed, as its `content-encoding` says. Engines ignore that header: to them, such a body may be JSON.
    Encoded,
    /// Something else, in which there is no model.
    Opaque,
}

/// What a body holds.
#[derive(Debug)]
pub enum Content<'a> {
    /// JSON in UTF-8.
    Json(Cow<'a, [u8]>),
    /// The fields of another kind of body.
    Named(Named),
}

/// What is read of a body that is not parsed for its prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The model; empty when none is named.
    pub model: String,
    /// Whether the response is a stream of events.
    pub is_stream: bool,
    /// Whether it has fields that only the router may set.
    pub is_steering: bool,
}

/// Why a body has no model that could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is JSON, or should be.
    Json(PromptError),
    /// It is a form without a boundary, or a malformed one.
    Form,
    /// It is compressed.
    Encoded,
    /// It is neither JSON nor a form.
    Type,
}

/// Reads a body piece by piece for its model alone.
#[derive(Debug)]
pub struct Fields(Reader);

#[derive(Debug)]
enum Reader {
    Json(Outline<2>),
    Encoded(Outline<2>),
    Multipart(Multipart),
    /// A kind that is not read in pieces.
    Refused(BodyError),
}

// === impl Kind ===

impl Kind {
    /// The kind that a `content-type` names.
    pub fn of(content_type: &[u8]) -> Self {
        // Nearly all of them.
        if content_type == b"application/json" {
            return Self::Json;
        }
        let text = String::from_utf8_lossy(content_type);
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" => Self::Json,
            "multipart/form-data" => Self::Multipart(multipart::boundary(&text)),
            "application/x-www-form-urlencoded" => Self::Form,
            essence if essence.contains("json") => Self::Json,
            essence if essence.starts_with("text/") => Self::Text,
            _ => Self::Opaque,
        }
    }

    /// What a whole body of this kind holds.
    pub fn read<'a>(&self, body: &'a [u8]) -> Result<Content<'a>, BodyError> {
        let is_json = match self {
            Self::Json => true,
            Self::Multipart(_) => {
                let mut fields = self.fields();
                body.chunks(PIECE_BYTES).for_each(|piece| fields.push(piece));
                return fields.finish().map(Content::Named);
            }
            Self::Form | Self::Text => looks_like_json(body),
            Self::Encoded => {
                let text = as_utf8(body).filter(|text| looks_like_json(text));
                return text.map(Content::Json).ok_or(BodyError::Encoded);
            }
            Self::Opaque => false,
        };
        match self {
            _ if is_json => as_utf8(body).map(Content::Json).ok_or(BodyError::Json(PromptError::NotUtf8)),
            Self::Form => Ok(Content::Named(form(body))),
            _ => Err(BodyError::Type),
        }
    }

    /// Whether a body of this kind is read in pieces, however small: then it is never copied whole.
    pub fn is_read_in_pieces(&self) -> bool {
        matches!(self, Self::Multipart(_))
    }

    /// A reader of a body of this kind in pieces.
    pub fn fields(&self) -> Fields {
        Fields(match self {
            Self::Json | Self::Form | Self::Text => Reader::Json(outline()),
            Self::Encoded => Reader::Encoded(outline()),
            Self::Multipart(boundary) => Reader::Multipart(Multipart::new(boundary)),
            Self::Opaque => Reader::Refused(BodyError::Type),
        })
    }
}

fn outline() -> Outline<2> {
    Outline::new(FIELDS).watching(&steering::FIELDS, steering::HOLDER)
}

/// Whether text begins as a JSON object does.
fn looks_like_json(body: &[u8]) -> bool {
    let text = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

// === impl Fields ===

impl Fields {
    /// Reads the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.0 {
            Reader::Json(outline) | Reader::Encoded(outline) => outline.push(piece),
            Reader::Multipart(multipart) => multipart.push(piece),
            Reader::Refused(_) => {}
        }
    }

    /// What the pieces held.
    pub fn finish(self) -> Result<Named, BodyError> {
        match self.0 {
            Reader::Json(outline) => Named::of_outline(outline),
            Reader::Encoded(outline) => Named::of_outline(outline).map_err(|_| BodyError::Encoded),
            Reader::Multipart(multipart) => multipart.finish(),
            Reader::Refused(error) => Err(error),
        }
    }
}

// === impl Named ===

impl Named {
    /// Of JSON in UTF-8 whose prompt cannot be read: engines refuse it or not, and the model is there in any case.
    pub fn of_json(text: &[u8]) -> Result<Self, BodyError> {
        let mut outline = outline();
        outline.push(text);
        Self::of_outline(outline)
    }

    /// Of the query string of a path.
    pub fn of_query(query: &str) -> Self {
        form(query.as_bytes())
    }

    fn of_outline(outline: Outline<2>) -> Result<Self, BodyError> {
        let is_steering = outline.has_watched();
        let named = || {
            let [model, stream] = outline.finish()?;
            Ok::<_, JsonError>(Self {
                model: model.text()?.unwrap_or_default(),
                is_stream: stream == Scalar::True,
                is_steering,
            })
        };
        named().map_err(|error| BodyError::Json(PromptError::from(error)))
    }

    /// Takes a field of a form; of equal ones the last counts, as for the engines' parsers.
    fn take(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"model" => self.model = String::from_utf8_lossy(value).into_owned(),
            b"stream" => self.is_stream = matches!(value, b"true" | b"True" | b"TRUE" | b"1" | b"on"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_and_the_first_bytes_name_the_kind() {
        for (kind, content_type) in [
            (Kind::Json, ""),
            (Kind::Json, "Application/JSON; charset=utf-8"),
            (Kind::Json, "application/vnd.api+json"),
            (Kind::Multipart("x7".to_owned()), "multipart/form-data; boundary=x7"),
            (Kind::Form, "application/x-www-form-urlencoded"),
            (Kind::Text, "text/plain;charset=UTF-8"),
            (Kind::Opaque, "audio/wav"),
            (Kind::Opaque, "application/grpc"),
        ] {
            assert_eq!(Kind::of(content_type.as_bytes()), kind, "{content_type}");
        }
    }

    #[test]
    fn json_under_another_name_is_json() {
        for kind in [Kind::Json, Kind::Form, Kind::Text] {
            let content = kind.read(b" {\"model\":\"b\"}");
            assert!(matches!(content, Ok(Content::Json(_))), "{kind:?}: {content:?}");
        }
        assert_eq!(Kind::Text.read(b"hello").unwrap_err(), BodyError::Type);
        assert_eq!(Kind::Opaque.read(b"{}").unwrap_err(), BodyError::Type);
        assert!(
            matches!(Kind::Form.read(b"model=b").unwrap(), Content::Named(Named { model, .. }) if model == "b")
        );
    }

    #[test]
    fn a_prompt_of_a_wrong_shape_does_not_lose_the_model() {
        let named = |json: &str| Named::of_json(json.as_bytes());
        let beta = Ok(Named { model: "beta".to_owned(), is_stream: true, is_steering: false });
        assert_eq!(named(r#"{"model":5,"stream":true,"messages":"hi","model":"beta"}"#), beta);
        assert_eq!(named(r#"{"messages":7}"#), Ok(Named::default()));
        assert_eq!(named(r#"{"model":["beta"]}"#), Err(BodyError::Json(PromptError::WrongShape)));
        assert_eq!(named(r#"{"model":"beta""#), Err(BodyError::Json(PromptError::Truncated)));
    }
}

//! Message content: a string, a list of parts, or nothing.

use serde::Deserialize;
use serde_json::Value;

/// The `content` of a message, of a system prompt or of an `input`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Value>),
    Nothing(()),
}

// === impl Content ===

impl Default for Content {
    fn default() -> Self {
        Self::Nothing(())
    }
}

impl Content {
    /// All text in order. Parts without text (images, tool calls, tool results) count as their JSON, so that
    /// equal parts are equal prompt text.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts.iter().map(text_of_part).collect(),
            Self::Nothing(()) => String::new(),
        }
    }
}

fn text_of_part(part: &Value) -> String {
    match part.get("text").or(Some(part)).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => part.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_their_text_and_the_rest_is_json() {
        let content: Content =
            serde_json::from_str(r#"[{"type":"text","text":"a"},"b",{"type":"image"}]"#).unwrap();
        assert_eq!(content.into_text(), r#"ab{"type":"image"}"#);
    }

    #[test]
    fn null_is_nothing() {
        let content: Content = serde_json::from_str("null").unwrap();
        assert_eq!(content.into_text(), "");
    }
}

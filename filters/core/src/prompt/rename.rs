//! Gives a body another model, as text: all else stays as the client wrote it, byte for byte.

use crate::json::{KnownFields, Scanner};

/// The body, JSON in UTF-8, with another value of `model`. Of equal keys the last one counts, as for the engines' parsers.
/// `None`: it names no model.
pub fn renamed(body: &[u8], model: &str) -> Option<Vec<u8>> {
    let mut scanner = Scanner::new(body);
    let mut fields = KnownFields::open(&mut scanner, &["model"]).ok()?;
    let mut value = None;
    while fields.next(&mut scanner).ok()?.is_some() {
        value = Some(scanner.raw().ok()?.bytes());
    }
    let value = value?;
    let start = value.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
    let model = serde_json::to_vec(model).ok()?;
    Some([body.get(..start)?, &model, body.get(start + value.len()..)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &str, model: &str) -> Option<String> {
        renamed(body.as_bytes(), model).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn nothing_but_the_value_changes() {
        for (body, expected) in [
            (r#"{"model":"a","x":[1, 2]}"#, r#"{"model":"new","x":[1, 2]}"#),
            (
                "{ \"x\" : {\"model\":\"a\"},\r\n\t\"model\" : \"a\\u0062\" }\n",
                "{ \"x\" : {\"model\":\"a\"},\r\n\t\"model\" : \"new\" }\n",
            ),
            (r#"{"model":"a","model":"b"}"#, r#"{"model":"a","model":"new"}"#),
            (r#"{"\u006dodel":"a"}"#, r#"{"\u006dodel":"new"}"#),
        ] {
            assert_eq!(text(body, "new").as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_name_is_escaped() {
        assert_eq!(text(r#"{"model":"a"}"#, "a\"模\\").unwrap(), r#"{"model":"a\"模\\"}"#);
    }

    #[test]
    fn a_body_without_a_model_is_left_alone() {
        for body in ["", "{}", "[]", "{\"model\"", r#"{"x":{"model":"a"}}"#] {
            assert_eq!(text(body, "new"), None, "{body}");
        }
    }
}

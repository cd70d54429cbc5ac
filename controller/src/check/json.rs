//! Accessors for foreign JSON: absent values are null, and proto3's JSON has 64-bit numbers and durations as strings.

use serde_json::Value;
use std::time::Duration;

/// The value at a JSON pointer; null where there is none.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// The text at a pointer; empty where there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap_or_default()
}

/// The items of the list at a pointer.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).as_array().map_or(&[], Vec::as_slice)
}

/// The whole number at a pointer.
pub(super) fn number(value: &Value, pointer: &str) -> Option<u64> {
    let found = at(value, pointer);
    found.as_u64().or_else(|| found.as_str()?.parse().ok())
}

/// The duration at a pointer: `3600s`, `0.100s`.
pub(super) fn duration(value: &Value, pointer: &str) -> Option<Duration> {
    let seconds = at(value, pointer).as_str()?.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Whether a message has this type, in any version of its package.
pub(super) fn is_type(value: &Value, name: &str) -> bool {
    text(value, "/@type").rsplit(['.', '/']).next() == Some(name)
}

#[cfg(test)]
mod tests {
    use super::{at, duration, is_type, number};
    use serde_json::{Value, json};
    use std::time::Duration;

    #[test]
    fn proto_json_is_read_in_its_forms() {
        let value = json!({"a": {"b.c": 5, "d": "7", "e": "0.100s", "f": "x"}, "@type": "t.googleapis.com/a.b.v3.Wasm"});
        assert_eq!(
            (number(&value, "/a/b.c"), number(&value, "/a/d"), number(&value, "/a/f")),
            (Some(5), Some(7), None)
        );
        assert_eq!(duration(&value, "/a/e"), Some(Duration::from_millis(100)));
        assert_eq!(at(&value, "/a/x/y"), &Value::Null);
        assert!(is_type(&value, "Wasm") && !is_type(&value, "asm"));
    }
}

//! Manifests as YAML, for people.
//!
//! Numbers that are whole are written as such: the schema's bounds are floating-point numbers in the API's types.

use serde::Serialize;
use serde_json::{Number, Value};

/// Writes a manifest.
pub fn write(manifest: &impl Serialize) -> Result<String, serde_json::Error> {
    let value = whole(serde_json::to_value(manifest)?);
    serde_saphyr::to_string(&value).map_err(serde::de::Error::custom)
}

fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(whole_number(&number).unwrap_or(number)),
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(map) => map.into_iter().map(|(name, value)| (name, whole(value))).collect(),
        other => other,
    }
}

fn whole_number(number: &Number) -> Option<Number> {
    let text = number.is_f64().then(|| number.to_string())?;
    text.strip_suffix(".0")?.parse::<i64>().ok().map(Number::from)
}

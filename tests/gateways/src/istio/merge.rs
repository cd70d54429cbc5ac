//! The merge of protobuf messages, on their JSON form.
//!
//! The rules are those of `proto.Merge` as Istio uses it: scalars of the patch replace, messages merge field by field, lists append,
//! and entries of maps are replaced as a whole. In JSON, maps look like messages, so the maps are listed here. `false`, `0`, `""`
//! and `null` in a patch are errors: in protobuf they look like unset fields, and change nothing.

use serde_json::{Map, Value};

/// Fields whose entries are replaced, not merged.
const MAPS: [&str; 3] = ["typed_extension_protocol_options", "typed_per_filter_config", "filter_metadata"];

/// A patch that does not do what it seems to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A value that protobuf takes for an unset field.
    #[error("{field} is {value}, which changes nothing in a merge")]
    Unset {
        /// The field's name.
        field: String,
        /// Its value.
        value: String,
    },
    /// Two extensions of different types.
    #[error("{from} cannot be merged into {into}")]
    Types {
        /// The patch's type.
        from: String,
        /// The object's type.
        into: String,
    },
    /// A message for a field that is none, or the other way around.
    #[error("{field} has another shape in the object")]
    Shape {
        /// The field's name.
        field: String,
    },
}

/// Merges a message into another.
pub(super) fn merge(into: &mut Value, from: &Value) -> Result<(), MergeError> {
    let (Value::Object(into), Value::Object(from)) = (into, from) else {
        return Err(MergeError::Shape { field: "the value".to_owned() });
    };
    merge_fields(into, from)
}

/// Merges the `typed_config` of a filter, which istiod unpacks first.
pub(super) fn merge_typed(into: &mut Value, from: &Value) -> Result<(), MergeError> {
    let types = [&*into, from].map(|value| value.get("@type").map(ToString::to_string).unwrap_or_default());
    let [into_type, from_type] = types;
    if into_type != from_type {
        return Err(MergeError::Types { from: from_type, into: into_type });
    }
    merge(into, from)
}

fn merge_fields(into: &mut Map<String, Value>, from: &Map<String, Value>) -> Result<(), MergeError> {
    for (name, value) in from {
        check_set(name, value)?;
        let Some(present) = into.get_mut(name) else {
            into.insert(name.clone(), value.clone());
            continue;
        };
        match (present, value) {
            (Value::Object(entries), Value::Object(more)) if MAPS.contains(&name.as_str()) => {
                entries.extend(more.clone());
            }
            // An `Any` is a message of two scalar fields.
            (present @ Value::Object(_), Value::Object(more)) if more.contains_key("@type") => {
                *present = value.clone();
            }
            (Value::Object(fields), Value::Object(more)) => merge_fields(fields, more)?,
            (Value::Array(elements), Value::Array(more)) => elements.extend(more.clone()),
            (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => {
                return Err(MergeError::Shape { field: name.clone() });
            }
            (present, scalar) => *present = scalar.clone(),
        }
    }
    Ok(())
}

fn check_set(name: &str, value: &Value) -> Result<(), MergeError> {
    let is_unset = match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if is_unset {
        Err(MergeError::Unset { field: name.to_owned(), value: value.to_string() })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MergeError, merge, merge_typed};
    use serde_json::json;

    #[test]
    fn scalars_replace_messages_merge_lists_append_and_map_entries_are_replaced() {
        let mut object = json!({
            "a": 1, "message": { "kept": 1, "replaced": 2 }, "list": [1],
            "typed_per_filter_config": { "one": { "x": 1 }, "two": { "y": 1 } },
        });
        let patch = json!({
            "a": 2, "message": { "replaced": 3 }, "list": [2],
            "typed_per_filter_config": { "one": { "z": 1 } },
        });
        merge(&mut object, &patch).unwrap();
        let merged = json!({
            "a": 2, "message": { "kept": 1, "replaced": 3 }, "list": [1, 2],
            "typed_per_filter_config": { "one": { "z": 1 }, "two": { "y": 1 } },
        });
        assert_eq!(object, merged);
    }

    #[test]
    fn a_value_that_protobuf_takes_for_unset_is_refused() {
        for value in [json!(null), json!(false), json!(0), json!("")] {
            let error = merge(&mut json!({ "a": { "b": 1 } }), &json!({ "a": { "b": value } })).unwrap_err();
            assert!(matches!(error, MergeError::Unset { .. }), "{error}");
        }
    }

    #[test]
    fn extensions_of_different_types_do_not_merge() {
        let error = merge_typed(&mut json!({ "@type": "a" }), &json!({ "@type": "b" })).unwrap_err();
        assert!(matches!(error, MergeError::Types { .. }));
    }
}

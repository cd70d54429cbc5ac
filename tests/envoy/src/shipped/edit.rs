//! Finding a place in a configuration. A place that is not there is an error: an edit that changes nothing would
//! run another configuration than the one asked for.

use super::ShippedError;
use serde_json::Value;

/// The page that explains the file, with what may be added to it.
const README: &str = include_str!("../../../../envoy/README.md");

/// The page's block of YAML that begins with this line.
pub(super) fn documented(first: &str) -> Result<Value, ShippedError> {
    let missing = || ShippedError::Missing { what: format!("{first} in README.md") };
    let mut blocks = README.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
    let block = blocks.find(|block| block.starts_with(first)).ok_or_else(missing)?;
    serde_saphyr::from_str(block).map_err(ShippedError::Yaml)
}

/// Adds the fields of `other` to `value`, or replaces those that it has.
pub(super) fn put(value: &mut Value, other: Value) {
    if let (Value::Object(fields), Value::Object(others)) = (value, other) {
        fields.extend(others);
    }
}

/// The value at a JSON pointer.
pub(super) fn at<'a>(value: &'a mut Value, pointer: &str) -> Result<&'a mut Value, ShippedError> {
    value.pointer_mut(pointer).ok_or_else(|| ShippedError::Missing { what: pointer.to_owned() })
}

/// The element of a list with this name.
pub(super) fn named<'a>(list: &'a mut Value, name: &str) -> Result<&'a mut Value, ShippedError> {
    let elements = list.as_array_mut().into_iter().flatten();
    let mut with_name = elements.filter(|element| element.get("name").is_some_and(|found| found == name));
    with_name.next().ok_or_else(|| ShippedError::Missing { what: format!("element named {name}") })
}

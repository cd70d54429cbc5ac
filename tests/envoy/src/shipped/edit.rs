//! Finding a place in a configuration. A place that is not there is an error: an edit that changes nothing would
//! run another configuration than the one asked for.

use super::ShippedError;
use serde_json::Value;

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

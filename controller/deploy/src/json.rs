//! Fields of JSON objects that are being made.

use serde_json::Value;

/// Sets a field of an object.
pub(crate) fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value.into());
    }
}

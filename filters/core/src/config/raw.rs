//! Reads a JSON value field by field and collects what is wrong.
//!
//! `#[derive(Deserialize)]` would stop at the first error; whoever pushes a configuration to a fleet wants
//! the whole list.

use super::{ConfigError, is_name};
use crate::limits::NAME_BYTES_MAX;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Collects errors while values are read; what is wrong reads as its default.
#[derive(Default)]
pub(super) struct Reader {
    errors: Vec<ConfigError>,
}

impl Reader {
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }

    pub(super) fn error(&mut self, path: &str, message: &str) {
        self.errors.push(ConfigError { path: path.to_owned(), message: message.to_owned() });
    }

    /// An object with no fields but `known`.
    pub(super) fn object(&mut self, path: &str, value: &Value, known: &[&str]) -> Map<String, Value> {
        let Value::Object(fields) = value else {
            self.error(path, "is not an object: write it in braces");
            return Map::new();
        };
        for field in fields.keys().filter(|field| !known.contains(&field.as_str())) {
            let path = if path == "$" { field.clone() } else { format!("{path}.{field}") };
            self.error(
                &path,
                &format!("is no field here: remove it, or did you mean one of {}?", known.join(", ")),
            );
        }
        fields.clone()
    }

    /// A list, empty when absent.
    pub(super) fn list(&mut self, path: &str, value: Option<&Value>, length_max: usize) -> Vec<Value> {
        match value {
            None => Vec::new(),
            Some(Value::Array(values)) if values.len() <= length_max => values.clone(),
            Some(Value::Array(values)) => {
                self.error(path, &format!("has {} entries, {length_max} at most", values.len()));
                Vec::new()
            }
            Some(_) => {
                self.error(path, "is not a list: write it in brackets");
                Vec::new()
            }
        }
    }

    /// A name that must be there.
    pub(super) fn name(&mut self, path: &str, value: Option<&Value>) -> String {
        match value {
            Some(Value::String(name)) if is_name(name) => return name.clone(),
            Some(Value::String(_)) => {
                self.error(path, &format!("must have 1 to {NAME_BYTES_MAX} bytes and no control characters"));
            }
            Some(_) => self.error(path, "is not a string: write it in quotes"),
            None => self.error(path, "is missing: it must be given"),
        }
        String::new()
    }

    /// A whole number within bounds.
    pub(super) fn number(
        &mut self,
        path: &str,
        value: Option<&Value>,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> usize {
        let Some(value) = value else { return default };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| bounds.contains(number)).unwrap_or_else(|| {
            self.error(path, &format!("must be a whole number from {} to {}", bounds.start(), bounds.end()));
            default
        })
    }

    /// `true` or `false`, `false` when absent.
    pub(super) fn flag(&mut self, path: &str, value: Option<&Value>) -> bool {
        match value {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.error(path, "must be true or false");
                false
            }
        }
    }
}

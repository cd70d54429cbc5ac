//! A document as a tree of values that know their lines, whatever its format.
//!
//! Maps keep repeated names, which a map type would swallow, so that the reader can report them.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// A value and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Counted from one; `None` in a format that does not report it.
    pub line: Option<u64>,
    /// The value.
    pub value: Value,
}

/// What a configuration can consist of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number from zero.
    Count(u64),
    /// Any other number; no field takes one.
    Number,
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the document.
    Map(Vec<Field>),
}

/// A named value in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Line of the name.
    pub line: Option<u64>,
    /// Its value.
    pub value: Value,
}

/// How a format's parser reports lines.
pub trait Format {
    /// A part of a document together with what the parser knows of its place.
    type Part<T: DeserializeOwned>: DeserializeOwned;

    /// Separates the part from its line.
    fn open<T: DeserializeOwned>(part: Self::Part<T>) -> (T, Option<u64>);
}

/// Deserializes any document of a format into a [`Value`].
#[derive(Debug)]
pub struct Tree<F> {
    value: Value,
    format: PhantomData<F>,
}

/// Accepts whatever the parser finds.
struct AnyValue<F>(PhantomData<F>);

// === impl Node ===

impl Node {
    /// The tree of a parsed document.
    pub fn root<F: Format>(document: F::Part<Tree<F>>) -> Self {
        let (tree, line) = F::open(document);
        Self { line, value: tree.value }
    }
}

// === impl Value ===

impl Value {
    /// What is said of it where another type is wanted.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "has no value",
            Self::Flag(true) => "is true",
            Self::Flag(false) => "is false",
            Self::Count(_) => "is a number",
            Self::Number => "is negative, fractional, too large or in scientific notation",
            Self::Text(_) => "is text",
            Self::List(_) => "is a list",
            Self::Map(_) => "is a map",
        }
    }
}

// === impl Tree ===

impl<'de, F: Format> Deserialize<'de> for Tree<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(AnyValue::<F>(PhantomData))?;
        Ok(Self { value, format: PhantomData })
    }
}

// === impl AnyValue ===

impl<'de, F: Format> Visitor<'de> for AnyValue<F> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Flag(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Count(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Number, Value::Count))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element::<F::Part<Tree<F>>>()? {
            list.push(Node::root::<F>(entry));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((name, value)) = entries.next_entry::<F::Part<String>, F::Part<Tree<F>>>()? {
            let (name, line) = F::open(name);
            map.push(Field { name, line, value: Node::root::<F>(value).value });
        }
        Ok(Value::Map(map))
    }
}

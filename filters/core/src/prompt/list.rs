//! How lists and settings of a body are read: no further and no more strictly than routing needs.

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// The first `MAX` items of a list, and how many there are. A list of `{}` takes twenty times its bytes in
/// memory, which a wasm module never gives back; the items left out are far behind the last cell.
#[derive(Debug)]
pub(super) struct List<T, const MAX: usize> {
    /// The first ones.
    pub(super) items: Vec<T>,
    /// How many the list has.
    pub(super) total: usize,
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

/// A setting that does not belong to the prompt: what has an odd type is taken as absent, for the engine may
/// be laxer than we are, and the prompt is worth reading all the same.
///
/// Rust reads `true` and whole numbers as JSON writes them, so none of these needs a parser of its own.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: FromStr>(source: D) -> Result<Option<T>, D::Error> {
    let raw = <&'de RawValue>::deserialize(source)?;
    Ok(raw.get().parse().ok())
}

// === impl List ===

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self { items: Vec::new(), total: 0 }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_seq(ListVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < MAX {
            let Some(item) = source.next_element()? else {
                return Ok(List { total: items.len(), items });
            };
            items.push(item);
        }
        let mut total = items.len();
        while source.next_element::<IgnoredAny>()?.is_some() {
            total += 1;
        }
        Ok(List { items, total })
    }
}

#[cfg(test)]
mod tests {
    use super::List;

    #[test]
    fn items_beyond_the_bound_are_counted_and_not_kept() {
        let read =
            |json: &str| serde_json::from_str::<List<u32, 3>>(json).map(|list| (list.items, list.total));
        assert_eq!(read("[]").unwrap(), (vec![], 0));
        assert_eq!(read("[1,2,3]").unwrap(), (vec![1, 2, 3], 3));
        assert_eq!(read("[1,2,3,4,5]").unwrap(), (vec![1, 2, 3], 5));
        assert!(read("[1,\"2\"]").is_err());
        assert!(read("[1,2,3,4").is_err());
        assert!(read("{}").is_err());
    }
}

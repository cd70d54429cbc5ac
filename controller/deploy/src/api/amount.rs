//! Amounts of bytes, cores and devices, as Kubernetes writes them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// What an amount may look like. The API server compares, so that a typing error does not get further.
const PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$";

/// Suffixes by powers of ten and two; the longer ones come first, because `M` is a suffix of nothing that ends in `Mi`.
const SUFFIXES: [(&str, u128); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

/// An amount, such as `64Gi`, `500m` or `8`. A number may be written without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount(String);

// === impl Amount ===

impl Amount {
    /// An amount as it is written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// An amount of bytes, written in the largest binary unit that keeps it whole.
    pub fn bytes(bytes: u64) -> Self {
        let whole = |unit: u128| u128::from(bytes).checked_rem(unit) == Some(0) && u128::from(bytes) >= unit;
        let found = SUFFIXES.iter().take(6).rev().find(|(_, unit)| whole(*unit));
        Self(found.map_or_else(
            || bytes.to_string(),
            |(suffix, unit)| format!("{}{suffix}", u128::from(bytes).checked_div(*unit).unwrap_or_default()),
        ))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in units, rounded down. `None` if it is not an amount, or no `u64`.
    pub fn units(&self) -> Option<u64> {
        let text = self.0.as_str();
        if let Some(thousandths) = text.strip_suffix('m') {
            return thousandths.parse::<u64>().ok().and_then(|count| count.checked_div(1_000));
        }
        let (number, unit) = SUFFIXES
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? };
        let part = part.checked_mul(unit)?.checked_div(scale)?;
        u64::try_from(whole.parse::<u128>().ok()?.checked_mul(unit)?.checked_add(part)?).ok()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "pattern": PATTERN})
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl Visitor<'_> for Written {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount such as 64Gi, 500m or 8")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                let amount = Amount::new(text);
                match amount.units() {
                    Some(_) => Ok(amount),
                    None => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Amount, E> {
                Ok(Amount(count.to_string()))
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<Amount, E> {
                u64::try_from(count)
                    .map(|count| Amount(count.to_string()))
                    .map_err(|_| E::invalid_value(Unexpected::Signed(count), &self))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::Amount;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        for (text, units) in [
            ("8", Some(8)),
            ("64Gi", Some(64 << 30)),
            ("1.5Ti", Some(3 << 39)),
            ("200G", Some(200_000_000_000)),
            ("500m", Some(0)),
            ("2500m", Some(2)),
            ("0", Some(0)),
            ("", None),
            ("Gi", None),
            ("-1", None),
            ("64GiB", None),
            ("64 Gi", None),
            ("99Ei", None),
        ] {
            assert_eq!(Amount::new(text).units(), units, "{text}");
        }
    }

    #[test]
    fn bytes_are_written_in_the_largest_unit_that_keeps_them_whole() {
        for (bytes, text) in
            [(64 << 30, "64Gi"), (1 << 40, "1Ti"), (1_536 << 20, "1536Mi"), (1_000, "1000"), (0, "0")]
        {
            assert_eq!(Amount::bytes(bytes).as_str(), text);
        }
    }
}

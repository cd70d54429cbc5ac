//! Quantities, such as `500m` and `0.5`: the API server writes them in its own way, so that a manifest's text may differ from the
//! object's although both mean the same.

use serde_json::Value;

/// The fields that hold quantities, or maps of them.
const FIELDS: [&str; 4] = [".limits.", ".requests.", ".sizeLimit", ".capacity."];

/// Suffixes with their powers of ten, and of two.
const DECIMAL: [(&str, i32); 9] =
    [("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, i32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// Whether both are the same quantity, in a field that holds one.
pub(super) fn is_same_quantity(one: &Value, other: &Value, path: &str) -> bool {
    if !FIELDS.iter().any(|field| path.contains(field)) {
        return false;
    }
    let (Some(one), Some(other)) = (amount(one), amount(other)) else { return false };
    // Both come from few decimal digits: what differs by less is the rounding of the powers.
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

fn amount(value: &Value) -> Option<f64> {
    let text = match value {
        Value::String(text) => text.as_str(),
        other => return other.as_f64(),
    };
    let scaled = |suffixes: &[(&str, i32)], base: f64| {
        suffixes.iter().find_map(|(suffix, power)| {
            Some(text.strip_suffix(suffix)?.parse::<f64>().ok()? * base.powi(*power))
        })
    };
    scaled(&BINARY, 2.0).or_else(|| scaled(&DECIMAL, 10.0)).or_else(|| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::is_same_quantity;
    use serde_json::json;

    #[test]
    fn the_same_amount_is_the_same_however_it_is_written() {
        for (one, other, is_same) in [
            (json!("500m"), json!(0.5), true),
            (json!("1"), json!(1), true),
            (json!("1024Mi"), json!("1Gi"), true),
            (json!("1500Mi"), json!("1.5Gi"), false),
            (json!("1e3"), json!("1k"), true),
            (json!("many"), json!("many more"), false),
        ] {
            assert_eq!(is_same_quantity(&one, &other, ".resources.limits.cpu"), is_same, "{one} {other}");
        }
        assert!(!is_same_quantity(&json!("1"), &json!(1), ".spec.template.metadata.labels.version"));
    }
}

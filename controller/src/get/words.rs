//! Values as one short word each.

use warmpath_core::num::{count, float};

/// Names that a cell lists; for the others it shows their number.
const NAMES_MAX: usize = 2;
const MS_PER_S: u64 = 1_000;
const S_PER_MIN: u64 = 60;
const S_PER_H: u64 = 3_600;
const S_PER_DAY: u64 = 86_400;
const THOUSAND: u64 = 1_000;
const MILLION: u64 = 1_000_000;

/// What is not known.
pub(super) const UNKNOWN: &str = "-";

/// A text, or the mark for an unknown one.
pub(super) fn or_unknown(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or(UNKNOWN).to_owned()
}

/// An age as kubectl writes it: the two largest units at most.
pub(super) fn age(ms: u64) -> String {
    let s = ms / MS_PER_S;
    match s {
        0 => format!("{ms}ms"),
        1..120 => format!("{s}s"),
        120..S_PER_H => format!("{}m", s / S_PER_MIN),
        S_PER_H..S_PER_DAY => format!("{}h{}m", s / S_PER_H, s % S_PER_H / S_PER_MIN),
        S_PER_DAY.. => format!("{}d{}h", s / S_PER_DAY, s % S_PER_DAY / S_PER_H),
    }
}

/// A share as a percentage.
pub(super) fn share(share: Option<f64>) -> String {
    share.map_or_else(|| UNKNOWN.to_owned(), |share| format!("{:.0}%", share * 100.0))
}

/// A large number: `950`, `18k`, `2.5M`.
pub(super) fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..MILLION => format!("{}k", number / THOUSAND),
        MILLION.. => format!("{:.1}M", float(number / THOUSAND) / 1000.0),
    }
}

/// A speed, given as its inverse.
pub(super) fn per_second(s_per_one: f64) -> String {
    if s_per_one > 0.0 { format!("{}/s", short(count(1.0 / s_per_one))) } else { UNKNOWN.to_owned() }
}

/// Names as one word.
pub(super) fn names(names: &[String]) -> String {
    if names.is_empty() {
        return UNKNOWN.to_owned();
    }
    let mut words: Vec<String> = names.iter().take(NAMES_MAX).cloned().collect();
    if names.len() > NAMES_MAX {
        words.push(format!("+{}", names.len() - NAMES_MAX));
    }
    // A name may contain spaces, and a cell is one word.
    words.join(",").replace(char::is_whitespace, "_")
}

#[cfg(test)]
mod tests {
    use super::{age, names, per_second, share, short};

    #[test]
    fn values_are_one_short_word_each() {
        assert_eq!(
            [0, 999, 1_000, 119_999, 120_000, 3_600_000, 90_000_000].map(age),
            ["0ms", "999ms", "1s", "119s", "2m", "1h0m", "1d1h"]
        );
        assert_eq!([0, 9_999, 18_999, 2_560_000].map(short), ["0", "9999", "18k", "2.6M"]);
        assert_eq!([None, Some(0.0), Some(0.876)].map(share), ["-", "0%", "88%"]);
        assert_eq!([0.0, 0.000_05].map(per_second), ["-", "20k/s"]);
        let many = ["a b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(names(&many), "a_b,c,+2");
        assert_eq!(names(&[]), "-");
    }
}

//! Reads the Prometheus text format line by line and parses only the requested samples.
//!
//! An engine's page has some 700 lines, of which a dozen matter, and is read every second per engine. A parser that
//! builds families and label maps costs a hundred times as much.

use std::str;

/// One sample of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name.
    pub name: &'a [u8],
    /// The text between the braces.
    labels: &'a [u8],
    /// Its value.
    pub value: f64,
}

/// The samples of a page whose names `wanted` accepts; other lines are skipped.
pub fn samples(page: &[u8], wanted: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = Sample<'_>> {
    page.split(|byte| *byte == b'\n').filter_map(move |line| {
        let end = line.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
        let (name, rest) = line.split_at_checked(end)?;
        if !wanted(name) {
            return None;
        }
        let (labels, rest) = match rest.strip_prefix(b"{") {
            Some(rest) => rest.split_at_checked(labels_end(rest)?)?,
            None => rest.split_at_checked(0)?,
        };
        // A timestamp may follow the value.
        let mut words = rest.strip_prefix(b"}").unwrap_or(rest).split(u8::is_ascii_whitespace);
        let value = words.find(|word| !word.is_empty())?;
        let value = str::from_utf8(value).ok()?.parse().ok()?;
        Some(Sample { name, labels, value })
    })
}

/// The position of a label set's closing brace; braces inside quotes do not count.
fn labels_end(labels: &[u8]) -> Option<usize> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    labels.iter().position(|byte| {
        let is_end = *byte == b'}' && !is_quoted;
        if *byte == b'"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })
}

// === impl Sample ===

impl<'a> Sample<'a> {
    /// A label's raw value. Escapes are kept: no requested value has any.
    pub fn label(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.labels().find(|(label, _)| *label == name.as_bytes())?;
        str::from_utf8(value).ok()
    }

    /// All labels with their raw values, as far as they are well-formed.
    pub fn labels(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let equals = rest.iter().position(|byte| *byte == b'=')?;
            let (label, after) = rest.split_at_checked(equals)?;
            let value = after.strip_prefix(b"=\"")?;
            let (value, after) = value.split_at_checked(quote_end(value)?)?;
            rest = after.strip_prefix(b"\"")?;
            let label = label.trim_ascii_start();
            Some((label.strip_prefix(b",").unwrap_or(label).trim_ascii(), value))
        })
    }
}

fn quote_end(value: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    value.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    })
}

#[cfg(test)]
mod tests {
    use super::{Sample, samples};
    use warmpath_core::num::count;

    fn one(line: &str) -> Option<Sample<'_>> {
        samples(line.as_bytes(), |_| true).next()
    }

    #[test]
    fn forms_of_a_line() {
        let value = |line| one(line).map(|sample| count(sample.value));
        assert_eq!(value("a 1"), Some(1));
        assert_eq!(value("a{} 1.5e3"), Some(1500));
        assert_eq!(value("a{x=\"1\"} 2 1700000000000"), Some(2));
        assert_eq!(value("a{x=\"}\"}\t3\r"), Some(3));
        assert!(one("a +Inf").unwrap().value.is_infinite());
        assert!(one("a{x=\"1\" 2").is_none(), "no closing brace");
        assert!(one("a{x=\"1\"}").is_none(), "no value");
        assert!(one("").is_none());
    }

    #[test]
    fn labels_are_found_behind_others() {
        let sample = one(r#"a{first="has = and \" and ,second=\"no\"", second="yes",} 1"#).unwrap();
        assert_eq!(sample.label("second"), Some("yes"));
        assert_eq!(sample.label("third"), None);
    }
}
